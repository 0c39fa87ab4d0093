"""How hard a cluster is worked: a token bucket and a circuit breaker, both in its row and so shared by all workers.

*Bucket.* Every request costs a token. A process draws a few at a time, in one statement,
so that pacing costs one query for many requests. The balance may go below zero: who draws
then sleeps until what was drawn has been earned, so nobody asks twice and nobody is passed by.

*Breaker.* Failures in a row that are the cluster's own (no answer, overload, a fault inside)
open it for a while that doubles up to a cap; a Retry-After opens it at once. While it is open
nothing of that cluster is claimed (`claims`) and no request leaves this process. After that one
sandbox is let through; its success closes the breaker, its failure opens it for longer.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from django.db import connection

from sandboxes.errors import ClusterRefusedError, ClusterUnavailableError, PetridishError
from sandboxes.lifecycle import alarms
from sandboxes.lifecycle.hasty import HASTY, alone

HALF_OPEN_AFTER: Final = 3  # failures in a row from which on the breaker works
DOWN_AFTER: Final = 6  # failures in a row from which on people are told
_FIRST_PAUSE: Final = 5.0  # seconds
_LONGEST_PAUSE: Final = 60.0
_LONGEST_RETRY_AFTER: Final = 600.0
_DRAW_SECONDS: Final = 0.1  # how much of the cluster's rate one process takes at once
_DRAW_AT_MOST: Final = 25
_TELL_EVERY: Final = 1.0  # seconds between two notes of a process that all is well

# Said by `cluster.api` when the server itself refused for being busy or broken.
_SERVER_TROUBLE: Final = re.compile(r" refused [A-Z]+ \S+ \((?:408|425|429|5\d\d)\)")

# Of a crash of the database, only tokens are forgotten.
_DRAW = f"""
UPDATE lifecycle_registeredcluster AS c
   SET tokens = now.earned - now.batch, tokens_at = clock_timestamp()
  FROM (SELECT id, GREATEST(1, LEAST(%(most)s, burst, requests_per_second * %(draw)s))::int AS batch,
               LEAST(burst, tokens + requests_per_second
                     * GREATEST(0, EXTRACT(EPOCH FROM clock_timestamp() - tokens_at))) AS earned
          FROM lifecycle_registeredcluster WHERE name = %(name)s FOR UPDATE) AS now
 WHERE c.id = now.id
RETURNING now.batch, GREATEST(0, -c.tokens / GREATEST(c.requests_per_second, 0.001)),
          GREATEST(0, EXTRACT(EPOCH FROM c.open_until - clock_timestamp()))::float, {HASTY}
"""  # noqa: S608 -- a constant

# Eight requests that a stalled cluster failed together are one failure: once open, it counts no further.
# A pause lasts from now on; a Retry-After never shortens one.
_FAILED = """
UPDATE lifecycle_registeredcluster AS c
   SET failures = now.failures, last_error = %(error)s,
       open_until = GREATEST(c.open_until, clock_timestamp() + make_interval(secs => GREATEST(%(retry)s,
           CASE WHEN now.failures >= %(threshold)s AND now.closed
                THEN LEAST(%(cap)s, %(first)s * 2 ^ LEAST(now.failures - %(threshold)s, 10)) ELSE 0 END)))
  FROM (SELECT id, closed, failures + closed::int AS failures
          FROM (SELECT id, failures, COALESCE(open_until <= clock_timestamp(), true) AS closed
                  FROM lifecycle_registeredcluster WHERE name = %(name)s FOR UPDATE) AS seen) AS now
 WHERE c.id = now.id
RETURNING c.failures
"""

_SUCCEEDED = """
UPDATE lifecycle_registeredcluster AS c
   SET failures = 0, last_ok_at = clock_timestamp(), last_error = '',
       open_until = CASE WHEN c.failures > 0 THEN NULL ELSE c.open_until END
  FROM (SELECT id, failures FROM lifecycle_registeredcluster WHERE name = %(name)s FOR UPDATE) AS before
 WHERE c.id = before.id
