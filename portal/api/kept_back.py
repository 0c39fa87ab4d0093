"""/sandboxes/{id}/older and /refused: what package policy kept back from a sandbox."""

from datetime import datetime

from django.http import HttpResponse
from django.urls import reverse
from ninja import Query, Router
from ninja import Schema as Output
from pydantic import Field

from portal.accounts.permissions import Permission
from portal.api.auth import ApiRequest, Bearer
from portal.api.fields import NewestFirst, link_next, newest
from portal.approvals import kept_back
from portal.approvals.queries import sandbox_for
from sandboxes.index.policy.facts import Ecosystem
from sandboxes.lifecycle.models import Sandbox
from sandboxes.usage.models import Fetch
from sandboxes.usage.queries import refused, taken_older

router = Router(tags=["sandboxes"])
see = Bearer(Permission.REQUEST_SANDBOX, Permission.SEE_ALL_SANDBOXES)


class OlderFilter(NewestFirst):
    limit: int = Field(20, ge=1, le=50)  # each is decided anew


class OlderOut(Output):
    """`taken` was taken because policy withheld `newest`; `at` is when, `rule` by which rule.

    `opens`: when `newest` is given by itself. `given`: it is by now; null when the sandbox is over.
    `why` is the address of the page that explains it.
    """

    id: int
    at: datetime
    ecosystem: Ecosystem
    project: str
    taken: str
    newest: str
    rule: str
    opens: datetime | None
    given: bool | None
    why: str


class RefusedOut(Output):
    """A file that was asked for and not given. `version` and `why` are null for a name that tells no version."""

    id: int
    at: datetime
    ecosystem: Ecosystem
    project: str
    version: str | None
    filename: str
    rule: str
    client: str
    why: str | None


@router.get("/{int:sandbox_id}/older", auth=see, response=list[OlderOut])
def list_older(
    request: ApiRequest, sandbox_id: int, page: Query[OlderFilter], response: HttpResponse
) -> list[OlderOut]:
    """Projects of which the sandbox has an older version than it would without policy, the newest first."""
    sandbox = sandbox_for(request.auth, sandbox_id)
    rows = [row for row in taken_older(sandbox) if page.before is None or row.id < page.before]
    found = rows[: page.limit]
    if len(rows) > len(found):
        link_next(request, response, before=found[-1].id)
    return [_older(request, sandbox, one) for one in kept_back.older(sandbox, found)]


@router.get("/{int:sandbox_id}/refused", auth=see, response=list[RefusedOut])
def list_refused(
    request: ApiRequest, sandbox_id: int, page: Query[NewestFirst], response: HttpResponse
) -> list[RefusedOut]:
    """Files the sandbox asked for that policy refused, the newest first."""
    sandbox = sandbox_for(request.auth, sandbox_id)
    return [_refused(request, sandbox, row) for row in newest(refused(sandbox), page, request, response)]


def _older(request: ApiRequest, sandbox: Sandbox, one: kept_back.Older) -> OlderOut:
    return OlderOut(
        id=one.row.id,
        at=one.row.at,
        ecosystem=one.newest.ecosystem,
        project=one.row.project,
        taken=one.row.version,
        newest=one.row.withheld,
        rule=one.row.rule,
        opens=one.opens,
        given=one.given,
        why=_why(request, sandbox, one.row.ecosystem, one.row.project, one.row.withheld),
    )


def _refused(request: ApiRequest, sandbox: Sandbox, row: Fetch) -> RefusedOut:
    version = kept_back.refused_version(row)
    return RefusedOut(
        id=row.pk,
        at=row.at,
        ecosystem=Ecosystem(row.ecosystem),
        project=row.project,
        version=version or None,
        filename=row.filename,
        rule=row.refused,
        client=row.client,
        why=_why(request, sandbox, row.ecosystem, row.project, version) if version else None,
    )


def _why(request: ApiRequest, sandbox: Sandbox, ecosystem: str, project: str, version: str) -> str:
    address = reverse("why", args=[ecosystem, project, version])
    return request.build_absolute_uri(f"{address}?sandbox={sandbox.pk}")
