"""What a person may see of waivers."""

from collections.abc import Iterable

from django.db.models import Q, QuerySet

from portal.accounts.models import User
from portal.accounts.permissions import Permission
from sandboxes.errors import NotFoundError
from sandboxes.index.models import Waiver
from sandboxes.index.policy.rules import ADMINS_ALONE
from sandboxes.index.policy.waivers import Scope
from sandboxes.index.waivers import About, State
from sandboxes.lifecycle import clock
from sandboxes.lifecycle.models import Sandbox


def waivers_visible(viewer: User) -> QuerySet[Waiver]:
    """All to those who decide or audit; to everybody their own, and what is granted to them. Newest first."""
    rows = Waiver.objects.select_related("asked_by", "decided_by", "sandbox__owner").order_by("-id")
    if viewer.may(Permission.DECIDE_REQUESTS) or viewer.may(Permission.READ_LEDGER):
        return rows
    departments = Sandbox.objects.filter(owner=viewer).exclude(department="").values("department")
    granted = (
        Q(scope=Scope.ALL)
        | Q(scope=Scope.PERSON, subject=str(viewer.pk))
        | Q(scope=Scope.DEPARTMENT, subject__in=departments)
    )
    return rows.filter(Q(asked_by=viewer) | Q(sandbox__owner=viewer) | (Q(state=State.GRANTED) & granted))


def waiver_for(viewer: User, waiver_id: int) -> Waiver:
    """The waiver, or NotFoundError when it does not exist or is not theirs to see."""
    waiver = waivers_visible(viewer).filter(pk=waiver_id).first()
    if waiver is None:
        raise NotFoundError("There is no such waiver, or it is not yours to see.")
    return waiver


def waiting(*, text: str = "", profile: str = "") -> QuerySet[Waiver]:
    """Those that nobody has decided, oldest first, filtered as the queue is."""
    rows = Waiver.objects.filter(state=State.ASKED).select_related("asked_by", "sandbox").order_by("id")
    if profile:
        rows = rows.filter(sandbox__profile=profile)
    if text := text.strip().replace("\0", ""):
        rows = rows.filter(
            Q(reason__icontains=text)
            | Q(project__icontains=text)
            | Q(asked_by__username__icontains=text)
            | Q(asked_by__display_name__icontains=text)
            | Q(asked_by__department__icontains=text)
        )
    return rows


def holding(rows: QuerySet[Waiver]) -> QuerySet[Waiver]:
    """Those that hold now; broken glass first."""
    return rows.filter(state=State.GRANTED, until__gt=clock.Now()).order_by("-break_glass", "-id")


def of_sandbox(sandbox: Sandbox) -> QuerySet[Waiver]:
    """Those asked for here, and those that hold here whoever asked, newest first."""
    here = _holds_for(sandbox.pk, sandbox.owner_id, sandbox.department)
    now = Q(state=State.GRANTED, until__gt=clock.Now())
    rows = Waiver.objects.filter(Q(sandbox=sandbox) | (now & here))
    return rows.select_related("asked_by", "decided_by").order_by("-id")


def on(what: About, sandbox: Sandbox | None, person: User) -> QuerySet[Waiver]:
    """What was asked or granted about it, for that sandbox or, without one, by that person."""
    rows = Waiver.objects.filter(
        ecosystem=what.ecosystem.value, project=what.project, version__in=("", what.version)
    )
    if sandbox is None:
        return rows.filter(asked_by=person).order_by("-id")
    here = _holds_for(sandbox.pk, sandbox.owner_id, sandbox.department)
    return rows.filter(Q(sandbox=sandbox) | (Q(state=State.GRANTED) & here)).order_by("-id")


def may_decide(viewer: User, waiver: Waiver) -> bool:
    theirs = waiver.asked_by_id == viewer.pk
    return waiver.state == State.ASKED and viewer.may(Permission.DECIDE_REQUESTS) and not theirs


def may_grant(viewer: User, waiver: Waiver) -> bool:
    """Not only refuse."""
    known = viewer.may(Permission.GRANT_ANY_WAIVER) or not needs_admin(waiver)
    return may_decide(viewer, waiver) and known


def needs_admin(waiver: Waiver) -> bool:
    """Whether an approver's word is not enough."""
    return waiver.rule in ADMINS_ALONE


def may_end(viewer: User, waiver: Waiver) -> bool:
    return waiver.asked_by_id == viewer.pk or viewer.may(Permission.DECIDE_REQUESTS)


def is_holding(waiver: Waiver) -> bool:
    return waiver.state == State.GRANTED and waiver.until > clock.now()


def people(rows: Iterable[Waiver]) -> dict[str, User]:
    """By number, those whom waivers of scope "person" are for."""
    numbers = {row.subject for row in rows if row.scope == Scope.PERSON}
    return {str(person.pk): person for person in User.objects.filter(pk__in=numbers)}


def _holds_for(sandbox: int, person: int, department: str) -> Q:
    found = (
        Q(scope=Scope.SANDBOX, subject=str(sandbox))
        | Q(scope=Scope.PERSON, subject=str(person))
        | Q(scope=Scope.ALL)
    )
    return found | Q(scope=Scope.DEPARTMENT, subject=department) if department else found
