"""What may be done to a sandbox from outside: open, extend, end. The rest happens in `steps`."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from django.db import transaction
from django.db.models import Case, F, When

from sandboxes.audit.services import Actor, record
from sandboxes.errors import ConflictError, InvalidInputError
from sandboxes.lifecycle import clock, hints, holds, quota
from sandboxes.lifecycle.locking import locked
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.moves import start_ending
from sandboxes.lifecycle.phases import GOING, LIVE, OVER, Phase

LONGEST: Final = timedelta(days=3653)  # ten years, whatever a profile or an approver says
TOO_LONG: Final = "A lease is for at most ten years in all."
# What is queued is looked at by `quota.admit`, not by the reconciler.
_NOW_UNLESS_QUEUED: Final = Case(When(phase=Phase.QUEUED, then=None), default=clock.Now())


def open_sandbox(
    *,
    owner: Actor,
    profile: str,
    lease: timedelta,
    data_class: str,
    tools: Sequence[str],
    by: Actor | None,
    department: str = "",
) -> Sandbox:
    """A row in the caller's transaction: `pending` if there is room, else `queued` until there is.

    A worker makes a pending one real after the commit; `quota.admit` looks after the queued ones.
    `department` is the owner's, whose quota counts too; "" for none.
    """
    with transaction.atomic():
        reserved = quota.reserve(username=owner.get_username(), department=department, profile=profile)
        queued = reserved.cluster is None
        sandbox = Sandbox.objects.create(
            phase=Phase.QUEUED if queued else Phase.PENDING,
            cluster=reserved.cluster or "",
            charged=not queued,
            cpu_millis=reserved.demand.cpu_millis,
            memory_mib=reserved.demand.memory_mib,
            gpus=reserved.demand.gpus,
            last_error=" ".join(reserved.reasons),
            owner_id=owner.pk,
            department=department,
            profile=profile,
            data_class=data_class,
            tools=list(tools),
            lease=lease,
            **({"next_check_at": None} if queued else {}),  # the reconciler has nothing to do for it yet
        )
        data = {"owner": owner.get_username(), "profile": profile, "lease_seconds": lease.total_seconds()}
        told = {"reasons": reserved.reasons} if queued else {"cluster": reserved.cluster}
        record(
            actor=by,
            action=f"sandbox.{sandbox.phase}",
            subject=f"sandbox:{sandbox.pk}",
            data={**data, **told},
        )
        if not queued:
            hints.look_at(sandbox.pk)
    return sandbox


def extend(*, sandbox_id: int, add: timedelta, by: Actor | None) -> Sandbox:
    """Lengthens a live sandbox's lease. ConflictError if it is no longer live."""
    with transaction.atomic():
        live = Sandbox.objects.filter(pk=sandbox_id, phase__in=LIVE)
        won = live.filter(lease__lte=LONGEST - add).update(
            lease=F("lease") + add,
            expires_at=F("expires_at") + add,  # null stays null: the lease has not begun
            warned_at=None,
            next_check_at=_NOW_UNLESS_QUEUED,
        )
        if not won:
            if live.exists():
                raise InvalidInputError(TOO_LONG)
            raise ConflictError("This sandbox is no longer live, so its lease cannot be extended.")
        sandbox = Sandbox.objects.get(pk=sandbox_id)
        data = {"added_seconds": add.total_seconds(), "expires_at": sandbox.expires_at}
        record(actor=by, action="sandbox.extended", subject=f"sandbox:{sandbox_id}", data=data)
        hints.look_at(sandbox_id)
    return sandbox


def end(sandbox_id: int, *, by: Actor, reason: str = "") -> Sandbox:
    """Ends a live sandbox now. Asking again changes nothing; ConflictError when it is over.

    RefusedError while a legal hold is on it, whoever asks.
    """
    with transaction.atomic():
        sandbox = locked(sandbox_id)
        if sandbox.phase in OVER:
            raise ConflictError(f"This sandbox is over already: it {sandbox.phase}.")
        if sandbox.phase not in GOING:
            holds.refuse_end(sandbox)
            start_ending(sandbox, reason=reason or f"ended by {by.get_username()}", actor=by)
    return sandbox
