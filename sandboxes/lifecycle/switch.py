"""The switches of the engine: pause everything; stop what destroys.

Deleting is the dangerous operation, so whoever deletes asks here first, each time:
`may_delete()`, and `check_delete(namespace, uid)` right before a call that destroys a
namespace or what runs in it. Deletions stop by themselves

- when more than a set share of the sandboxes were ended within an hour with time left on
  their lease and without anybody having asked for it (`Sandbox.early_end_at`): that is what
  a wrong kubeconfig, a broken observation or a mistake of ours looks like. Leases that are
  over, ends that a person asked for, and provisions that failed do not count;
- when a namespace is about to be deleted that no row, with its UID, gives up.

They go on when an admin says so, who has then seen everything that was ended up to that
moment. Until then access and tokens are revoked as ever, which destroys nothing; what is
not deleted waits and stays charged.
"""

from datetime import timedelta
from typing import Any, Final

from django.db import connection, transaction

from sandboxes.audit.services import Actor, record
from sandboxes.errors import ConflictError, InvalidInputError, RefusedError, TemporaryError
from sandboxes.lifecycle import clock
from sandboxes.lifecycle.alarms import alarm, clear
from sandboxes.lifecycle.models import EngineState, Orphan, Sandbox
from sandboxes.lifecycle.phases import GOING, LIVE

WINDOW: Final = timedelta(hours=1)
_SUBJECT: Final = "engine"
_ALARM: Final = "deletions_stopped"

# The share is looked at only once there are enough of them: at most times the first number is 0.
_EARLY = """
SELECT count(*) FROM lifecycle_sandbox
 WHERE early_end_at > GREATEST(%(confirmed)s::timestamptz, clock_timestamp() - %(window)s)
"""


def state() -> EngineState:
    """The one row; made by whoever asks first."""
    return EngineState.objects.get_or_create(pk=1)[0]


def paused() -> bool:
    return EngineState.objects.filter(pk=1, paused=True).exists()


def pause(by: Actor, reason: str) -> None:
    """Nothing is claimed and nothing is deleted any more; a step under way is finished. Twice is once."""
    _needs(reason)
    state()
    with transaction.atomic():
        changed = EngineState.objects.filter(pk=1, paused=False).update(
            paused=True, paused_reason=reason, paused_by_id=by.pk, paused_at=clock.Now()
        )
        if changed:
            record(actor=by, action="engine.paused", subject=_SUBJECT, data={"reason": reason})


def resume(by: Actor) -> None:
    with transaction.atomic():
        changed = EngineState.objects.filter(pk=1, paused=True).update(
            paused=False, paused_reason="", paused_by_id=None, paused_at=None
        )
        if changed:
            record(actor=by, action="engine.resumed", subject=_SUBJECT)


def stop_deletions(reason: str) -> None:
    """Nothing is destroyed until an admin allows it again. Stopping what is stopped changes nothing."""
    state()
    with transaction.atomic():
        changed = EngineState.objects.filter(pk=1, deletions_stopped=False).update(
            deletions_stopped=True, deletions_reason=reason, deletions_stopped_at=clock.Now()
        )
        if changed:
            alarm(_ALARM, _SUBJECT, reason)
            record(actor=None, action="engine.deletions_stopped", subject=_SUBJECT, data={"reason": reason})


def allow_deletions(by: Actor, reason: str) -> None:
    """An admin has looked at what was ended so far; that, and what its lease ends, may be deleted."""
    _needs(reason)
    with transaction.atomic():
        before = EngineState.objects.select_for_update().filter(pk=1, deletions_stopped=True).first()
        if before is None:
            raise ConflictError("Deletions are not stopped.")
        EngineState.objects.filter(pk=1).update(
            deletions_stopped=False, deletions_reason="", deletions_stopped_at=None, confirmed_at=clock.Now()
        )
        clear(_ALARM, _SUBJECT, by=by)
        data = {"reason": reason, "stopped_because": before.deletions_reason}
        record(actor=by, action="engine.deletions_allowed", subject=_SUBJECT, data=data)


def may_delete() -> bool:
    """Whether anything may be destroyed at this moment; opens the breaker if that is due."""
    now = EngineState.objects.filter(pk=1).first() or EngineState()
    if now.paused or now.deletions_stopped:
        return False
    reason = _too_many(now)
    if reason:
        stop_deletions(reason)
    return not reason


def check_delete(namespace: str, uid: str) -> None:
    """Right before anything in that namespace, or it, is destroyed.

    TemporaryError while deletions are stopped. RefusedError, and deletions stop, if
    neither a sandbox on its way out nor an orphan past its grace is exactly this one.
    """
    if not may_delete():
        raise TemporaryError(
            "Deletions are stopped until an admin allows them; nothing is deleted.", retry_after=30
        )
    going = Sandbox.objects.filter(namespace=namespace, namespace_uid=uid, phase__in=GOING)
    if uid and (going.exists() or _orphans(namespace, uid)):
        return
    told = f"Namespace {namespace} (UID {uid or 'unknown'}) was about to be deleted, and no row gives it up."
    stop_deletions(told)
    raise RefusedError(told)


def _orphans(namespace: str, uid: str) -> bool:
    over = Orphan.objects.filter(name=namespace, uid=uid, kept_by=None, delete_after__lte=clock.Now())
    return over.exists()


def _too_many(now: EngineState) -> str:
    early = _count(_EARLY, confirmed=now.confirmed_at, window=WINDOW)
    if early < now.breaker_floor:
        return ""
    live = Sandbox.objects.filter(phase__in=LIVE).count()
    if early <= now.breaker_share * (live + early):
        return ""
    return (
        f"{early} of {live + early} sandboxes were ended within the hour before their lease was over, "
        "and nobody had asked for it. Look at why before they are deleted."
    )


def _count(statement: str, **values: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        number: int = cursor.fetchone()[0]
    return number


def _needs(reason: str) -> None:
    if not reason.strip():
        raise InvalidInputError("Say why: everybody will read it.")
