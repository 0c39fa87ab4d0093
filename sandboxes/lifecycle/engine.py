"""The reconciler: finds rows that are due, and moves each as far as it will go.

A row belongs to one worker at a time (`claims`); the work is a loop of steps, each of which
looks at the present and says when to look again. A failing row is pushed forward with its
error and never blocks the others; what a failure says about the cluster goes into its
circuit breaker (`limits`). `sweep` and `reconcile` work in the caller's thread, as tests and
commands want it; a worker process has a `crew`.
"""

import logging
import time
from datetime import timedelta
from typing import Final

from django.db.models import F

from sandboxes.errors import PermanentError, PetridishError, TemporaryError
from sandboxes.lifecycle import claims, clock, expiry, late, limits, restore, steps, switch
from sandboxes.lifecycle.claims import Claim
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.timing import backoff

logger = logging.getLogger(__name__)
_STAY_AT_MOST: Final = 5.0  # seconds a worker keeps at one sandbox before it lets others have a turn
_LET_GO_FROM: Final = timedelta(seconds=1)  # a shorter wait is waited out


def due(limit: int = 100) -> list[int]:
    """Sandboxes whose time to be looked at has come, longest overdue first."""
    rows = Sandbox.objects.filter(next_check_at__lte=clock.Now()).order_by("next_check_at")
    return list(rows.values_list("pk", flat=True)[:limit])


def sweep() -> int:
    """Ends leases that are over, and works once on everything that is due; how many sandboxes it worked on."""
    late.check()
    if switch.paused():
        return 0
    restore.check()  # before anything else: an old row of a restored database may ask for a deletion
    expiry.run()
    worked: list[int] = []
    while found := claims.take(1, but=worked):
        worked.append(found[0].sandbox_id)
        work(found[0])
    return len(worked)


def reconcile(sandbox_id: int) -> None:
    """Works on one sandbox until it has to wait; nothing if another worker is at it or it may not be worked on."""
    claim = claims.take_one(sandbox_id)
    if claim is not None:
        work(claim)


def work(claim: Claim) -> None:
    """Works on a claimed sandbox until it has to wait or had its turn, and lets go of it."""
    try:
        _work(claim)
    finally:
        claims.forget(claim)  # cut off without a word, its lease runs out


def _work(claim: Claim) -> None:
    until = time.monotonic() + _STAY_AT_MOST
    while claims.holds(claim):
        sandbox = Sandbox.objects.select_related("owner").get(pk=claim.sandbox_id)
        phase, seen = sandbox.phase, sandbox.next_check_at
        wait = timedelta() if seen is None else _step(sandbox)
        if seen is None or wait >= _LET_GO_FROM or time.monotonic() > until:
            claims.let_go(claim, phase=phase, seen=seen, wait=wait)
            return
        time.sleep(wait.total_seconds())
    claims.let_go(claim, phase="", seen=None, wait=timedelta())


def _step(sandbox: Sandbox) -> timedelta:
    """Takes one step and says how long to wait; every failure becomes a wait, with its error in the row."""
    try:
        if expiry.end(sandbox):
            return timedelta()
        with limits.watching(sandbox.cluster):
            wait = steps.take(sandbox)
    except TemporaryError as error:
        return _trouble(sandbox, error, backoff(sandbox.attempts + 1, error.retry_after))
    except PermanentError as error:
        if steps.fail(sandbox, error):
            return timedelta()
        return _trouble(sandbox, error, backoff(sandbox.attempts + 1))
    except Exception as error:
        # A mistake of ours: the row must not spin, and the person must not wait without a word.
        logger.exception("Sandbox %s: a step failed unexpectedly", sandbox.pk)
        return _trouble(sandbox, PetridishError(f"Internal error: {error!r}"), backoff(sandbox.attempts + 1))
    if wait is not None and sandbox.attempts:
        Sandbox.objects.filter(pk=sandbox.pk, phase=sandbox.phase).update(attempts=0, last_error="")
    return wait if wait is not None else timedelta()


def _trouble(sandbox: Sandbox, error: PetridishError, wait: timedelta) -> timedelta:
    logger.warning("Sandbox %s (%s): %s", sandbox.pk, sandbox.phase, error)
    Sandbox.objects.filter(pk=sandbox.pk, phase=sandbox.phase).update(
        attempts=F("attempts") + 1, last_error=str(error)
    )
    return wait
