"""Pages of projects: asked of the upstream at most once at a time, remembered in the database.

The row is the truth for every process; pages in memory are found by the row's
digest, so they cannot be out of date. A page is asked for again (with its etag)
once it is older than `kept.FRESH`. When the upstream fails, what is known is shown,
and said to be old. "No such project" is remembered too, but only shortly: it may
be published any moment. Of a name that never was a project it is remembered in memory alone, so made-up
names fill no table. What a page said before stays when the project is missing, and says of each
file of a later page whether it was there (`sightings.py`).
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from sandboxes.index import budget, kept, weights
from sandboxes.index.database import Database
from sandboxes.index.errors import UnknownError, UpstreamError
from sandboxes.index.kept import MISSING, Known
from sandboxes.index.lru import Lru
from sandboxes.index.once import Once, seen
from sandboxes.index.packing import packed, unpacked
from sandboxes.index.page import FORMAT, Page
from sandboxes.index.sightings import sighted
from sandboxes.index.storage.turns import Turns
from sandboxes.index.upstream import Fresh, Missing, NotModified
from sandboxes.index.upstreams import Sources, Upstreams

logger = logging.getLogger(__name__)

_OTHERS = 5.0  # seconds that another process's request is waited for
_MOST_NAMES = 10_000  # of one sandbox's list
_IN_PLACE = 200  # files; what is done with more is done in a thread, so others go on
_LOAD_IN_PLACE = 64 * 1024  # bytes; a larger document is parsed in a thread

# From one name to the next by the index: what it costs goes by the names, however often each was asked for.
_NAMES = """
WITH RECURSIVE asked AS (
    (SELECT project FROM usage_fetch WHERE sandbox_id = %(sandbox)s AND kind = 'page' AND project > ''
     ORDER BY project LIMIT 1)
    UNION ALL
    SELECT (SELECT project FROM usage_fetch
            WHERE sandbox_id = %(sandbox)s AND kind = 'page' AND project > asked.project
            ORDER BY project LIMIT 1)
    FROM asked WHERE asked.project IS NOT NULL
)
SELECT name FROM asked JOIN index_project ON name = project
WHERE NOT missing AND EXISTS (
    SELECT FROM usage_fetch
    WHERE sandbox_id = %(sandbox)s AND kind = 'page' AND project = name AND ecosystem = 'pypi')
ORDER BY name LIMIT %(most)s"""
_SQL = kept.Statements("index_project")


@dataclass(frozen=True, slots=True)
class Shown:
    """A page, its digest (equal digests: equal pages), and why it may be old ("" when it is not)."""

    page: Page
    digest: str
    stale: str = ""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A page as soon as it is known. It may be made ready to be given while it is still written down."""

    shown: Shown
    writing: asyncio.Task[None] | None = None

    async def kept(self) -> None:
        """Returns once it is written down. Raises `UnavailableError` when it cannot be: then nobody may have it."""
        if self.writing is not None:
            await asyncio.shield(self.writing)


