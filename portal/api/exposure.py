"""/exposure: who has it. And what is kept about a sandbox: its bill of materials, and evidence."""

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from ninja import Query, Router
from pydantic import Field

from portal.accounts.permissions import Permission
from portal.api.auth import ApiRequest, Bearer
from portal.api.fields import NewestFirst, RowId, Text, newest
from portal.approvals.queries import sandbox_for
from portal.reports import evidence, exposure, sbom
from portal.reports.export import Stream, kept_as
from sandboxes.screening.sbom import MEDIA_TYPE

router = Router(tags=["screening"])
of_sandboxes = Router(tags=["sandboxes"])
see = Bearer(Permission.REQUEST_SANDBOX, Permission.SEE_ALL_SANDBOXES)
see_all = Bearer(Permission.SEE_ALL_SANDBOXES)
look_into = Bearer(Permission.ISOLATE_SANDBOX, Permission.READ_LEDGER)
_BOM = {"responses": {200: {"content": {MEDIA_TYPE: {"schema": {"type": "object"}}}}}}
_ZIP = {
    "responses": {200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}}
}


class Wanted(NewestFirst):
    """`open`: true for what is not closed, false for what is. `live`: of sandboxes that are, now."""

    advisory: Text = ""
    sandbox: RowId | None = None
    live: bool | None = None
    is_open: bool | None = Field(None, alias="open")


@router.get("", auth=see, response=list[exposure.Line])
def list_exposures(request: ApiRequest, page: Query[Wanted], response: HttpResponse) -> list[exposure.Line]:
    """Who received what an advisory speaks against: a row for each file, the newest exposure first.

    `limit` and `before` count exposures (an advisory and a sandbox), which may be of several files.
    Everybody's for those who may see all sandboxes, else one's own.
    """
    rows = exposure.exposures(
        advisory=page.advisory, sandbox=page.sandbox, live=page.live, is_open=page.is_open
    )
    found = newest(exposure.visible(rows, request.auth), page, request, response)
    return list(exposure.lines(found))


@router.get("/totals", auth=see_all, response=exposure.Totals)
def read_totals(request: ApiRequest, advisory: Query[Text]) -> exposure.Totals:
    """How many received what an advisory speaks against: live, past and closed, whatever the page of a list holds.

    `complete` is false while past sandboxes are still being looked through; live ones are looked at first.
    """
    return exposure.totals(exposure.advisory_of(advisory))


@router.get("/sbom", auth=see, openapi_extra=_BOM)
def read_tool_sbom(request: ApiRequest, tool: Query[Text]) -> HttpResponseBase:
    """A bill of materials (CycloneDX 1.6) of all that those of one's sandboxes received that declared this tool."""
    return HttpResponse(sbom.of_tool(tool, request.auth), content_type=MEDIA_TYPE)


@of_sandboxes.get("/{int:sandbox_id}/sbom", auth=see, openapi_extra=_BOM)
def read_sandbox_sbom(request: ApiRequest, sandbox_id: int) -> HttpResponseBase:
    """What it received, as a bill of materials (CycloneDX 1.6), with what is known against that."""
    return HttpResponse(sbom.of_sandbox(sandbox_for(request.auth, sandbox_id)), content_type=MEDIA_TYPE)


@of_sandboxes.get("/{int:sandbox_id}/evidence", auth=look_into, openapi_extra=_ZIP)
def read_evidence(request: ApiRequest, sandbox_id: int) -> HttpResponseBase:
    """All that is kept about a sandbox that was isolated: a zip, with a signed manifest. The ledger notes it."""
    name, blocks = evidence.take(sandbox_id, by=request.auth)
    return Stream(blocks, content_type="application/zip", headers=kept_as(name))
