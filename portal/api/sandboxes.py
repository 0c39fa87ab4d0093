"""/sandboxes: where they stand, what they received, more time, an early end."""

from datetime import datetime
from typing import Any

from django.db.models import OuterRef, Subquery
from django.http import HttpResponse
from ninja import Query, Router, Status
from ninja import Schema as Output

from portal.accounts.models import User
from portal.accounts.permissions import Permission
from portal.api import egress, requests
from portal.api.auth import ApiRequest, Bearer
from portal.api.fields import Input, NewestFirst, Text, duration, newest
from portal.approvals import services
from portal.approvals.queries import request_for, sandbox_for, sandboxes_visible
from sandboxes.errors import NotFoundError
from sandboxes.lifecycle import queries, quota, receipts
from sandboxes.lifecycle.models import Probe, Receipt, Sandbox
from sandboxes.lifecycle.phases import Phase
from sandboxes.usage.models import Install
from sandboxes.usage.queries import installs

router = Router(tags=["sandboxes"])
ask = Bearer(Permission.REQUEST_SANDBOX)
see = Bearer(Permission.REQUEST_SANDBOX, Permission.SEE_ALL_SANDBOXES)
stop = Bearer(Permission.REQUEST_SANDBOX, Permission.END_ANY_SANDBOX)


class NewExtension(Input):
    """`duration` (ISO 8601) is what to add to the lease."""

    duration: Text
    reason: Text


class ProbeOut(Output):
    """The newest test of the seal, with what it tried; `simulated`: no real network was tried."""

    at: datetime
    passed: bool
    simulated: bool
    attempts: list[dict[str, Any]]


class ReceiptOut(Output):
    """Proof of teardown; without key and signature it is from before receipts were signed."""

    at: datetime
    document: dict[str, Any]
    key_id: str
    signature: str


class SignatureOut(Output):
    """Ed25519 over the receipt's canonical JSON (RFC 8785), base64; `key_id` names the key of /receipts/key."""

    algorithm: str
    key_id: str
    value: str


class SignedReceiptOut(Output):
    """What anybody can check: see docs/receipts.md. A null signature: from before receipts were signed."""

    receipt: dict[str, Any]
    signature: SignatureOut | None


class SandboxOut(Output):
    """`index_url` holds credentials: it is there for the owner, while they work; for anybody else it is null.

    `name` and `namespace` are null until a worker has taken the sandbox up;
    `status` is one sentence for people. While it is isolated, `cut_at` is when the cluster had
    carried it out; while it is hibernated, `hibernated_at` is when no pod was left.
    `queue_position` counts from 1 while it is queued. `egress` is the ways out that are allowed now.
    """

    id: int
    name: str | None
    namespace: str | None
    cluster: str
    simulated: bool
    owner: str
    profile: str
    data_class: str
    tools: list[str]
    phase: Phase
    status: str
    queue_position: int | None
    isolated_at: datetime | None
    isolation_reason: str
    cut_at: datetime | None
    hibernated_at: datetime | None
    hold_until: datetime | None
    hold_reason: str
    hold_by: str | None
    failure: str
    end_reason: str
    created_at: datetime
    ready_at: datetime | None
    expires_at: datetime | None
    ended_at: datetime | None
    probe: ProbeOut | None
    index_url: str | None
    egress: list[egress.EgressOut]
    receipt: ReceiptOut | None


class InstallOut(Output):
    """A file that the sandbox received; `project` is the normalised name (PEP 503)."""

    id: int
    at: datetime
    project: str
    version: str
    filename: str
    sha256: str
    size: int
    client: str


class SandboxFilter(NewestFirst):
    phase: Phase | None = None


@router.get("", auth=see, response=list[SandboxOut])
def list_sandboxes(
    request: ApiRequest, page: Query[SandboxFilter], response: HttpResponse
) -> list[SandboxOut]:
    """One's own sandboxes, or everybody's for those who may see all; the newest first."""
    rows = sandboxes_visible(request.auth)
    if page.phase is not None:
        rows = rows.filter(phase=page.phase)
    found = newest(rows, page, request, response)
    probes = _newest_probes(found)
    places = quota.positions() if any(sandbox.phase == Phase.QUEUED for sandbox in found) else {}
    ways = egress.open_of(found)
    return [
        _shown(sandbox, probes.get(sandbox.pk), request.auth, places.get(sandbox.pk), ways[sandbox.pk])
        for sandbox in found
    ]


