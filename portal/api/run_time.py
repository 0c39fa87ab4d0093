"""/sandboxes/{id}/run-time, /attempts and /honeytokens: what happened in a sandbox while something ran in it."""

from datetime import datetime
from typing import Any

from django.http import HttpResponse
from ninja import Query, Router, Status
from ninja import Schema as Output
from pydantic import Field

from portal.accounts.permissions import Permission
from portal.api.auth import ApiRequest, Bearer
from portal.api.fields import NewestFirst, link_next, newest
from portal.approvals.profiles import own_packages
from portal.approvals.queries import sandbox_for
from sandboxes.index.policy.facts import Ecosystem
from sandboxes.lifecycle import bait, honeytokens
from sandboxes.lifecycle.models import HoneytokenUse
from sandboxes.usage import run_time, wanting
from sandboxes.usage.models import Connection, Inventory

router = Router(tags=["sandboxes"])
see = Bearer(Permission.REQUEST_SANDBOX, Permission.SEE_ALL_SANDBOXES)


class Looks(NewestFirst):
    limit: int = Field(5, ge=1, le=20)  # each has thousands of entries


class UsedOut(Output):
    """A package of the sandbox. `how`: its client names it ("named"), or it was installed last ("before")."""

    project: str
    version: str
    at: datetime
    how: run_time.How


class LateOut(Output):
    """A file asked for at run time: by no installer, or by one after the workspace's own installs.

    `refused` is the rule that refused it, or empty. `used` is null when nothing is known to have been in use.
    """

    id: int
    at: datetime
    ecosystem: Ecosystem
    project: str
    filename: str
    client: str
    user_agent: str
    refused: str
    why: run_time.Why
    used: UsedOut | None


class BeforeOut(Output):
    """A package of which a file was downloaded before an attempt; `version` is empty when it is not known."""

    project: str
    version: str
    at: datetime


class AttemptOut(Output):
    """A connection that was not let out, and what was downloaded in the ten minutes before it.

    `source`: who says so, the egress proxy ("proxy") or the cluster's policy logs ("policy"). `repeats` counts
    attempts like it that got no row of their own; `last_at` is when the last of them was, if that is known.
    """

    id: int
    at: datetime
    last_at: datetime | None
    source: str
    host: str
    address: str
    port: int
    protocol: str
    reason: str
    repeats: int
    before: list[BeforeOut]


class HoneytokenUseOut(Output):
    """A use of a planted credential. `identifier` is what may be shown of it.

    `seen_in`: the sandbox it came from, when that is known; where it is not this one, it was carried there.
    """

    id: int
    at: datetime
    kind: bait.Kind
    identifier: str
    seen_in: int | None
    method: str
    path: str
    user_agent: str
    address: str


class InventoryOut(Output):
    """A look at what is installed. `taken_at` is null while a worker has yet to look; `error`: why nothing is seen.

    An entry's `state`: as_received, altered, sideloaded (never received, or beside packages and named by no RECORD),
    missing (received, not there).
    """

    id: int
    wanted_at: datetime
    taken_at: datetime | None
    error: str
    complete: bool
    counts: dict[str, int]
    entries: list[dict[str, Any]]


@router.get("/{int:sandbox_id}/run-time", auth=see, response=list[LateOut])
def list_run_time(
    request: ApiRequest, sandbox_id: int, page: Query[NewestFirst], response: HttpResponse
) -> list[LateOut]:
    """Downloads at run time, the newest first."""
    sandbox = sandbox_for(request.auth, sandbox_id)
    found = run_time.downloads(
        sandbox, own_packages(sandbox.profile), before=page.before, limit=page.limit + 1
    )
    if len(found) > page.limit:
        found.pop()
        link_next(request, response, before=found[-1].fetch.pk)
    return [_late(one) for one in found]


@router.get("/{int:sandbox_id}/attempts", auth=see, response=list[AttemptOut])
def list_attempts(
    request: ApiRequest, sandbox_id: int, page: Query[NewestFirst], response: HttpResponse
) -> list[AttemptOut]:
    """Attempts to get out that were refused or dropped, with the packages that came before each, the newest first."""
    sandbox = sandbox_for(request.auth, sandbox_id)
    found = run_time.denied(sandbox, before=page.before, limit=page.limit + 1)
    if len(found) > page.limit:
        found.pop()
        link_next(request, response, before=found[-1].connection.pk)
    return [_attempt(one) for one in found]


@router.get("/{int:sandbox_id}/honeytokens", auth=see, response=list[HoneytokenUseOut])
def list_honeytoken_uses(
    request: ApiRequest, sandbox_id: int, page: Query[NewestFirst], response: HttpResponse
) -> list[HoneytokenUseOut]:
    """Uses of the fake credentials that were planted in the sandbox, the newest first."""
    sandbox = sandbox_for(request.auth, sandbox_id)
    return [_use(row) for row in newest(honeytokens.used(sandbox), page, request, response)]


@router.get("/{int:sandbox_id}/inventory", auth=see, response=list[InventoryOut])
def list_inventories(
    request: ApiRequest, sandbox_id: int, page: Query[Looks], response: HttpResponse
) -> list[Inventory]:
    """Looks at what is really installed, compared with what came through the index, the newest first."""
    sandbox = sandbox_for(request.auth, sandbox_id)
    return newest(wanting.newest(sandbox), page, request, response)


@router.post("/{int:sandbox_id}/inventory", auth=see, response={202: InventoryOut})
def want_inventory(request: ApiRequest, sandbox_id: int) -> Status[Inventory]:
    """Have a worker look; the look that waits already, if there is one."""
    sandbox = sandbox_for(request.auth, sandbox_id)
    return Status(202, wanting.want(sandbox, by=request.auth))


def _late(one: run_time.Late) -> LateOut:
    row, used = one.fetch, one.used
    return LateOut(
        id=row.pk,
        at=row.at,
        ecosystem=Ecosystem(row.ecosystem),
        project=row.project,
        filename=row.filename,
        client=row.client,
        user_agent=row.user_agent,
        refused=row.refused,
        why=one.why,
        used=UsedOut(project=used.project, version=used.version, at=used.at, how=used.how) if used else None,
    )


def _attempt(one: run_time.Attempt) -> AttemptOut:
    row = one.connection
    before = [BeforeOut(project=each.project, version=each.version, at=each.at) for each in one.before]
    return AttemptOut(
        id=row.pk,
        at=row.at,
        last_at=row.seen_at if row.source == Connection.POLICY else None,
        source=row.source,
        host=row.host,
        address=row.address,
        port=row.port,
        protocol=row.protocol,
        reason=row.reason,
        repeats=row.repeats,
        before=before,
    )


def _use(row: HoneytokenUse) -> HoneytokenUseOut:
    return HoneytokenUseOut(
        id=row.pk,
        at=row.at,
        kind=bait.Kind(row.token.kind),
        identifier=row.token.identifier,
        seen_in=row.seen_in_id,
        method=row.method,
        path=row.path,
        user_agent=row.user_agent,
        address=row.address,
    )
