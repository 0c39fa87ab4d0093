"""Who works on which row: leases, and how the death of a worker gives them back at once.

A claim is one statement: it picks rows that are due, passes by those that others are just
taking (SKIP LOCKED), and writes down who has them and until when by the database's clock.
One worker per row is what everything else relies on.

A worker process holds a session-level advisory lock on its own number, on a connection that
nobody else uses, for as long as it lives. PostgreSQL gives that lock back the moment the
connection breaks, so a lease counts only while its holder's lock is there to be seen in
`pg_locks`: after a `kill -9` nothing waits for a lease to run out. A lease runs out all the
same, for the worker whose machine vanished without a word; the living renew theirs.

How many sandboxes of one cluster are worked on at once is counted here too, and a cluster
whose breaker is open (`limits`) is passed by. Claims take turns (one advisory lock for the
statement's transaction), so that the count holds.
"""

import logging
import os
import secrets
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import psycopg
from django.db import connection, transaction

from sandboxes.lifecycle import limits

logger = logging.getLogger(__name__)

HOLDERS: Final = 0x5063  # keeps our advisory locks apart from others on the same database
_TURNS: Final = 0x5064
LEASE_SECONDS: Final = 30
RENEW_SECONDS: Final = 5.0
_ANY_NUMBER: Final = 1_000_000

_ALIVE = """
SELECT objid::bigint FROM pg_locks
 WHERE locktype = 'advisory' AND classid = %(holders)s AND objsubid = 2 AND granted
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""

# `named`: every cluster that has rows at all, by one step through the index each.
# `room`: how many more of its sandboxes may be worked on. A cluster known to nobody has its
# rows worked on like any other: their steps say what is wrong. The statement's clock, not
# `clock_timestamp()`: only what cannot change while the statement runs is looked up in an index.
_TAKE = """
WITH RECURSIVE alive AS MATERIALIZED ({alive}),
named(name) AS (
  (SELECT cluster FROM lifecycle_sandbox WHERE next_check_at IS NOT NULL ORDER BY cluster LIMIT 1)
  UNION ALL
  SELECT (SELECT cluster FROM lifecycle_sandbox
           WHERE next_check_at IS NOT NULL AND cluster > named.name ORDER BY cluster LIMIT 1)
    FROM named WHERE named.name IS NOT NULL
),
busy AS (
  SELECT cluster, count(*) AS n FROM lifecycle_sandbox
   WHERE leased_by IS NOT NULL AND leased_until > statement_timestamp() AND leased_by IN (SELECT * FROM alive)
   GROUP BY cluster
),
room AS (
  SELECT named.name, COALESCE(busy.n, 0) AS n,
         LEAST(%(lane)s, %(limit)s + COALESCE(busy.n, 0),
               CASE WHEN c.open_until > statement_timestamp() THEN 0
                    WHEN c.failures >= %(half_open)s THEN 1
                    ELSE COALESCE(c.concurrency, %(lane)s) END) AS most
    FROM named LEFT JOIN busy ON busy.cluster = named.name
    LEFT JOIN lifecycle_registeredcluster AS c ON c.name = named.name
   WHERE named.name IS NOT NULL
),
picked AS (
  SELECT found.id FROM room CROSS JOIN LATERAL (
    SELECT s.id, s.next_check_at FROM lifecycle_sandbox AS s
     WHERE s.cluster = room.name AND s.next_check_at IS NOT NULL
       AND {which} AND (s.leased_by IS NULL OR s.leased_until <= statement_timestamp()
            OR s.leased_by NOT IN (SELECT * FROM alive))
     ORDER BY s.next_check_at LIMIT GREATEST(0, room.most - room.n) FOR UPDATE SKIP LOCKED
  ) AS found ORDER BY found.next_check_at LIMIT %(limit)s
)
UPDATE lifecycle_sandbox AS s
   SET leased_by = %(me)s, leased_until = clock_timestamp() + make_interval(secs => %(seconds)s)
  FROM picked
 WHERE s.id = picked.id AND NOT EXISTS (SELECT 1 FROM lifecycle_enginestate WHERE id = 1 AND paused)
RETURNING s.id
"""
_TAKE_DUE = _TAKE.format(
    alive=_ALIVE, which="s.next_check_at <= statement_timestamp() AND s.id <> ALL(%(but)s::bigint[])"
)
_TAKE_ONE = _TAKE.format(alive=_ALIVE, which="s.id = %(only)s")

# Whether the row is still ours: nobody has paused the engine, taken the row over, or may do so.
_HOLDS = f"""
SELECT 1 FROM lifecycle_sandbox
 WHERE id = %(id)s AND leased_by = %(me)s AND %(me)s IN ({_ALIVE})
   AND NOT EXISTS (SELECT 1 FROM lifecycle_enginestate WHERE id = 1 AND paused)
