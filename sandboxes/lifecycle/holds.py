"""Legal hold: an admin stops every end of a sandbox, for a reason and until a date.

While it lasts, neither the lease nor a person ends the sandbox, and it is not put to sleep,
which would lose its files. It may be isolated, and an isolation deletes nothing. Afterwards
the lease's end counts again: if that is past, the sandbox ends then. A sandbox whose
teardown has begun cannot be held any more: it may be half gone. One that fails before it
ever opened goes all the same, because it holds nothing of anybody's.
"""

from datetime import datetime, timedelta
from typing import Final

from django.db import transaction

from sandboxes.audit.services import Actor, record
from sandboxes.errors import ConflictError, InvalidInputError, RefusedError
from sandboxes.lifecycle import clock, hints
from sandboxes.lifecycle.locking import locked
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import GOING, OVER, Phase

LONGEST: Final = timedelta(days=3653)  # ten years; a date beyond the year 9999 is stored and never read again


def hold(sandbox_id: int, *, until: datetime, reason: str, by: Actor) -> Sandbox:
    """Holds a live sandbox, or changes its hold; `until` must be in the future, and within ten years."""
    if not reason.strip():
        raise InvalidInputError("Say why it is held: its owner and the auditors will read it.")
    with transaction.atomic():
        sandbox = locked(sandbox_id)
        _check_date(until)
        _must_be_live(sandbox)
        before = sandbox.hold_until if held(sandbox) else None
        sandbox.hold_until, sandbox.hold_reason, sandbox.hold_by_id = until, reason.strip(), by.pk
        _save(sandbox)
        data = {"until": until, "reason": sandbox.hold_reason, **({"before": before} if before else {})}
        action = "sandbox.hold_changed" if before else "sandbox.held"
        record(actor=by, action=action, subject=f"sandbox:{sandbox.pk}", data=data)
    return sandbox


def lift(sandbox_id: int, *, by: Actor, reason: str) -> Sandbox:
    """Ends the hold now. Lifting one that is not there changes nothing."""
    with transaction.atomic():
        sandbox = locked(sandbox_id)
        if not held(sandbox):
            return sandbox
        data = {"until": sandbox.hold_until, "reason": reason.strip(), "held_for": sandbox.hold_reason}
        sandbox.hold_until, sandbox.hold_reason, sandbox.hold_by_id = None, "", None
        _save(sandbox)
        record(actor=by, action="sandbox.hold_lifted", subject=f"sandbox:{sandbox.pk}", data=data)
    return sandbox


def held(sandbox: Sandbox) -> bool:
    """Whether a hold is on it now, by the database's clock."""
    return sandbox.hold_until is not None and sandbox.hold_until > clock.now()


def sentence(sandbox: Sandbox) -> str:
    """Until when, by whom and why: for whoever is refused something because of it."""
    until = f"{sandbox.hold_until:%Y-%m-%d %H:%M} UTC"
    by = sandbox.hold_by.get_username() if sandbox.hold_by else "an admin"
    return f"It is under a legal hold until {until}, by {by}: {sandbox.hold_reason.rstrip('.')}."


def refuse_end(sandbox: Sandbox) -> None:
    """RefusedError if the sandbox, whose row the caller has locked, must not end now."""
    if held(sandbox):
        raise RefusedError(f"{sentence(sandbox)} It does not end before that.")


def _check_date(until: datetime) -> None:
    now = clock.now()
    if until <= now:
        raise InvalidInputError("A hold needs an end in the future; to end one now, lift it.")
    if until > now + LONGEST:
        raise InvalidInputError("A hold is for at most ten years; it can be lengthened later.")


def _must_be_live(sandbox: Sandbox) -> None:
    if sandbox.phase in GOING:
        raise ConflictError("Its teardown has begun and cannot be stopped: what is deleted cannot be held.")
    if sandbox.phase in OVER:
        raise ConflictError("This sandbox is over: there is nothing left to hold.")


def _save(sandbox: Sandbox) -> None:
    sandbox.save(update_fields=["hold_until", "hold_reason", "hold_by"])
    due = Sandbox.objects.filter(pk=sandbox.pk).exclude(phase=Phase.QUEUED)
    if due.update(next_check_at=clock.Now()):
        hints.look_at(sandbox.pk)
