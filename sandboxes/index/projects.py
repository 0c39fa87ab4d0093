"""Pages of projects: asked of the upstream at most once at a time, remembered in the database.

The row is the truth for every process; pages in memory are found by the row's
digest, so they cannot be out of date. A page is asked for again (with its etag)
once it is older than `FRESH`. When the upstream fails, what is known is shown,
and said to be old. "No such project" is remembered too, but only shortly: it may
be published any moment.
"""

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sandboxes.index.database import Database
from sandboxes.index.errors import UnknownError, UpstreamError
from sandboxes.index.lru import Lru
from sandboxes.index.once import Once
from sandboxes.index.page import FORMAT, Page
from sandboxes.index.upstream import Fresh, Missing, NotModified, Upstream

logger = logging.getLogger(__name__)

FRESH = 60.0  # seconds
MISSING = 10.0  # seconds
_MOST_FILES = 100_000  # of all pages in memory together; about 1 kB each
_LOAD_IN_PLACE = 64 * 1024  # bytes; a larger document is parsed in a thread

_ROW = """
SELECT name, source, format, etag, digest, document IS NULL AS missing, fetched_at,
       extract(epoch FROM now() - checked_at)::float AS age
FROM index_project WHERE name = %(name)s"""
_DOCUMENT = "SELECT document, digest FROM index_project WHERE name = %(name)s"
_NAMES = "SELECT name FROM index_project WHERE document IS NOT NULL ORDER BY name"
_CONFIRM = "UPDATE index_project SET checked_at = now() WHERE name = %(name)s AND digest = %(digest)s"
_KEEP = """
INSERT INTO index_project (name, source, format, etag, document, digest, fetched_at, checked_at)
VALUES (%(name)s, %(source)s, %(format)s, %(etag)s, %(document)s, %(digest)s, now(), now())
ON CONFLICT (name) DO UPDATE SET
    source = excluded.source, format = excluded.format, etag = excluded.etag, document = excluded.document,
    digest = excluded.digest, fetched_at = excluded.fetched_at, checked_at = excluded.checked_at"""


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
    fresh: bool
    etag: str  # "" when it must not be used: another upstream's, or of an older format
    readable: bool
    fetched_at: datetime


class Projects:
    def __init__(self, database: Database, upstream: Upstream) -> None:
        self._database = database
        self._upstream = upstream
        self._refreshing: Once[str, Shown] = Once()
        self._pages: Lru[str, Page] = Lru(_MOST_FILES)

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

    async def _look_up(self, project: str) -> _Known | None:
        return self._known(await self._database.row(_ROW, {"name": project}))

    def _known(self, row: Mapping[str, Any] | None) -> _Known | None:
        if row is None:
            return None
        ours = row["source"] == self._upstream.name and row["format"] == FORMAT
        return _Known(
            digest=row["digest"],
            missing=row["missing"],
            fresh=ours and row["age"] < (MISSING if row["missing"] else FRESH),
            etag=row["etag"] if ours and not row["missing"] else "",
            readable=row["format"] == FORMAT and not row["missing"],
            fetched_at=row["fetched_at"],
        )

    async def _refresh(self, project: str) -> Shown:
        known = await self._look_up(project)
        if known is not None and known.fresh:  # another refresh ended between the caller's look and now
            return await self._load(project, known)
        try:
            answer = await self._upstream.page(project, known.etag if known else "")
        except UpstreamError as error:
            if known is None or not known.readable:
                raise
            logger.warning("page of %s is stale: %s", project, error)
            shown = await self._load(project, known)
            return Shown(shown.page, shown.digest, f"{error} Page of {known.fetched_at:%Y-%m-%dT%H:%M:%SZ}.")
        match answer:
            case Fresh(page, etag):
                return await self._keep(page, etag)
            case Missing():
                await self._write(project, "", None, "")
                raise _unknown(project)
            case NotModified() if known is not None:
                await self._database.rows(_CONFIRM, {"name": project, "digest": known.digest})
                return await self._load(project, known)
            case _:
                raise UpstreamError(f"The upstream index says that {project} did not change, unasked.")

    async def _keep(self, page: Page, etag: str) -> Shown:
        document = await asyncio.to_thread(page.document)
        digest = hashlib.sha256(document).hexdigest()
        await self._write(page.project, etag, document, digest)
        self._remember(digest, page)
        return Shown(page, digest)

    async def _write(self, project: str, etag: str, document: bytes | None, digest: str) -> None:
        values = {"source": self._upstream.name, "format": FORMAT, "etag": etag, "document": document}
        await self._database.rows(_KEEP, {"name": project, "digest": digest, **values})

    async def _load(self, project: str, known: _Known) -> Shown:
        """The page by its digest: from memory, else from the row (which may have moved on meanwhile)."""
        if known.missing:
            raise _unknown(project)
        page = self._pages.get(known.digest)
        if page is not None:
            return Shown(page, known.digest)
        row = await self._database.row(_DOCUMENT, {"name": project})
        if row is None or row["document"] is None:
            raise _unknown(project)
        document = row["document"]
        small = len(document) <= _LOAD_IN_PLACE
        page = Page.load(document) if small else await asyncio.to_thread(Page.load, document)
        self._remember(row["digest"], page)
        return Shown(page, row["digest"])

    def _remember(self, digest: str, page: Page) -> None:
        self._pages.put(digest, page, len(page.files) + 1)


def _unknown(project: str) -> UnknownError:
    return UnknownError(f"No project {project} at the upstream index.")