"""  # noqa: S608 -- constants

# Whoever else set the row's next look meanwhile (a move, an extension, an observation) means it.
_LET_GO = """
UPDATE lifecycle_sandbox
   SET leased_by = NULL, leased_until = NULL,
       next_check_at = CASE WHEN phase = %(phase)s AND next_check_at = %(seen)s
                            THEN clock_timestamp() + %(wait)s ELSE next_check_at END
 WHERE id = %(id)s AND leased_by = %(me)s
"""

_RENEW = """
UPDATE lifecycle_sandbox SET leased_until = clock_timestamp() + make_interval(secs => %(seconds)s)
 WHERE id IN (SELECT id FROM lifecycle_sandbox WHERE id = ANY(%(ids)s) AND leased_by = %(me)s
                 FOR UPDATE SKIP LOCKED)
"""


@dataclass(frozen=True)
class Claim:
    """A row that this process, and nobody else, works on until it lets go."""

    sandbox_id: int
    holder: int


class Holder:
    """This process as others see it: a number, and a lock on it that ends with the process."""

    def __init__(self) -> None:
        parameters = connection.get_connection_params()
        self.connection = psycopg.connect(**parameters, autocommit=True)
        self.number = self._lock_a_number()
        self.working: set[int] = set()  # sandboxes whose leases are renewed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="leases", daemon=True)
        self._thread.start()

    def is_alive(self) -> bool:
        return self._thread.is_alive() and not self.connection.closed

    def leave(self) -> None:
        """As dying would: the lock goes, and with it every lease."""
        self._stop.set()
        self._thread.join()
        self.connection.close()

    def _lock_a_number(self) -> int:
        """Drawn at random: one that a dead worker had would make its leases count again."""
        while True:
            number = secrets.randbelow(2**31 - 1) + 1
            got = self.connection.execute("SELECT pg_try_advisory_lock(%s, %s)", [HOLDERS, number])
            if got.fetchone() == (True,):
                return number

    def _renew(self) -> None:
        """Ends when the connection does: others may then have what this process has. `Claim`s notice."""
        while not self._stop.wait(RENEW_SECONDS):
            values = {"ids": list(self.working), "me": self.number, "seconds": LEASE_SECONDS}
            try:
                self.connection.execute(_RENEW, values)
            except psycopg.Error:
                logger.warning("The worker's own connection broke; it begins again.", exc_info=True)
                self.connection.close()
                return


_mine: tuple[int, Holder] | None = None  # with the process it belongs to: a fork inherits no claim
_mine_lock = threading.Lock()


def holder() -> Holder:
    """This process's holder; a new one if the last one's connection broke."""
    global _mine  # noqa: PLW0603 -- one for each process is the point
    with _mine_lock:
        if _mine is None or _mine[0] != os.getpid() or not _mine[1].is_alive():
            _mine = os.getpid(), Holder()
        return _mine[1]


def leave() -> None:
    """Gives back all that this process has, as its death would."""
    global _mine  # noqa: PLW0603
    with _mine_lock:
        if _mine is not None and _mine[0] == os.getpid():
            _mine[1].leave()
        _mine = None


def take(limit: int, *, lane: int = _ANY_NUMBER, but: Iterable[int] = ()) -> list[Claim]:
    """Claims up to `limit` due sandboxes, longest overdue first, at most `lane` of one cluster at once."""
    return _take(_TAKE_DUE, limit=limit, lane=lane, but=list(but))


def take_one(sandbox_id: int) -> Claim | None:
    """Claims this sandbox whether it is due or not; None if somebody else has it or it has to wait."""
    return next(iter(_take(_TAKE_ONE, limit=1, lane=_ANY_NUMBER, only=sandbox_id)), None)


def _take(statement: str, **values: Any) -> list[Claim]:
    me = holder()
    values |= {"me": me.number, "holders": HOLDERS, "seconds": LEASE_SECONDS}
    values["half_open"] = limits.HALF_OPEN_AFTER
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_TURNS])
        cursor.execute(statement, values)
        claims = [Claim(sandbox_id, me.number) for (sandbox_id,) in cursor.fetchall()]
    me.working.update(claim.sandbox_id for claim in claims)
    return claims


def holds(claim: Claim) -> bool:
    """Whether to go on: still ours, and nothing is paused. Asked before each step."""
    values = {"id": claim.sandbox_id, "me": claim.holder, "holders": HOLDERS}
    with connection.cursor() as cursor:
        cursor.execute(_HOLDS, values)
        return cursor.fetchone() is not None


def let_go(claim: Claim, *, phase: str, seen: datetime | None, wait: timedelta) -> None:
    """Gives the row back and sets when to look next, unless somebody set that since it was `seen`."""
    values: dict[str, Any] = {
        "id": claim.sandbox_id,
        "me": claim.holder,
        "phase": phase,
        "seen": seen,
        "wait": wait,
    }
    with connection.cursor() as cursor:
        cursor.execute(_LET_GO, values)


def forget(claim: Claim) -> None:
    """No more renewals: for whoever stops working on it, however that came."""
    me = _mine
    if me is not None and me[1].number == claim.holder:
        me[1].working.discard(claim.sandbox_id)
