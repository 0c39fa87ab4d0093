"""What a person may see of requests and sandboxes: one access function per kind."""

from dataclasses import dataclass

from django.db.models import Count, Q, QuerySet

from portal.accounts.models import User
from portal.accounts.permissions import Permission
from portal.approvals import waiver_queries
from portal.approvals.egress import way_of
from portal.approvals.models import Decision, Request, State
from sandboxes.errors import NotFoundError
from sandboxes.lifecycle.holds import held
from sandboxes.lifecycle.models import EgressException, Sandbox
from sandboxes.lifecycle.phases import LIVE, Phase
from sandboxes.lifecycle.queries import live_count
from sandboxes.screening import held as held_files

_RECENT = 5


@dataclass(frozen=True)
class History:
    """What an approver should know of the person who asks."""

    requests: int
    approved: int
    denied: int
    live: int
    recent: list[Request]


def requests_visible(viewer: User) -> QuerySet[Request]:
    """All to those who decide or audit, one's own to everybody, newest first."""
    rows = Request.objects.select_related("requester", "sandbox", "decision__by").order_by("-id")
    if viewer.may(Permission.DECIDE_REQUESTS) or viewer.may(Permission.READ_LEDGER):
        return rows
    return rows.filter(requester=viewer)


def request_for(viewer: User, request_id: int) -> Request:
    """The request, or NotFoundError when it does not exist or is not theirs to see."""
    request = requests_visible(viewer).filter(pk=request_id).first()
    if request is None:
        raise NotFoundError("There is no such request, or it is not yours to see.")
    return request


def sandboxes_visible(viewer: User) -> QuerySet[Sandbox]:
    """All to those who may see all, one's own to everybody, newest first."""
    rows = Sandbox.objects.select_related("owner", "receipt", "hold_by").order_by("-id")
    return rows if viewer.may(Permission.SEE_ALL_SANDBOXES) else rows.filter(owner=viewer)


def sandbox_for(viewer: User, sandbox_id: int) -> Sandbox:
    """The sandbox, or NotFoundError when it does not exist or is not theirs to see."""
    sandbox = sandboxes_visible(viewer).filter(pk=sandbox_id).first()
    if sandbox is None:
        raise NotFoundError("There is no such sandbox, or it is not yours to see.")
    return sandbox


def granted_way(request: Request) -> EgressException | None:
    """What an approved request for a way out opened. The same may be asked for again, once it has ended."""
    decision = Decision.objects.filter(request=request, approved=True).first()
    if decision is None or request.sandbox is None:
        return None
    way = way_of(request.egress)
    rows = request.sandbox.egress_exceptions.filter(cidr=way.cidr, host=way.host, port=way.port)
    return min(rows, key=lambda row: abs(row.granted_at - decision.at), default=None)


def queue(*, text: str = "", profile: str = "") -> QuerySet[Request]:
    """Pending requests, oldest first; `text` is looked for in purpose, tools and the person's names."""
    rows = Request.objects.filter(state=State.PENDING).select_related("requester", "sandbox").order_by("id")
    if profile:
        rows = rows.filter(profile=profile)
    if text := text.strip().replace("\0", ""):
        rows = rows.filter(
            Q(purpose__icontains=text)
            | Q(tools__icontains=text)
            | Q(egress__host__icontains=text)
            | Q(requester__username__icontains=text)
            | Q(requester__display_name__icontains=text)
            | Q(requester__department__icontains=text)
        )
    return rows


def queue_count() -> int:
    """Of requests, waivers and held files."""
    asked = Request.objects.filter(state=State.PENDING).count() + waiver_queries.waiting().count()
    return asked + held_files.waiting().count()


def history(person: User) -> History:
    """Counts over all of a person's requests, and the newest few."""
    counts = Request.objects.filter(requester=person).aggregate(
        requests=Count("id"),
        approved=Count("id", filter=Q(state=State.APPROVED)),
        denied=Count("id", filter=Q(state=State.DENIED)),
    )
    recent = list(Request.objects.filter(requester=person).order_by("-id")[:_RECENT])
    return History(**counts, live=live_count(person.pk), recent=recent)


def may_decide(viewer: User, request: Request) -> bool:
    return (
        viewer.may(Permission.DECIDE_REQUESTS)
        and request.requester_id != viewer.pk
        and request.state == State.PENDING
    )


def may_end(viewer: User, sandbox: Sandbox) -> bool:
    """One's own, or any with the permission, while it is live and under no legal hold.

    What is isolated is kept as it is: its owner does not end it, whatever their role.
    """
    own = sandbox.owner_id == viewer.pk
    allowed = viewer.may(Permission.END_ANY_SANDBOX) or (own and viewer.may(Permission.REQUEST_SANDBOX))
    kept = own and sandbox.phase == Phase.ISOLATED
    return sandbox.phase in LIVE and allowed and not kept and not held(sandbox)


def may_extend(viewer: User, sandbox: Sandbox) -> bool:
    return sandbox.phase in LIVE and sandbox.owner_id == viewer.pk and viewer.may(Permission.REQUEST_SANDBOX)


def may_ask_egress(viewer: User, sandbox: Sandbox) -> bool:
    """A way out is for a lease that runs; see `lifecycle.egress.check_open_to`."""
    theirs = sandbox.owner_id == viewer.pk and viewer.may(Permission.REQUEST_SANDBOX)
    return theirs and sandbox.phase in (Phase.READY, Phase.HIBERNATED) and sandbox.expires_at is not None


def may_end_egress(viewer: User, sandbox: Sandbox) -> bool:
    """The owner, and whoever decides on them."""
    return sandbox.owner_id == viewer.pk or viewer.may(Permission.DECIDE_REQUESTS)
