"""What people do to a sandbox besides asking for it: sleep, wake, isolate, release, hold, lift.

Who may do what is decided here; what it means is in `sandboxes.lifecycle`. Sleeping and
waking are the owner's. Cutting off and releasing need a permission, and nobody releases
their own sandbox. A legal hold is an admin's, and one on their own sandbox only another's
to lift or shorten: what it keeps may be evidence against them.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from portal.accounts.models import User
from portal.accounts.permissions import ROLE_PERMISSIONS, Permission, Role
from portal.approvals.queries import sandbox_for
from sandboxes.errors import InvalidInputError, RefusedError
from sandboxes.lifecycle import hibernation, holds, isolation
from sandboxes.lifecycle.locking import locked
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import LIVE, Phase

_NAMED = 3
_TO_ASK = [role for role in Role if Permission.ISOLATE_SANDBOX in ROLE_PERMISSIONS[role]]


@dataclass(frozen=True)
class Offered:
    """What this viewer may do to this sandbox as it is now."""

    hibernate: bool
    wake: bool
    isolate: bool
    release: bool
    hold: bool
    lift: bool

    @property
    def any(self) -> bool:
        """Waking aside: that is offered where it says that it sleeps."""
        return any((self.hibernate, self.isolate, self.release, self.hold, self.lift))


def offered(viewer: User, sandbox: Sandbox) -> Offered:
    held, phase = holds.held(sandbox), sandbox.phase
    theirs = _is_theirs(viewer, sandbox)
    may_isolate = viewer.may(Permission.ISOLATE_SANDBOX)
    may_hold = viewer.may(Permission.HOLD_SANDBOX)
    opened = sandbox.ready_at is not None and phase in LIVE
    return Offered(
        hibernate=theirs and phase == Phase.READY and not held,
        wake=theirs and phase == Phase.HIBERNATED,
        isolate=may_isolate and opened and phase != Phase.ISOLATED,
        release=may_isolate and phase == Phase.ISOLATED and not theirs and sandbox.owner.is_active,
        hold=may_hold and phase in LIVE,
        lift=may_hold and held and sandbox.owner_id != viewer.pk,
    )


def hibernate(sandbox_id: int, *, by: User) -> Sandbox:
    """Puts one's own sandbox to sleep. Its files are lost: who offers this must have said so."""
    sandbox = _theirs(sandbox_id, by)
    return hibernation.hibernate(sandbox.pk, by=by)


def wake(sandbox_id: int, *, by: User) -> Sandbox:
    sandbox = _theirs(sandbox_id, by)
    return hibernation.wake(sandbox.pk, by=by)


def isolate(sandbox_id: int, *, by: User, reason: str) -> Sandbox:
    """Cuts a sandbox off at once; its owner reads the reason."""
    sandbox = _with(Permission.ISOLATE_SANDBOX, sandbox_id, by)
    return isolation.isolate(sandbox.pk, by=by, reason=_reason(reason, "Say why it is isolated"))


def release(sandbox_id: int, *, by: User, reason: str) -> Sandbox:
    """Opens an isolated sandbox again, once its seal is proven anew."""
    sandbox = _with(Permission.ISOLATE_SANDBOX, sandbox_id, by)
    if sandbox.owner_id == by.pk:
        raise RefusedError("Nobody releases their own sandbox; another approver has to.")
    return isolation.release(sandbox.pk, by=by, reason=_reason(reason, "Say why it may be opened again"))


def hold(sandbox_id: int, *, by: User, until: datetime, reason: str) -> Sandbox:
    """Stops every end of a sandbox until then; on one that is held, changes date and reason."""
    _with(Permission.HOLD_SANDBOX, sandbox_id, by)
    with transaction.atomic():
        sandbox = locked(sandbox_id)
        if sandbox.hold_until and until < sandbox.hold_until:
            _refuse_own_hold(sandbox, by)
        return holds.hold(sandbox_id, until=until, reason=reason, by=by)


def lift(sandbox_id: int, *, by: User, reason: str) -> Sandbox:
    _with(Permission.HOLD_SANDBOX, sandbox_id, by)
    with transaction.atomic():
        _refuse_own_hold(locked(sandbox_id), by)
        return holds.lift(sandbox_id, by=by, reason=_reason(reason, "Say why the hold is lifted"))


def whom_to_ask(sandbox: Sandbox) -> list[User]:
    """A few people who can release it, approvers before admins; never its owner."""
    people = User.objects.filter(is_active=True, role__in=_TO_ASK).exclude(pk=sandbox.owner_id)
    return list(people.order_by("-role", "pk")[:_NAMED])


def _is_theirs(viewer: User, sandbox: Sandbox) -> bool:
    return sandbox.owner_id == viewer.pk and viewer.may(Permission.REQUEST_SANDBOX)


def _theirs(sandbox_id: int, by: User) -> Sandbox:
    sandbox = sandbox_for(by, sandbox_id)
    if not _is_theirs(by, sandbox):
        raise RefusedError("Only its owner puts a sandbox to sleep and wakes it.")
    return sandbox


def _with(permission: Permission, sandbox_id: int, by: User) -> Sandbox:
    sandbox = sandbox_for(by, sandbox_id)
    if not by.may(permission):
        raise RefusedError(f"Your role ({by.role}) does not allow this.")
    return sandbox


def _refuse_own_hold(sandbox: Sandbox, by: User) -> None:
    """RefusedError if it is held and theirs; the caller has its row locked, so that no hold comes between."""
    if sandbox.owner_id == by.pk and holds.held(sandbox):
        raise RefusedError("Nobody lifts or shortens the hold on their own sandbox; another admin has to.")


def _reason(text: str, prompt: str) -> str:
    if not text.strip():
        raise InvalidInputError(f"{prompt}: its owner and the auditors will read it.")
    return text.strip()
