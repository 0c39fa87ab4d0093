"""Writes down what is asked for and received, before it is answered. What is not recorded is not served.

One statement, so one transaction, for all that wait at that moment: it finds each sandbox again (still
ready, still this token), inserts the fetch, and for a file the install. A sandbox that ended
since it was identified gives no row, and so no answer. Once a minute it also notes that
the sandbox is in use, which keeps it from being put to sleep.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from sandboxes.index.client import Client
from sandboxes.index.database import Database
from sandboxes.index.errors import UnauthenticatedError, UnavailableError
from sandboxes.index.identity import Visitor
from sandboxes.index.policy.facts import Ecosystem
from sandboxes.index.withheld import Withheld
from sandboxes.lifecycle.phases import Phase


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
    """What came of an ask: `refused` is the rule that spoke against the file, `withheld` is of a page."""

    received: Received | None = None
    refused: str = ""
    withheld: Withheld | None = None


# One row for each that waited. Rows are written in one order by every process, and whoever notes that a
# sandbox is in use waits for nobody who does the same: else two batches could wait for each other.
_RECORD = """
WITH asked AS (
    SELECT * FROM unnest(%(sandbox)s::bigint[], %(digest)s::text[], %(kind)s::text[], %(project)s::text[],
        %(filename)s::text[], %(client)s::text[], %(user_agent)s::text[], %(refused)s::text[],
        %(withheld)s::text[], %(withheld_by)s::text[], %(version)s::text[], %(sha256)s::text[],
        %(size)s::bigint[], %(ecosystem)s::text[])
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
    FROM visitor ORDER BY number
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
    FOR UPDATE SKIP LOCKED
), active AS (
    UPDATE lifecycle_sandbox SET last_active_at = now() WHERE id IN (SELECT id FROM idle)
)
SELECT number FROM visitor"""

_MOST_AT_ONCE = 256  # rows of one statement
_MOST_WAITING = 2000  # who comes then is told to come back

type _Row = dict[str, str | int | None]


class Recorder:
    """Writes down in groups: whoever asks while a statement is under way shares the next one."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[tuple[_Row, asyncio.Future[bool]]] = deque()
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
                count = min(len(self._waiting), _MOST_AT_ONCE)
                await self._commit([self._waiting.popleft() for _ in range(count)])
        finally:
            self._writing = None

    async def _commit(self, group: list[tuple[_Row, "asyncio.Future[bool]"]]) -> None:
        columns: dict[str, object] = {name: [row[name] for row, _ in group] for name in group[0][0]}
        try:
            found = await self._database.rows(_RECORD, {**columns, "ready": Phase.READY.value})
        except BaseException as error:
            for _, written in group:
                if not written.done():
                    written.set_exception(
                        error
                        if isinstance(error, UnavailableError)
                        else UnavailableError("The index is stopping, or broke; try again.")
                    )
            if not isinstance(error, UnavailableError):
                raise
            return
        known = {row["number"] for row in found}
        for number, (_, written) in enumerate(group, start=1):
            if not written.done():
                written.set_result(number in known)

    async def close(self) -> None:
        if self._writing is not None:
            await asyncio.gather(self._writing, return_exceptions=True)


def _row(visitor: Visitor, client: Client, ask: Ask, outcome: Outcome) -> _Row:
    received, withheld = outcome.received, outcome.withheld
    return {
        "sandbox": visitor.sandbox,
        "digest": visitor.credentials.digest,
        "kind": ask.kind.value,
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
