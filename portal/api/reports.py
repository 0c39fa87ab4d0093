"""/reports: what was tried over a period, streamed."""

from datetime import date
from enum import StrEnum

from django.http.response import HttpResponseBase
from ninja import Query, Router, Schema
from pydantic import Field

from portal.accounts.permissions import Permission
from portal.api.auth import ApiRequest, Bearer
from portal.reports import usage
from portal.reports.export import TextStream

router = Router(tags=["reports"])
read = Bearer(Permission.READ_REPORTS)


class Format(StrEnum):
    JSON = "json"
    CSV = "csv"


class Wanted(Schema):
    """`from` and `to` are days in UTC, both included: the last 30 days if not given."""

    start: date | None = Field(None, alias="from")
    end: date | None = Field(None, alias="to")
    by: usage.By = usage.USUAL
    format: Format = Format.JSON


@router.get(
    "/usage",
    auth=read,
    response=list[usage.PersonRow]
    | list[usage.DepartmentRow]
    | list[usage.ToolRow]
    | list[usage.VersionRow]
    | list[usage.InstallRow],
    openapi_extra={"responses": {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}},
)
def report_usage(request: ApiRequest, wanted: Query[Wanted]) -> HttpResponseBase:
    """One row per person, department, tool, version or install, as `by` says."""
    start, end = usage.period(wanted.start, wanted.end)
    found = usage.rows(start=start, end=end, by=wanted.by)
    if wanted.format is Format.CSV:
        return usage.download(found, f"usage-by-{wanted.by}-{start}-to-{end}.csv")
    return TextStream(usage.json_lines(found), content_type="application/json")
