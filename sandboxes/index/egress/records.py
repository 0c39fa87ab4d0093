"""Whether a connection is allowed, and what is written down of it: the proxy's statements.

Each is one transaction. An allowed connection's row is made in the statement that
checks, once more, that it is allowed: what is not recorded is not connected. Refused
ones are rows too, `REFUSED_ROWS` a minute for each sandbox; what a loop asks beyond
that counts on in its newest row. What opens or passes bytes keeps its sandbox from
being put to sleep, as what the index is asked does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sandboxes.index.database import Database
from sandboxes.index.egress.head import Authority
from sandboxes.index.errors import UnauthenticatedError
from sandboxes.index.identity import Visitor
from sandboxes.lifecycle.phases import Phase
from sandboxes.lifecycle.ways import closed_addresses

REFUSED_ROWS: Final = 30  # a minute and sandbox
LOST_AFTER: Final = 120  # seconds without a word of its proxy: that was killed
_LONGEST_ADDRESS: Final = 45  # that the column holds: what comes behind it is the zone of an interface
GONE: Final = "The sandbox has ended, or its token was replaced."

_READY = "s.phase = %(ready)s AND s.index_token_digest = %(digest)s AND s.expires_at > now()"
_PERMIT = """
SELECT 1 FROM lifecycle_egressexception e
WHERE e.sandbox_id = s.id AND e.host = {host} AND e.port = {port} AND e.ended_at IS NULL AND e.until > now()"""
_GIVEN = _PERMIT.format(host="%(host)s::text", port="%(port)s::integer")

_JUDGE = f"""
SELECT EXISTS ({_GIVEN}) AS allowed,
    (SELECT p.attempts FROM lifecycle_probe p WHERE p.sandbox_id = s.id AND p.passed
        ORDER BY p.id DESC LIMIT 1) AS attempts
FROM lifecycle_sandbox s WHERE s.id = %(sandbox)s AND {_READY}"""  # noqa: S608 -- constants only, as below

_OPEN = f"""
WITH active AS (
    UPDATE lifecycle_sandbox SET last_active_at = now()
    WHERE id = %(sandbox)s AND (last_active_at IS NULL OR last_active_at < now() - interval '1 minute')
)
INSERT INTO usage_connection (sandbox_id, at, host, port, address, allowed, reason, repeats,
    bytes_up, bytes_down, seen_at, ended_at, seconds)
SELECT s.id, now(), %(host)s::text, %(port)s::integer, %(address)s, true, '', 0, 0, 0, now(), NULL, 0
FROM lifecycle_sandbox s WHERE s.id = %(sandbox)s AND {_READY} AND EXISTS ({_GIVEN})
RETURNING id"""  # noqa: S608

_REFUSE = """
WITH recent AS (
    SELECT count(*) AS rows, max(id) AS newest FROM usage_connection
    WHERE sandbox_id = %(sandbox)s AND NOT allowed AND at > now() - interval '1 minute'
), counted AS (
    UPDATE usage_connection SET repeats = repeats + 1
    WHERE id = (SELECT newest FROM recent WHERE rows >= %(most)s)
)
INSERT INTO usage_connection (sandbox_id, at, host, port, address, allowed, reason, repeats,
    bytes_up, bytes_down, seen_at, ended_at, seconds)
SELECT %(sandbox)s, now(), %(host)s, %(port)s, %(address)s, false, %(reason)s, 0, 0, 0, NULL, now(), 0
FROM recent WHERE rows < %(most)s"""

_MOVE = "UPDATE usage_connection SET address = %(address)s WHERE id = %(id)s"

_CLOSE = """
UPDATE usage_connection SET bytes_up = %(up)s, bytes_down = %(down)s, ended_at = now(), reason = %(reason)s,
    allowed = %(allowed)s, seconds = extract(epoch FROM now() - at)
