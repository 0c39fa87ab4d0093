"""Writes down what is asked for and received, before it is answered. What is not recorded is not served.

One statement, so one transaction, one round trip and one flush to disk, for all that wait at that moment: it finds
each sandbox again (still ready, still this token), inserts the fetch, and for a file the install. A sandbox that
ended since it was identified gives no row, and so no answer. Once a minute it also notes that
the sandbox is in use, which keeps it from being put to sleep. The rows travel as one JSON text: as arrays,
one for each column, they took three times as long to be written out here, on the loop that serves everybody.

Nothing is dropped when there is too much of it: who comes while `_MOST_WAITING` wait is told to come back.
"""

import asyncio
import json
import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from time import monotonic

from sandboxes.index.client import Client
from sandboxes.index.database import Database
from sandboxes.index.errors import UnauthenticatedError, UnavailableError
from sandboxes.index.identity import Visitor
from sandboxes.index.policy.facts import Ecosystem
from sandboxes.index.withheld import Withheld
from sandboxes.lifecycle.phases import Phase

logger = logging.getLogger(__name__)


class Kind(StrEnum):
    PAGE = "page"
    FILE = "file"
    METADATA = "metadata"


@dataclass(frozen=True, slots=True)
class Ask:
    """What a client asked for. An empty project: the list of projects."""

    kind: Kind
    project: str = ""
    filename: str = ""
    ecosystem: Ecosystem = Ecosystem.PYPI


@dataclass(frozen=True, slots=True)
class Received:
    """The file whose bytes are about to leave."""

    version: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an ask: `refused` is the rule that spoke against the file, `withheld` is of a page.

    `later`: the ask is on record already, and only now it is known what was received.
    """

    received: Received | None = None
    refused: str = ""
    withheld: Withheld | None = None
    later: bool = False


# One row for each that waited. Rows are written in one order by every process, and whoever notes that a
# sandbox is in use waits for nobody who does the same, and keeps nobody from pointing to its row (which is what
# KEY is about): else two batches could wait for each other.
_RECORD = """
WITH asked AS (
    SELECT * FROM ROWS FROM (json_to_recordset(%(rows)s::json) AS (sandbox bigint, digest text, kind text,
        project text, filename text, client text, user_agent text, refused text, withheld text,
        withheld_by text, version text, sha256 text, size bigint, ecosystem text))
    WITH ORDINALITY AS row(sandbox, digest, kind, project, filename, client, user_agent, refused, withheld,
        withheld_by, version, sha256, size, ecosystem, number)
), visitor AS (
    SELECT asked.* FROM asked JOIN lifecycle_sandbox ON lifecycle_sandbox.id = asked.sandbox
    WHERE phase = %(ready)s AND index_token_digest = asked.digest AND expires_at > now()
), fetched AS (
    INSERT INTO usage_fetch (sandbox_id, at, kind, ecosystem, project, filename, client, user_agent, refused,
        withheld, withheld_by)
    SELECT sandbox, now(), kind, ecosystem, project, filename, client, user_agent, refused, withheld,
        withheld_by
    FROM visitor WHERE kind <> '' ORDER BY number
), received AS (
    INSERT INTO usage_install (sandbox_id, at, ecosystem, project, version, filename, sha256, size, client)
    SELECT DISTINCT ON (sandbox, filename, sha256)
        sandbox, now(), ecosystem, project, version, filename, sha256, size, client
    FROM visitor WHERE sha256 IS NOT NULL ORDER BY sandbox, filename, sha256, number
    ON CONFLICT (sandbox_id, filename, sha256) DO NOTHING
), idle AS (
    SELECT id FROM lifecycle_sandbox
    WHERE id IN (SELECT sandbox FROM visitor)
      AND (last_active_at IS NULL OR last_active_at < now() - interval '1 minute')
    FOR NO KEY UPDATE SKIP LOCKED
), active AS (
    UPDATE lifecycle_sandbox SET last_active_at = now() WHERE id IN (SELECT id FROM idle)
)
SELECT number FROM visitor"""

_TURNS = 2  # of the loop in which nobody came: then nobody is about to
_GATHERING = 0.005  # seconds
_MOST_AT_ONCE = 256  # rows of one statement
_MOST_WAITING = 2000  # who comes then is told to come back

type _Row = dict[str, str | int | None]
type _Waiting = tuple[_Row, asyncio.Future[bool]]


class Recorder:
    """Writes down in groups: whoever asks while a statement is under way shares the next one."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[_Waiting] = deque()
        self._writing: asyncio.Task[None] | None = None

    async def record(self, visitor: Visitor, client: Client, ask: Ask, outcome: Outcome) -> None:
        """Returns once committed; raises `UnavailableError`, or `UnauthenticatedError` for an ended sandbox."""
        if len(self._waiting) >= _MOST_WAITING:
            raise UnavailableError("The index is asked for more than it can write down; try again.")
        written: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((_row(visitor, client, ask, outcome), written))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        if not await written:
            raise UnauthenticatedError("The sandbox has ended, or its token was replaced.")

    async def _write(self) -> None:
        """Until nobody waits. Who is recorded and then goes away stays recorded."""
        try:
            while self._waiting:
                await self._gather()
                count = min(len(self._waiting), _MOST_AT_ONCE)
                await self._commit([self._waiting.popleft() for _ in range(count)])
        finally:
            self._writing = None
            _fail(self._waiting, UnavailableError("The index is stopping; try again."))  # told to end early
            self._waiting.clear()

    async def _gather(self) -> None:
        """Lets those come along who are at work this very moment: a statement for one costs as much as for ten."""
        until, count = monotonic() + _GATHERING, 0
        while count < len(self._waiting) < _MOST_AT_ONCE and monotonic() < until:
            count = len(self._waiting)
            for _ in range(_TURNS):
                await asyncio.sleep(0)

    async def _commit(self, group: list[_Waiting]) -> None:
        try:
            rows = json.dumps([row for row, _ in group])
            found = await self._database.rows(_RECORD, {"rows": rows, "ready": Phase.READY.value})
        except UnavailableError as error:
            _fail(group, error)
        except Exception:  # the next group has nothing to do with what is wrong with this one
            logger.exception("fetches cannot be written down")
            _fail(group, UnavailableError("The index cannot write this down; try again."))
        except BaseException:
            _fail(group, UnavailableError("The index is stopping; try again."))
            raise
        else:
            known = {row["number"] for row in found}
            for number, (_, written) in enumerate(group, start=1):
                if not written.done():
                    written.set_result(number in known)

    async def close(self) -> None:
        if self._writing is not None:
            await asyncio.gather(self._writing, return_exceptions=True)


def _fail(waiting: Iterable[_Waiting], error: UnavailableError) -> None:
    for _, written in waiting:
        if not written.done():
            written.set_exception(error)


def _row(visitor: Visitor, client: Client, ask: Ask, outcome: Outcome) -> _Row:
    received, withheld = outcome.received, outcome.withheld
    return {
        "sandbox": visitor.sandbox,
        "digest": visitor.credentials.digest,
        "kind": "" if outcome.later else ask.kind.value,
        "project": ask.project,
        "filename": ask.filename,
        "client": client.name,
        "user_agent": client.user_agent,
        "refused": outcome.refused,
        "withheld": withheld.version if withheld else "",
        "withheld_by": withheld.rule if withheld else "",
        "version": received.version if received else None,
        "sha256": received.sha256 if received else None,
        "size": received.size if received else None,
        "ecosystem": ask.ecosystem.value,
    }
