"""/sandboxes/{id}/egress: ways out of a sandbox, and /connections, what went through the egress proxy."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from django.http import HttpResponse
from ninja import Query, Router, Status
from ninja import Schema as Output

from portal.accounts.permissions import Permission
from portal.api import requests
from portal.api.auth import ApiRequest, Bearer
from portal.api.fields import Input, NewestFirst, Text, newest
from portal.approvals import services
from portal.approvals.egress import Typed
from portal.approvals.queries import request_for, sandbox_for
from sandboxes.lifecycle import clock
from sandboxes.lifecycle.models import EgressException, Sandbox
from sandboxes.lifecycle.phases import LIVE
from sandboxes.usage.models import Connection
from sandboxes.usage.queries import connections

router = Router(tags=["sandboxes"])
ask = Bearer(Permission.REQUEST_SANDBOX)
see = Bearer(Permission.REQUEST_SANDBOX, Permission.SEE_ALL_SANDBOXES)


class NewEgress(Input):
    """One host or one address block. `until` is ISO 8601, a moment or a duration; without it, the lease's end."""

    host: Text = ""
    cidr: Text = ""
    port: int
    reason: Text
    until: Text = ""


class EgressOut(Output):
    """`ended_at` is null while it is allowed.

    `applied_at` and `removed_at` are of an address block: when the cluster had its network
    policy, and when that was seen gone.
    """

    id: int
    host: str
    cidr: str
    port: int
    reason: str
    until: datetime
    granted_at: datetime
    granted_by: str | None
    applied_at: datetime | None
    ended_at: datetime | None
    removed_at: datetime | None


class ConnectionOut(Output):
    """One connection asked of the egress proxy; `repeats` counts refused ones that got no row of their own."""

    id: int
    at: datetime
    host: str
    port: int
    address: str
    allowed: bool
    reason: str
    repeats: int
    bytes_up: int
    bytes_down: int
    ended_at: datetime | None
    seconds: float


@router.post("/{int:sandbox_id}/egress", auth=ask, response={201: requests.RequestOut})
def ask_egress(request: ApiRequest, sandbox_id: int, payload: NewEgress) -> Status[requests.RequestOut]:
    """Ask for a way out of one's own sandbox: a request of its own, on which an approver decides."""
    sandbox = sandbox_for(request.auth, sandbox_id)
    typed = Typed(**{**payload.model_dump(), "port": str(payload.port)})
    asked = services.ask_egress(sandbox.pk, by=request.auth, typed=typed)
    return Status(201, requests.shown(request_for(request.auth, asked.pk)))


@router.get("/{int:sandbox_id}/egress", auth=see, response=list[EgressOut])
def list_egress(
    request: ApiRequest, sandbox_id: int, page: Query[NewestFirst], response: HttpResponse
) -> list[EgressOut]:
    """Every way out that was granted, the newest first."""
    rows = sandbox_for(request.auth, sandbox_id).egress_exceptions.select_related("granted_by")
    return [shown(row) for row in newest(rows.order_by("-id"), page, request, response)]


@router.post("/{int:sandbox_id}/egress/{int:exception_id}/end", auth=see, response=EgressOut)
def end_egress(request: ApiRequest, sandbox_id: int, exception_id: int) -> EgressOut:
    """End one now: its sandbox's owner and approvers may. Asking again changes nothing."""
    return shown(services.end_egress(exception_id, sandbox_id=sandbox_id, by=request.auth))


@router.get("/{int:sandbox_id}/connections", auth=see, response=list[ConnectionOut])
def list_connections(
    request: ApiRequest, sandbox_id: int, page: Query[NewestFirst], response: HttpResponse
) -> list[Connection]:
    """What the sandbox asked of the egress proxy, allowed or refused, the newest first."""
    return newest(connections(sandbox_for(request.auth, sandbox_id)), page, request, response)


def open_of(sandboxes: Iterable[Sandbox]) -> dict[int, list[EgressOut]]:
    """The ways out that are allowed now, by sandbox, in one query."""
    live = [sandbox.pk for sandbox in sandboxes if sandbox.phase in LIVE]
    found: dict[int, list[EgressOut]] = defaultdict(list)
    rows = EgressException.objects.filter(sandbox__in=live, ended_at=None, until__gt=clock.Now())
    for row in rows.select_related("granted_by").order_by("-id") if live else ():
        found[row.sandbox_id].append(shown(row))
    return found


def shown(row: EgressException) -> EgressOut:
    return EgressOut(
        id=row.pk,
        host=row.host,
        cidr=row.cidr,
        port=row.port,
        reason=row.reason,
        until=row.until,
        granted_at=row.granted_at,
        granted_by=row.granted_by.username if row.granted_by else None,
        applied_at=row.applied_at,
        ended_at=row.ended_at,
        removed_at=row.removed_at,
    )
