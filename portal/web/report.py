"""The usage report: what was tried over a period, by person, department, tool, version or install."""

from dataclasses import astuple, dataclass
from datetime import date, datetime
from typing import Final
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.views.decorators.http import require_safe

from portal.accounts.access import require
from portal.accounts.permissions import Permission
from portal.reports import usage
from portal.reports.usage import By
from portal.web.respond import page
from sandboxes.errors import InvalidInputError

SHOWN: Final = 200
LEVELS: Final = {
    By.PERSON: "Person",
    By.DEPARTMENT: "Department",
    By.TOOL: "Tool",
    By.VERSION: "Tool and version",
    By.INSTALL: "Each install",
}
# What is on the page, in this order; the download holds every column.
COLUMNS: Final = {
    "tool": "Tool",
    "version": "Version",
    "display_name": "Person",
    "username": "User name",
    "department": "Department",
    "people": "People",
    "tools": "Tools",
    "versions": "Versions",
    "sandboxes": "Sandboxes",
    "installs": "Installs",
    "declared": "Declared",
    "client": "Client",
    "first_at": "First",
    "last_at": "Last",
    "at": "When",
}


@dataclass(frozen=True)
class Cell:
    """One value and how to draw it: "text", "number" or "moment"."""

    kind: str
    value: object


@dataclass(frozen=True)
class Query:
    """The period, both days included, and the level."""

    start: date
    end: date
    by: By

    @property
    def address(self) -> str:
        return urlencode({"from": self.start.isoformat(), "to": self.end.isoformat(), "by": self.by.value})


@require(Permission.READ_REPORTS)
@require_safe
def report(request: HttpRequest) -> HttpResponse:
    asked = _asked(request)
    context = {"asked": asked, "levels": LEVELS, "shown": SHOWN, "error": ""}
    try:
        found = usage.rows(start=asked.start, end=asked.end, by=asked.by, limit=SHOWN + 1)
    except InvalidInputError as error:
        return page(request, "report", {**context, "error": str(error)}, part="results", status=422)
    columns = [name for name in COLUMNS if name in found.columns]
    places = [found.columns.index(name) for name in columns]
    rows = [[_cell(astuple(row)[place]) for place in places] for row in found]
    context |= {
        "headings": [
            (COLUMNS[name], bool(rows) and rows[0][i].kind == "number") for i, name in enumerate(columns)
        ],
        "rows": rows[:SHOWN],
        "more": len(rows) > SHOWN,
        "csv": f"{reverse('report_csv')}?{asked.address}",
    }
    return page(request, "report", context, part="results")


@require(Permission.READ_REPORTS)
@require_safe
def report_csv(request: HttpRequest) -> HttpResponseBase:
    """The whole report, streamed."""
    asked = _asked(request)
    try:
        found = usage.rows(start=asked.start, end=asked.end, by=asked.by)
    except InvalidInputError as error:
        return HttpResponse(str(error), status=422, content_type="text/plain; charset=utf-8")
    return usage.download(found, f"petridish-{asked.by}-{asked.start}-{asked.end}.csv")


def _asked(request: HttpRequest) -> Query:
    """From the address; what is missing, no date or no level is as the API has it."""
    start, end = usage.period(_day(request, "from"), _day(request, "to"))
    by = request.GET.get("by", "")
    return Query(start, end, By(by) if by in set(By) else usage.USUAL)


def _day(request: HttpRequest, name: str) -> date | None:
    try:
        return date.fromisoformat(request.GET.get(name, ""))
    except ValueError:
        return None


def _cell(value: object) -> Cell:
    match value:
        case datetime():
            return Cell("moment", value)
        case bool():
            return Cell("text", "yes" if value else "no")
        case int():
            return Cell("number", value)
        case _:
            return Cell("text", value)
