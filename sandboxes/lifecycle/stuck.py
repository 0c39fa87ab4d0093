"""A teardown that has to wait, and one that waits too long.

The cluster may take its time; a finalizer that nobody serves, or a node that does not
answer, takes for ever. Whatever a teardown waits for is noted with the moment it began
to wait for just that. Past `STUCK_AFTER` the sandbox moves to `stuck`: the page and an
alarm name what holds it, its quota stays charged, and it is tried again, ever less
often. Nothing is forced: a finalizer is somebody's promise to clean up something that
we do not know. When what held it lets go, it moves on by itself and the alarm is cleared.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings

from sandboxes.errors import PermanentError
from sandboxes.lifecycle import alarms, clock, notes
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.moves import move
from sandboxes.lifecycle.phases import Phase

if TYPE_CHECKING:  # the web process reads receipts, and must not load the Kubernetes client for it
    from sandboxes.cluster.driver import Cluster

ALARM: Final = "stuck"
_SOON: Final = timedelta(milliseconds=400)
_LATER: Final = timedelta(seconds=5)
_TELL_AFTER: Final = timedelta(minutes=1)  # a wait that is longer is explained on the page
_PAUSE: Final = timedelta(seconds=30)
_AT_LEAST: Final = timedelta(seconds=1)
_AT_MOST: Final = timedelta(minutes=5)


def wait(sandbox: Sandbox, cluster: "Cluster", what: str) -> timedelta | None:
    """How long until the next look at something that is on its way out; None when the phase moved."""

    def blocker() -> str:
        found = cluster.blockers(sandbox.namespace or "")
        return (
            "; ".join(found).replace("\0", "") or f"Nothing in the cluster says what it waits for ({what})."
        )

    now = clock.now()
    waited = now - _since(sandbox, what, now)
    if waited > settings.STUCK_AFTER:
        return _stay(sandbox, blocker(), now)
    if sandbox.phase == Phase.STUCK:
        _go_on(sandbox, now)
        return None
    if waited > _TELL_AFTER and not sandbox.blocker:
        _tell(sandbox, blocker)
    return min(max(_SOON, waited / 10), _LATER)


def refused(sandbox: Sandbox, error: PermanentError) -> timedelta | None:
    """What the cluster, or we ourselves, refuse to do: raised again until it has lasted too long."""
    now = clock.now()
    waited = now - _since(sandbox, "refused", now)
    if waited <= settings.STUCK_AFTER and sandbox.phase != Phase.STUCK:
        raise error
    return _stay(sandbox, str(error).replace("\0", ""), now)


def pause(sandbox: Sandbox, why: str) -> timedelta:
    """It may not go on for now. That is nobody's trouble, so the time does not count."""
    if sandbox.phase == Phase.STUCK:
        _tell(sandbox, lambda: why)
        return _PAUSE
    _since(sandbox, "allowed", clock.now())
    _tell(sandbox, lambda: why)
    return _PAUSE


def periods(sandbox: Sandbox, now: datetime) -> list[dict[str, Any]]:
    """When it was stuck and on what, the period that ends now included."""
    before: list[dict[str, Any]] = sandbox.teardown.get("stuck", [])
    if sandbox.phase != Phase.STUCK:
        return before
    began = sandbox.stuck_since or now
    period = {
        "since": notes.text(began),
        "until": notes.text(now),
        "seconds": int((now - began).total_seconds()),
        "blocker": sandbox.blocker,
    }
    return [*before, period]


def _stay(sandbox: Sandbox, blocker: str, now: datetime) -> timedelta | None:
    """Stuck: said once in the ledger, on the page and in the alarm as it stands now."""
    if sandbox.phase != Phase.STUCK:
        if not move(sandbox, Phase.STUCK, data={"blocker": blocker}, stuck_since=now, blocker=blocker):
            return None
    else:
        _tell(sandbox, lambda: blocker)
    alarms.alarm(ALARM, _subject(sandbox), f"{sandbox.name} does not go: {blocker}")
    stuck_for = now - (sandbox.stuck_since or now)
    return min(max(_AT_LEAST, stuck_for / 2), _AT_MOST)


def _go_on(sandbox: Sandbox, now: datetime) -> None:
    """What it was stuck on is over, and the next wait has just begun."""
    alarms.clear(ALARM, _subject(sandbox), by=None)
    held = periods(sandbox, now)
    data = {"stuck_seconds": held[-1]["seconds"], "blocker": held[-1]["blocker"]}
    kept = {**sandbox.teardown, "stuck": held}
    move(sandbox, Phase.ENDING, data=data, teardown=kept, stuck_since=None, blocker="")


def _since(sandbox: Sandbox, what: str, now: datetime) -> datetime:
    """Since when it waits for just this; waiting for something new begins anew."""
    waiting = sandbox.teardown.get("waiting", {})
    if waiting.get("for") == what:
        return datetime.fromisoformat(waiting["since"])
    notes.put(sandbox, waiting={"for": what, "since": notes.text(now)})
    if sandbox.phase != Phase.STUCK:
        _tell(sandbox, lambda: "")
    return now


def _tell(sandbox: Sandbox, blocker: Callable[[], str]) -> None:
    said = blocker()
    if said != sandbox.blocker:
        Sandbox.objects.filter(pk=sandbox.pk, phase=sandbox.phase).update(blocker=said)
        sandbox.blocker = said


def _subject(sandbox: Sandbox) -> str:
    return f"sandbox:{sandbox.pk}"
