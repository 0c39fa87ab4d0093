"""The step log: what was done for a sandbox, when, how long it took, and what went wrong.

A step that has to wait, or fails and is tried again, counts on in its open row, so
that a long wait is one line of the timeline and not a thousand. It is evidence for
people, not state: nothing is decided from it, and a row lost with a killed worker
costs a line and no more.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from sandboxes.lifecycle.hasty import HASTY, alone
from sandboxes.lifecycle.models import Sandbox

# Not ON CONFLICT: a try that ends the step would be no conflict with the row that is still open.
_WRITE = f"""
WITH open AS (
  UPDATE lifecycle_step SET
    tries = tries + 1,
    worked_ms = worked_ms + %(ms)s,
    error = CASE WHEN %(done)s OR %(error)s <> '' THEN %(error)s ELSE error END,
    ended_at = CASE WHEN %(done)s THEN clock_timestamp() END
  WHERE sandbox_id = %(sandbox)s AND name = %(name)s AND ended_at IS NULL
  RETURNING id, {HASTY}
)
INSERT INTO lifecycle_step (sandbox_id, name, started_at, ended_at, tries, worked_ms, error)
SELECT %(sandbox)s, %(name)s, clock_timestamp() - make_interval(secs => %(seconds)s),
       CASE WHEN %(done)s THEN clock_timestamp() END, 1, %(ms)s, %(error)s
WHERE NOT EXISTS (SELECT FROM open)
RETURNING {HASTY}
"""  # noqa: S608 -- a constant


class Attempt:
    """One try at a step; `wait()` says that it is not done yet."""

    def __init__(self) -> None:
        self.done = True

    def wait(self) -> None:
        self.done = False


@contextmanager
def step(sandbox: Sandbox, name: str) -> Iterator[Attempt]:
    """Writes this try down: done when the block ends, unless it waits; an error leaves it open, and goes on up."""
    attempt, begin, error = Attempt(), time.monotonic(), ""
    try:
        yield attempt
    except Exception as trouble:
        attempt.wait()
        error = str(trouble)
        raise
    finally:
        _write(sandbox.pk, name, time.monotonic() - begin, attempt.done, error)


def _write(sandbox_id: int, name: str, seconds: float, done: bool, error: str) -> None:
    values: dict[str, bool | int | float | str] = {
        "sandbox": sandbox_id,
        "name": name,
        "seconds": seconds,
        "ms": round(seconds * 1000),
        "done": done,
        "error": error,
        "alone": alone(),
    }
    with connection.cursor() as cursor:
        cursor.execute(_WRITE, values)
