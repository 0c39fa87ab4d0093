"""Packuments: asked of the upstream at most once at a time, and kept as `projects.py` keeps pages."""

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from sandboxes.index.database import Database
from sandboxes.index.errors import UnknownError, UpstreamError
from sandboxes.index.lru import Lru
from sandboxes.index.npm.packument import FORMAT, Packument
from sandboxes.index.npm.upstream import Fresh, Registry
from sandboxes.index.once import Once
from sandboxes.index.projects import FRESH, MISSING
from sandboxes.index.sightings import stamp
from sandboxes.index.upstream import Missing, NotModified

logger = logging.getLogger(__name__)

_ROOM: Final = 32 * 1024 * 1024  # bytes of all documents in memory together
_LOAD_IN_PLACE: Final = 64 * 1024

_ROW = """
SELECT source, format, etag, digest, missing, document IS NULL AS bare, fetched_at, checked_at,
       extract(epoch FROM now() - checked_at)::float AS age
FROM index_packument WHERE name = %(name)s"""
_DOCUMENT = """
SELECT document, digest FROM index_packument WHERE name = %(name)s AND format = %(format)s"""
_CONFIRM = "UPDATE index_packument SET checked_at = now() WHERE name = %(name)s AND digest = %(digest)s"
_MISSING = """
INSERT INTO index_packument (name, source, format, etag, document, missing, digest, fetched_at, checked_at)
VALUES (%(name)s, '', %(format)s, '', NULL, true, '', now(), now())
ON CONFLICT (name) DO UPDATE SET missing = true, checked_at = excluded.checked_at, etag = ''"""
_KEEP = """
INSERT INTO index_packument (name, source, format, etag, document, missing, digest, fetched_at, checked_at)
VALUES (%(name)s, %(source)s, %(format)s, %(etag)s, %(document)s, false, %(digest)s, %(now)s, %(now)s)
ON CONFLICT (name) DO UPDATE SET
    source = excluded.source, format = excluded.format, etag = excluded.etag, document = excluded.document,
    missing = false, digest = excluded.digest, fetched_at = excluded.fetched_at,
    checked_at = excluded.checked_at"""


@dataclass(frozen=True, slots=True)
class Shown:
    """A packument, its digest, and why it may be old ("" when it is not)."""

    packument: Packument
    digest: str
    stale: str = ""


class Packuments:
    def __init__(self, database: Database, registry: Registry | None) -> None:
        """Without a registry what is kept is all there is."""
        self._database = database
        self._registry = registry
        self._refreshing: Once[str, Shown] = Once()
        self._kept: Lru[str, Packument] = Lru(_ROOM)

    async def get(self, name: str) -> Shown:
        """Raises `UnknownError`, or `UpstreamError` when nothing is known and the upstream fails."""
        row = await self._row(name)
        if row is not None and self._is_fresh(row):
            return await self._load(name, row)
        return await self._refreshing.do(name, lambda: self._refresh(name))

    async def close(self) -> None:
        await self._refreshing.close()

    async def _row(self, name: str) -> Mapping[str, Any] | None:
        return await self._database.row(_ROW, {"name": name})

    def _is_fresh(self, row: Mapping[str, Any]) -> bool:
        if self._registry is None:
            return True
        return bool(row["format"] == FORMAT and row["age"] < (MISSING if row["missing"] else FRESH))

    async def _refresh(self, name: str) -> Shown:
        row = await self._row(name)
        if row is not None and self._is_fresh(row):
            return await self._load(name, row)
        if self._registry is None:
            raise UnknownError(
                f"No packument of {name} is kept, and the index has no npm upstream (INDEX_NPM_UPSTREAM)."
            )
        readable = row is not None and row["format"] == FORMAT and not row["bare"]
        try:
            answer = await self._registry.packument(name, row["etag"] if row and readable else "")
        except UpstreamError as error:
            if row is None or not readable or row["missing"]:
                raise
            logger.warning("packument of %s is stale: %s", name, error)
            shown = await self._load(name, row)
            return replace(shown, stale=f"{error} Packument of {row['fetched_at']:%Y-%m-%dT%H:%M:%SZ}.")
        match answer:
            case Fresh(packument, etag):
                return await self._keep(packument, etag, row if readable else None)
            case Missing():
                await self._database.rows(_MISSING, {"name": name, "format": FORMAT})
                raise _unknown(name)
            case NotModified():
                assert row is not None  # noqa: S101 -- only then an etag was sent
                await self._database.rows(_CONFIRM, {"name": name, "digest": row["digest"]})
                return await self._load(name, row)

    async def _keep(self, packument: Packument, etag: str, row: Mapping[str, Any] | None) -> Shown:
        now = datetime.now(UTC)
        found = await self._document(packument.name, row["digest"]) if row else None
        former = found[0] if found else None
        looked_at = None
        if row and former and former.source == packument.source:
            looked_at = row["fetched_at"] if row["missing"] else row["checked_at"]
        packument = await asyncio.to_thread(sighted, packument, now, former, looked_at)
        document = await asyncio.to_thread(packument.document)
        digest = hashlib.sha256(document).hexdigest()
        values = {"name": packument.name, "source": packument.source, "format": FORMAT, "etag": etag}
        await self._database.rows(_KEEP, values | {"document": document, "digest": digest, "now": now})
        self._kept.put(digest, packument, len(document))
        return Shown(packument, digest)

    async def _load(self, name: str, row: Mapping[str, Any]) -> Shown:
        found = None if row["missing"] else await self._document(name, row["digest"])
        if found is None:
            raise _unknown(name)
        return Shown(*found)

    async def _document(self, name: str, digest: str) -> tuple[Packument, str] | None:
        kept = self._kept.get(digest)
        if kept is not None:
            return kept, digest
        row = await self._database.row(_DOCUMENT, {"name": name, "format": FORMAT})
        if row is None or row["document"] is None:
            return None
        document = row["document"]
        small = len(document) <= _LOAD_IN_PLACE
        load = Packument.load
        packument = load(document) if small else await asyncio.to_thread(load, document)
        self._kept.put(row["digest"], packument, len(document))
        return packument, row["digest"]


def sighted(
    packument: Packument, now: datetime, former: Packument | None, looked_at: datetime | None
) -> Packument:
    """As `sightings.sighted`: a tarball that was replaced under its number is a new one."""
    seen = {(each.version, each.digest): each for each in former.releases} if former else {}
    now_at, absent_at = stamp(now), stamp(looked_at) if looked_at is not None else ""
    releases = []
    for release in packument.releases:
        before = seen.get((release.version, release.digest))
        since = (before.seen_at, before.absent_at) if before else (now_at, absent_at)
        releases.append(replace(release, seen_at=since[0], absent_at=since[1]))
    return replace(packument, releases=tuple(releases))


def _unknown(name: str) -> UnknownError:
    return UnknownError(f"No package {name} at the upstream registry.")