RETURNING before.failures
"""


class _Pacer:
    """One process's share of a cluster's bucket; called before every request, by any thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._left = 0
        self._drawn_at = 0.0

    def __call__(self) -> None:
        _here.asked = getattr(_here, "asked", 0) + 1
        with self._lock:  # whoever waits here would have to sleep for the same tokens
            # Tokens kept for long would be a burst on top of the burst.
            if self._left == 0 or time.monotonic() - self._drawn_at > 1.0:
                self._draw()
            self._left = max(0, self._left - 1)

    def _draw(self) -> None:
        drawn = _one(_DRAW, name=self._name, most=_DRAW_AT_MOST, draw=_DRAW_SECONDS, alone=alone())
        if drawn is None:  # registered nowhere, so nobody said how fast: `clusters.get` connects to none such
            return
        batch, sleep, closed, _ = drawn
        if closed:
            text = f"Cluster {self._name} did not work lately and is left alone for {closed:.0f} s more."
            raise ClusterUnavailableError(text, retry_after=closed)
        time.sleep(sleep)
        self._left, self._drawn_at = batch, time.monotonic()


_here = threading.local()
_pacers: dict[str, _Pacer] = {}
_told: dict[
    str, float
] = {}  # when this process last noted that a cluster is well; as many as there are clusters


def pacer(name: str) -> Callable[[], None]:
    """What the driver of this cluster calls before every request: sleeps, or raises ClusterUnavailableError."""
    return _pacers.setdefault(name, _Pacer(name))


@contextmanager
def watching(name: str) -> Iterator[None]:
    """Around work with this cluster: what the work learnt about the cluster goes into its breaker.

    Work that asked the cluster nothing tells nothing about it. One request that fails after
    others were answered is a failure, but not one more in a row: a cluster that fails one
    request in twenty fails most steps, and works; its sandboxes back off one by one.
    """
    _here.asked = 0
    try:
        yield
    except ClusterUnavailableError as error:
        if _here.asked > 1 and is_its_own(error):
            succeeded(name)
        if _here.asked:
            failed(name, error)
        raise
    except ClusterRefusedError:
        if _here.asked:
            succeeded(name)  # it answers; that it refuses is about the request
        raise
    if _here.asked:
        succeeded(name)


def passed_over() -> None:
    """The work goes on after an error: what was asked up to here is no sign that the cluster works."""
    _here.asked = 0


def succeeded(name: str) -> None:
    """The cluster answered: the breaker closes, and the alarm about it ends."""
    if time.monotonic() - _told.get(name, -_TELL_EVERY) < _TELL_EVERY:
        return
    row = _one(_SUCCEEDED, name=name)
    _told[name] = time.monotonic()
    if row is not None and row[0] >= HALF_OPEN_AFTER:
        alarms.clear("cluster_down", f"cluster:{name}", by=None)


def failed(name: str, error: PetridishError) -> None:
    """Counts a failure that is the cluster's own; others (a namespace still going away) are no sign of anything."""
    if not is_its_own(error):
        return
    _told.pop(name, None)
    row = _one(
        _FAILED,
        name=name,
        error=str(error)[:2000],
        retry=min(getattr(error, "retry_after", None) or 0.0, _LONGEST_RETRY_AFTER),
        threshold=HALF_OPEN_AFTER,
        first=_FIRST_PAUSE,
        cap=_LONGEST_PAUSE,
    )
    if row is not None and row[0] >= DOWN_AFTER:
        message = f"Cluster {name} does not work; its sandboxes wait. {error}"
        alarms.alarm("cluster_down", f"cluster:{name}", message)


def forget() -> None:
    """Drops what this process keeps: for tests, which begin again with other rows."""
    _pacers.clear()
    _told.clear()


def is_its_own(error: PetridishError) -> bool:
    """Whether the error says something about the cluster, and not only about one request.

    The driver names a time for what passes by itself (a namespace that is Terminating, a
    lost optimistic lock), and the server may name one when it is busy: its words tell them apart.
    """
    if not isinstance(error, ClusterUnavailableError):
        return False
    return error.retry_after is None or bool(_SERVER_TROUBLE.search(str(error)))


def _one(statement: str, **values: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchone()
