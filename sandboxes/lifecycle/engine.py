"""The reconciler: finds rows that are due, and moves each as far as it will go.

One worker at a time works on a sandbox: it holds a PostgreSQL advisory lock of
the session, which the database gives back the moment the worker dies, so nothing
waits for a lease to run out after a `kill -9`. A failing row is pushed forward
with its error and never blocks the others.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.db import connection
from django.db.models import F
from django.utils import timezone

from sandboxes.errors import PermanentError, PetridishError, TemporaryError
from sandboxes.lifecycle import steps
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import Phase
from sandboxes.lifecycle.timing import backoff

logger = logging.getLogger(__name__)
_LOCK_SPACE = 0x5062  # keeps our advisory locks apart from others on the same database
_STAY_AT_MOST = 20.0  # seconds a worker keeps at one sandbox before it lets others have a turn
_WAIT_INLINE = timedelta(seconds=1)


def due(limit: int = 100) -> list[int]:
    """Sandboxes whose time to be looked at has come, longest overdue first."""
    rows = Sandbox.objects.filter(next_check_at__lte=timezone.now()).order_by("next_check_at")
    return list(rows.values_list("pk", flat=True)[:limit])


def reconcile(sandbox_id: int) -> None:
    """Works on one sandbox until it has to wait; does nothing if another worker is at it."""
    with _alone(sandbox_id) as got:
        if got:
            _work(sandbox_id)


def _work(sandbox_id: int) -> None:
    until = time.monotonic() + _STAY_AT_MOST
    while True:
        sandbox = Sandbox.objects.select_related("owner").filter(pk=sandbox_id).first()
        if sandbox is None or sandbox.next_check_at is None:
            return
        phase = sandbox.phase
        wait = _until_expiry(sandbox, _step(sandbox))
        _look_again(sandbox_id, phase, wait)
        if wait > _WAIT_INLINE or time.monotonic() > until:
            return
        time.sleep(wait.total_seconds())


def _until_expiry(sandbox: Sandbox, wait: timedelta) -> timedelta:
    """However long a cluster asks us to stay away, a lease is ended on time: that needs no cluster."""
    if sandbox.phase != Phase.READY or sandbox.expires_at is None:
        return wait
    return min(wait, max(sandbox.expires_at - timezone.now(), timedelta(seconds=1)))


def _step(sandbox: Sandbox) -> timedelta:
    """Takes one step and says how long to wait; every failure becomes a wait, with its error in the row."""
    try:
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


def _look_again(sandbox_id: int, phase: str, wait: timedelta) -> None:
    """Sets when to look next, unless the phase moved meanwhile: then that move has set it, to now."""
    rows = Sandbox.objects.filter(pk=sandbox_id, phase=phase, next_check_at__isnull=False)
    rows.update(next_check_at=timezone.now() + wait)


@contextmanager
def _alone(sandbox_id: int) -> Iterator[bool]:
    """Whether this session now holds the sandbox's lock; given back on leaving, or by dying."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [_LOCK_SPACE, sandbox_id])
        got = bool(cursor.fetchone()[0])
    try:
        yield got
    finally:
        if got:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [_LOCK_SPACE, sandbox_id])
