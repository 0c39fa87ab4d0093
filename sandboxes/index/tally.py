"""Pages that were given again within moments, counted in memory and written down within a second.

Only what was recorded in full a moment ago is counted here (`quick.py`): the same sandbox, page, client
and answer. A count becomes one row, with how often in `repeats`. When rows cannot be written, nothing is
counted any more, so nothing is given without a record: the ordinary way then says why.

What is at stake: a process that is killed (SIGKILL, no power) takes with it how often pages were given again in its
last `_EVERY` seconds, or in up to `_EVERY` + `_LATE` if the database did not take rows just then. That a sandbox has
had the page is on record by then, as is every file, before its first byte. A process that is told to end writes
everything, tries again for `_ENDING` seconds if it has to, and says in its log what it could not write.
"""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

from sandboxes.index.client import Client
from sandboxes.index.database import Database
from sandboxes.index.errors import UnavailableError
from sandboxes.index.withheld import Withheld

logger = logging.getLogger(__name__)

_EVERY = 0.5  # seconds
_LATE = 1.0  # seconds after which what was counted must have been written
_ENDING = 3.0  # seconds; whoever told us to end does not wait for ever
_PAUSE = 0.1  # seconds between attempts then
_MOST = 10_000  # different ones at once

_WRITE = """
INSERT INTO usage_fetch (sandbox_id, at, kind, project, filename, client, user_agent, withheld, withheld_by,
    repeats)
SELECT sandbox, now(), 'page', project, '', client, user_agent, withheld, withheld_by, repeats
FROM unnest(%(sandbox)s::bigint[], %(project)s::text[], %(client)s::text[], %(user_agent)s::text[],
    %(withheld)s::text[], %(withheld_by)s::text[], %(repeats)s::int[])
    AS row(sandbox, project, client, user_agent, withheld, withheld_by, repeats)"""


@dataclass(frozen=True, slots=True)
class Repeated:
    """A page that was recorded once, and may be given again."""

    sandbox: int
    project: str
    client: Client
    withheld: Withheld | None


class Tally:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._counts: dict[Repeated, int] = {}
        self._since = 0.0  # on `monotonic`'s clock: when the oldest count began
        self._writing: asyncio.Task[None] | None = None

    def count(self, page: Repeated) -> bool:
        """False: it cannot be counted now, and must not be given this way."""
        counts = self._counts
        if not counts:
            self._since = monotonic()
        elif len(counts) >= _MOST or monotonic() - self._since > _EVERY + _LATE:
            return False
        counts[page] = counts.get(page, 0) + 1
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_until_none())
        return True

    async def close(self) -> None:
        """Writes what is left; what the database does not take until `_ENDING` stands in the log."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(_ENDING):
                await self._write()
                while self._counts:
                    await asyncio.sleep(_PAUSE)
                    await self._write()
        for page, times in self._counts.items():
            logger.critical(
                "not recorded: sandbox %s was given the page of %s again %s times (%s)",
                page.sandbox, page.project, times, page.client.name,
            )  # fmt: skip

    async def _write_until_none(self) -> None:
        try:
            while self._counts:
                await asyncio.sleep(_EVERY)
                await self._write()
        finally:
            self._writing = None

    async def _write(self) -> None:
        """What cannot be written is kept, and stops the counting before long."""
        counts, since, self._counts = self._counts, self._since, {}
        if not counts:
            return
        rows = list(counts.items())
        values = {
            "sandbox": [page.sandbox for page, _ in rows],
            "project": [page.project for page, _ in rows],
            "client": [page.client.name for page, _ in rows],
            "user_agent": [page.client.user_agent for page, _ in rows],
            "withheld": [page.withheld.version if page.withheld else "" for page, _ in rows],
            "withheld_by": [page.withheld.rule if page.withheld else "" for page, _ in rows],
            "repeats": [times - 1 for _, times in rows],
        }
        written = False
        try:
            await self._database.rows(_WRITE, values)
            written = True
        except UnavailableError:
            return
        finally:
            if not written:  # also when it was cancelled: twice is better than not at all
                self._since = since
                for page, times in counts.items():
                    self._counts[page] = self._counts.get(page, 0) + times