class Projects:
    def __init__(self, database: Database, upstream: Upstreams, turns: Turns) -> None:
        self._database = database
        self._upstream = upstream
        self._turns = turns
        self._asking: Once[tuple[str, Sources], Arrival] = Once()
        self._arriving: dict[tuple[str, Sources], Arrival] = {}  # those that are being written down
        # Of names that are no project's: until when, on `monotonic`'s clock.
        self._absent: Lru[tuple[str, Sources], float] = Lru(budget.ABSENT)
        self._pages: Lru[str, Page] = Lru(budget.PAGES)
        self._loading: Once[str, tuple[Page, str] | None] = Once()

    async def names(self, sandbox: int) -> list[str]:
        """Projects that this sandbox asked for and that exist: what others try is not its business."""
        values = {"sandbox": sandbox, "most": _MOST_NAMES}
        return [row["name"] for row in await self._database.rows(_NAMES, values)]

    async def page(self, project: str, only: Sources = None) -> Shown:
        """Raises `UnknownError`, or `UpstreamError` when nothing is known and the upstream fails.

        `only`: the upstreams that may hear the name; when none of those has it, what is kept is shown.
        """
        arrival = await self.arrival(project, only)
        await arrival.kept()
        return arrival.shown

    async def arrival(
        self, project: str, only: Sources = None, meanwhile: Callable[[], Awaitable[None]] | None = None
    ) -> Arrival:
        """As `page`, while it may still be being written down.

        `meanwhile` is done while the upstream is waited for; what it raises is for whoever needs its result.
        """
        arriving = self._arriving.get((project, only))
        if arriving is not None:
            return arriving
        return await self._asking.do((project, only), lambda: self._ask(project, only, meanwhile))

    async def close(self) -> None:
        await self._asking.close()
        await self._loading.close()
        await asyncio.gather(*(each.kept() for each in self._arriving.values()), return_exceptions=True)

    async def _look_up(self, project: str) -> Known | None:
        return kept.known(await self._database.row(_SQL.row, {"name": project}), self._upstream, FORMAT)

    async def _ask(
        self, project: str, only: Sources, meanwhile: Callable[[], Awaitable[None]] | None
    ) -> Arrival:
        known = await self._look_up(project)
        other = asyncio.ensure_future(meanwhile()) if meanwhile is not None else None
        try:
            return await self._known_or_asked(project, only, known)
        finally:
            if other is not None:
                await asyncio.gather(other, return_exceptions=True)

    async def _known_or_asked(self, project: str, only: Sources, known: Known | None) -> Arrival:
        if known is not None and known.fresh:
            return Arrival(await self._load(project, known))
        if monotonic() < (self._absent.get((project, only)) or 0.0):
            raise _unknown(project)
        if not self._upstream.asks(project, only):
            if known is None or not (known.readable and known.ours):
                raise _unknown(project)
            return Arrival(await self._load(project, known))
        if self._turns.take(project):
            return await self._in_turn(project, only, known)
        if not await self._turns.wait(project, _OTHERS):
            return await self._refresh(project, only, known)
        try:
            known = await self._look_up(project)
        except BaseException:
            self._turns.give_back(project)
            raise
        return await self._in_turn(project, only, known)

    async def _in_turn(self, project: str, only: Sources, known: Known | None) -> Arrival:
        """The turn is given back when what was found is there for all processes, or nothing was."""
        writing = None
        try:
            if known is not None and known.fresh:  # another process has asked meanwhile
                return Arrival(await self._load(project, known))
            arrival = await self._refresh(project, only, known)
            writing = arrival.writing
            return arrival
        finally:
            if writing is None:
                self._turns.give_back(project)
            else:
                writing.add_done_callback(lambda _: self._turns.give_back(project))

    async def _refresh(self, project: str, only: Sources, known: Known | None) -> Arrival:
        try:
            answer = await self._upstream.page(project, known.etag if known else "", only)
        except UpstreamError as error:
            if known is None or known.missing or not (known.readable and known.ours):
                raise
            logger.warning("page of %s is stale: %s", project, error)
            shown = await self._load(project, known)
            why = f"{error} Page of {known.fetched_at:%Y-%m-%dT%H:%M:%SZ}."
            return Arrival(Shown(shown.page, shown.digest, why))
        match answer:
            case Fresh(page, etag):
                return await self._keep((project, only), page, etag, known)
            case Missing():
                values = {"name": project, "format": FORMAT, "only": None if only is None else list(only)}
                if not await self._database.rows(_SQL.missing, values):
                    weight = weights.ENTRY + len(project)
                    self._absent.put((project, only), monotonic() + MISSING, weight)
                raise _unknown(project)
            case NotModified() if known is not None:
                await self._database.rows(_SQL.confirm, {"name": project, "digest": known.digest})
                return Arrival(await self._load(project, known))
            case _:
                raise UpstreamError(f"The upstream index says that {project} did not change, unasked.")

    async def _keep(self, key: tuple[str, Sources], page: Page, etag: str, known: Known | None) -> Arrival:
        now = datetime.now(UTC)
        found = await self._document(page.project, known.digest) if known and known.readable else None
        former = found[0] if found else None
        # Another upstream's silence says nothing about this one.
        looked_at = known.looked_at if known and former and former.source == page.source else None
        small = len(page.files) <= _IN_PLACE
        work = (page, now, former, looked_at)
        dated = _dated(*work) if small else await asyncio.to_thread(_dated, *work)
        page, document, digest, weight = dated
        values = {"name": page.project, "source": page.source, "format": FORMAT, "etag": etag}
        values |= {"document": document, "digest": digest, "now": now}
        self._pages.put(digest, page, weight)
        writing = asyncio.create_task(self._write(key, values))
        writing.add_done_callback(seen)
        arrival = self._arriving[key] = Arrival(Shown(page, digest), writing)
        return arrival

    async def _write(self, key: tuple[str, Sources], values: Mapping[str, Any]) -> None:
        try:
            await self._database.rows(_SQL.keep, values)
        finally:
            del self._arriving[key]

    async def _load(self, project: str, known: Known) -> Shown:
        if known.missing:
            raise _unknown(project)
        found = await self._document(project, known.digest)
        if found is None:
            raise _unknown(project)
        return Shown(*found)

    async def known(self, project: str, digest: str) -> Shown | None:
        """What is kept of a project, however old, asking no upstream; `digest` is what its row says."""
        found = await self._document(project, digest)
        return Shown(*found) if found else None

    async def _document(self, project: str, digest: str) -> tuple[Page, str] | None:
        """The page and its digest: from memory, else from the row (which may have moved on meanwhile)."""
        page = self._pages.get(digest)
        if page is not None:
            return page, digest
        return await self._loading.do(project, lambda: self._stored(project))

    async def _stored(self, project: str) -> tuple[Page, str] | None:
        row = await self._database.row(_SQL.document, {"name": project, "format": FORMAT})
        if row is None or row["document"] is None:
            return None
        document = row["document"]
        small = len(document) <= _LOAD_IN_PLACE
        page, weight = _loaded(document) if small else await asyncio.to_thread(_loaded, document)
        self._pages.put(row["digest"], page, weight)
        return page, row["digest"]


def _dated(
    page: Page, now: datetime, former: Page | None, looked_at: datetime | None
) -> tuple[Page, bytes, str, int]:
    """The page with its files' sightings, as bytes, their digest, and what the page takes in memory."""
    page = sighted(page, now, former, looked_at)
    plain = page.plain()
    document = packed(plain)
    return page, document, hashlib.sha256(document).hexdigest(), page.weight(plain)


def _loaded(document: bytes) -> tuple[Page, int]:
    """The page, and what it takes in memory."""
    plain = unpacked(document)
    page = Page.load(plain)
    return page, page.weight(plain)


def _unknown(project: str) -> UnknownError:
    return UnknownError(f"No project {project} at the upstream index.")
