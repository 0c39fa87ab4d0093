"""Pages of projects: asked of the upstream at most once at a time, remembered in the database.

The row is the truth for every process; pages in memory are found by the row's
digest, so they cannot be out of date. A page is asked for again (with its etag)
once it is older than `FRESH`. When the upstream fails, what is known is shown,
and said to be old. "No such project" is remembered too, but only shortly: it may
be published any moment. What a page said before stays when the project is missing, and says of each
file of a later page whether it was there (`sightings.py`).
"""

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sandboxes.index.database import Database
from sandboxes.index.errors import UnknownError, UpstreamError
from sandboxes.index.lru import Lru
from sandboxes.index.once import Once
from sandboxes.index.page import FORMAT, Page
from sandboxes.index.sightings import sighted
from sandboxes.index.upstream import Fresh, Missing, NotModified
from sandboxes.index.upstreams import Upstreams

logger = logging.getLogger(__name__)

FRESH = 60.0  # seconds
MISSING = 10.0  # seconds
_MOST_FILES = 100_000  # of all pages in memory together; about 1 kB each
_LOAD_IN_PLACE = 64 * 1024  # bytes; a larger document is parsed in a thread

_ROW = """
SELECT name, source, format, etag, digest, missing, document IS NULL AS bare, fetched_at, checked_at,
       extract(epoch FROM now() - checked_at)::float AS age
FROM index_project WHERE name = %(name)s"""
_DOCUMENT = """
SELECT document, digest FROM index_project WHERE name = %(name)s AND format = %(format)s"""
_NAMES = "SELECT name FROM index_project WHERE NOT missing ORDER BY name"
_CONFIRM = "UPDATE index_project SET checked_at = now() WHERE name = %(name)s AND digest = %(digest)s"
_MISSING = """
INSERT INTO index_project (name, source, format, etag, document, missing, digest, fetched_at, checked_at)
VALUES (%(name)s, %(source)s, %(format)s, '', NULL, true, '', now(), now())
ON CONFLICT (name) DO UPDATE SET
    missing = true, checked_at = excluded.checked_at, source = excluded.source, format = excluded.format,
    document = CASE WHEN index_project.format = excluded.format THEN index_project.document END"""
_KEEP = """
INSERT INTO index_project (name, source, format, etag, document, missing, digest, fetched_at, checked_at)
VALUES (%(name)s, %(source)s, %(format)s, %(etag)s, %(document)s, false, %(digest)s, %(now)s, %(now)s)
ON CONFLICT (name) DO UPDATE SET
    source = excluded.source, format = excluded.format, etag = excluded.etag, document = excluded.document,
    missing = false, digest = excluded.digest, fetched_at = excluded.fetched_at,
    checked_at = excluded.checked_at"""


@dataclass(frozen=True, slots=True)
class Shown:
    """A page, its digest (equal digests: equal pages), and why it may be old ("" when it is not)."""

    page: Page
    digest: str
    stale: str = ""


@dataclass(frozen=True, slots=True)
class _Known:
    """The row of a project, without its document."""

    digest: str
    missing: bool
    ours: bool  # it is of an upstream that may have the project
    fresh: bool
    etag: str  # "" when it must not be used: another upstream's, or of an older format
    readable: bool  # there is a document that can be shown, or told from, though it may be old
    looked_at: datetime  # when the document last was all there is
    fetched_at: datetime


class Projects:
    def __init__(self, database: Database, upstream: Upstreams) -> None:
        self._database = database
        self._upstream = upstream
        self._refreshing: Once[str, Shown] = Once()
        self._pages: Lru[str, Page] = Lru(_MOST_FILES)
        self._loading: Once[str, tuple[Page, str] | None] = Once()

    async def names(self) -> list[str]:
        """Projects that somebody asked for and that exist; the upstream's whole list is not mirrored."""
        return [row["name"] for row in await self._database.rows(_NAMES, {})]

    async def page(self, project: str) -> Shown:
        """Raises `UnknownError`, or `UpstreamError` when nothing is known and the upstream fails."""
        known = await self._look_up(project)
        if known is not None and known.fresh:
            return await self._load(project, known)
        return await self._refreshing.do(project, lambda: self._refresh(project))

    async def close(self) -> None:
        await self._refreshing.close()
        await self._loading.close()

    async def _look_up(self, project: str) -> _Known | None:
        return self._known(await self._database.row(_ROW, {"name": project}))

    def _known(self, row: Mapping[str, Any] | None) -> _Known | None:
        if row is None:
            return None
        # A page must not outlive the rule that another upstream alone has the project.
        ours = row["missing"] or self._upstream.may_have(row["name"], row["source"])
        current, age = ours and row["format"] == FORMAT, row["age"]
        return _Known(
            digest=row["digest"],
            missing=row["missing"],
            ours=ours,
            fresh=current and (self._upstream.offline or age < (MISSING if row["missing"] else FRESH)),
            etag=row["etag"] if current and not row["missing"] else "",
            readable=row["format"] == FORMAT and not row["bare"],
            looked_at=row["fetched_at"] if row["missing"] else row["checked_at"],
            fetched_at=row["fetched_at"],
        )

    async def _refresh(self, project: str) -> Shown:
        known = await self._look_up(project)
        if known is not None and known.fresh:  # another refresh ended between the caller's look and now
            return await self._load(project, known)
        try:
            answer = await self._upstream.page(project, known.etag if known else "")
        except UpstreamError as error:
            if known is None or known.missing or not (known.readable and known.ours):
                raise
            logger.warning("page of %s is stale: %s", project, error)
            shown = await self._load(project, known)
            return Shown(shown.page, shown.digest, f"{error} Page of {known.fetched_at:%Y-%m-%dT%H:%M:%SZ}.")
        match answer:
            case Fresh(page, etag):
                return await self._keep(page, etag, known)
            case Missing():
                values = {"name": project, "source": "", "format": FORMAT}
                await self._database.rows(_MISSING, values)
                raise _unknown(project)
            case NotModified() if known is not None:
                await self._database.rows(_CONFIRM, {"name": project, "digest": known.digest})
                return await self._load(project, known)
            case _:
                raise UpstreamError(f"The upstream index says that {project} did not change, unasked.")

    async def _keep(self, page: Page, etag: str, known: _Known | None) -> Shown:
        now = datetime.now(UTC)
        found = await self._document(page.project, known.digest) if known and known.readable else None
        former = found[0] if found else None
        # Another upstream's silence says nothing about this one.
        looked_at = known.looked_at if known and former and former.source == page.source else None
        page = await asyncio.to_thread(sighted, page, now, former, looked_at)
        document = await asyncio.to_thread(page.document)
        digest = hashlib.sha256(document).hexdigest()
        values = {"name": page.project, "source": page.source, "format": FORMAT, "etag": etag}
        values |= {"document": document, "digest": digest, "now": now}
        await self._database.rows(_KEEP, values)
        self._remember(digest, page)
        return Shown(page, digest)

    async def _load(self, project: str, known: _Known) -> Shown:
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
        row = await self._database.row(_DOCUMENT, {"name": project, "format": FORMAT})
        if row is None or row["document"] is None:
            return None
        document = row["document"]
        small = len(document) <= _LOAD_IN_PLACE
        page = Page.load(document) if small else await asyncio.to_thread(Page.load, document)
        self._remember(row["digest"], page)
        return page, row["digest"]

    def _remember(self, digest: str, page: Page) -> None:
        self._pages.put(digest, page, len(page.files) + 1)


def _unknown(project: str) -> UnknownError:
    return UnknownError(f"No project {project} at the upstream index.")