@router.get("/{int:sandbox_id}", auth=see, response=SandboxOut)
def read_sandbox(request: ApiRequest, sandbox_id: int) -> SandboxOut:
    return shown(sandbox_for(request.auth, sandbox_id), request.auth)


@router.post("/{int:sandbox_id}/extend", auth=ask, response={201: requests.RequestOut})
def extend_sandbox(
    request: ApiRequest, sandbox_id: int, payload: NewExtension
) -> Status[requests.RequestOut]:
    """Ask for more time: a request of its own, which policy may approve at once."""
    sandbox = sandbox_for(request.auth, sandbox_id)
    add = duration(payload.duration)
    asked = services.extend(sandbox.pk, by=request.auth, duration=add, reason=payload.reason)
    return Status(201, requests.shown(request_for(request.auth, asked.pk)))


@router.post("/{int:sandbox_id}/end", auth=stop, response={202: SandboxOut})
def end_sandbox(request: ApiRequest, sandbox_id: int) -> Status[SandboxOut]:
    """End it now. Asking again while it ends changes nothing; once it is over, that is a 409."""
    services.end(sandbox_id, by=request.auth)
    return Status(202, shown(sandbox_for(request.auth, sandbox_id), request.auth))


@router.get("/{int:sandbox_id}/installs", auth=see, response=list[InstallOut])
def list_installs(
    request: ApiRequest, sandbox_id: int, page: Query[NewestFirst], response: HttpResponse
) -> list[Install]:
    """Files the sandbox received, the newest first."""
    return newest(installs(sandbox_for(request.auth, sandbox_id)), page, request, response)


@router.get("/{int:sandbox_id}/receipt", auth=see, response=SignedReceiptOut)
def read_receipt(request: ApiRequest, sandbox_id: int) -> dict[str, Any]:
    """The signed receipt, once it is over; 404 before."""
    found = queries.receipt(sandbox_for(request.auth, sandbox_id))
    if found is None:
        raise NotFoundError("There is no receipt yet.")
    return receipts.signed(found).envelope()


def shown(sandbox: Sandbox, viewer: User) -> SandboxOut:
    """A sandbox, as `sandboxes_visible` loads it, for the one who may see it."""
    place, ways = quota.position(sandbox) or None, egress.open_of([sandbox])[sandbox.pk]
    return _shown(sandbox, queries.newest_probe(sandbox), viewer, place, ways)


def _shown(
    sandbox: Sandbox, probe: Probe | None, viewer: User, place: int | None, ways: list[egress.EgressOut]
) -> SandboxOut:
    receipt: Receipt | None = getattr(sandbox, "receipt", None)
    url = queries.index_url(sandbox) if sandbox.owner_id == viewer.pk else ""
    return SandboxOut(
        id=sandbox.pk,
        name=sandbox.name,
        namespace=sandbox.namespace,
        cluster=sandbox.cluster,
        simulated=sandbox.simulated,
        owner=sandbox.owner.username,
        profile=sandbox.profile,
        data_class=sandbox.data_class,
        tools=sandbox.tools,
        phase=Phase(sandbox.phase),
        status=queries.status(sandbox, place),
        queue_position=place,
        isolated_at=sandbox.isolated_at,
        isolation_reason=sandbox.isolation_reason,
        cut_at=sandbox.cut_at,
        hibernated_at=sandbox.hibernated_at,
        hold_until=sandbox.hold_until,
        hold_reason=sandbox.hold_reason,
        hold_by=sandbox.hold_by.username if sandbox.hold_by else None,
        failure=sandbox.failure,
        end_reason=sandbox.end_reason,
        created_at=sandbox.created_at,
        ready_at=sandbox.ready_at,
        expires_at=sandbox.expires_at,
        ended_at=sandbox.ended_at,
        probe=ProbeOut.model_validate(probe) if probe else None,
        index_url=url or None,
        egress=ways,
        receipt=ReceiptOut.model_validate(receipt) if receipt else None,
    )


def _newest_probes(found: list[Sandbox]) -> dict[int, Probe]:
    """By sandbox, in one query for the whole page."""
    newest_of = Probe.objects.filter(sandbox=OuterRef("pk")).order_by("-id").values("pk")[:1]
    ids = Sandbox.objects.filter(pk__in=[sandbox.pk for sandbox in found]).values(newest=Subquery(newest_of))
    return {probe.sandbox_id: probe for probe in Probe.objects.filter(pk__in=ids)}