WHERE id = %(id)s AND ended_at IS NULL"""

_STILL = f"""
SELECT c.id FROM usage_connection c JOIN lifecycle_sandbox s ON s.id = c.sandbox_id
WHERE c.id = ANY(%(ids)s) AND s.phase = %(ready)s AND s.index_token_digest <> '' AND s.expires_at > now()
    AND EXISTS ({_PERMIT.format(host="c.host", port="c.port")})"""  # noqa: S608

_PROGRESS = """
WITH v AS (
    SELECT * FROM unnest(%(ids)s::bigint[], %(ups)s::bigint[], %(downs)s::bigint[]) AS v (id, up, down)
), active AS (
    UPDATE lifecycle_sandbox SET last_active_at = now()
    WHERE id IN (
        SELECT c.sandbox_id FROM usage_connection c JOIN v ON v.id = c.id
        WHERE c.bytes_up + c.bytes_down < v.up + v.down
    ) AND (last_active_at IS NULL OR last_active_at < now() - interval '1 minute')
)
UPDATE usage_connection c SET bytes_up = v.up, bytes_down = v.down, seen_at = now()
FROM v WHERE c.id = v.id AND c.ended_at IS NULL"""

_LOST = """
UPDATE usage_connection SET ended_at = seen_at, reason = 'The egress proxy was stopped.',
    seconds = extract(epoch FROM seen_at - at)
WHERE allowed AND ended_at IS NULL AND seen_at < now() - make_interval(secs => %(after)s)"""


@dataclass(frozen=True)
class Judgement:
    """`closed`: the cluster's own addresses, with what they are, as the last run that passed knew them."""

    allowed: bool
    closed: Mapping[str, str]


class Records:
    """Raises `UnavailableError`; `UnauthenticatedError` for a sandbox that is ready no more."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def judge(self, visitor: Visitor, to: Authority) -> Judgement:
        row = await self._database.row(_JUDGE, _values(visitor, to))
        if row is None:
            raise UnauthenticatedError(GONE)
        return Judgement(row["allowed"], closed_addresses(row["attempts"] or ()))

    async def open(self, visitor: Visitor, to: Authority, address: str) -> int | None:
        """The new row's number, committed; None: it is not allowed any more."""
        row = await self._database.row(_OPEN, {**_values(visitor, to), "address": address})
        return None if row is None else int(row["id"])

    async def refuse(self, sandbox: int, to: Authority, reason: str, address: str = "") -> None:
        """`address`: where the name led, if that is why."""
        values = {"sandbox": sandbox, "host": _storable(to.host), "port": to.port, "reason": reason}
        await self._database.rows(
            _REFUSE, {**values, "address": address[:_LONGEST_ADDRESS], "most": REFUSED_ROWS}
        )

    async def move(self, number: int, address: str) -> None:
        """The address before did not answer: another is tried."""
        await self._database.rows(_MOVE, {"id": number, "address": address})

    async def close(self, number: int, *, up: int, down: int, reason: str, allowed: bool) -> None:
        values = {"id": number, "up": up, "down": down, "reason": reason, "allowed": allowed}
        await self._database.rows(_CLOSE, values)

    async def still_allowed(self, numbers: Sequence[int]) -> set[int]:
        rows = await self._database.rows(_STILL, {"ids": list(numbers), "ready": Phase.READY.value})
        return {row["id"] for row in rows}

    async def progress(self, open_now: Mapping[int, tuple[int, int]]) -> None:
        """Bytes up and down by number, so that a kill loses little; and that they are open at all."""
        ups, downs = [up for up, _ in open_now.values()], [down for _, down in open_now.values()]
        await self._database.rows(_PROGRESS, {"ids": list(open_now), "ups": ups, "downs": downs})

    async def close_lost(self) -> None:
        """Rows that a killed proxy left open, this one's or another's."""
        await self._database.rows(_LOST, {"after": LOST_AFTER})


def _values(visitor: Visitor, to: Authority) -> dict[str, Any]:
    return {
        "sandbox": visitor.sandbox,
        "digest": visitor.credentials.digest,
        "ready": Phase.READY.value,
        "host": _storable(to.host),
        "port": to.port,
    }


def _storable(host: str) -> str:
    return host.replace("\0", "")[:253]
