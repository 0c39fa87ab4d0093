"""Packuments: asked of the upstreams at most once at a time, and kept as `projects.py` keeps pages."""

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace as changed
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final

from msgspec.structs import replace

from sandboxes.index import budget, kept, weights
from sandboxes.index.database import Database
from sandboxes.index.errors import UnknownError, UpstreamError
from sandboxes.index.kept import MISSING, Known, Statements
from sandboxes.index.lru import Lru
from sandboxes.index.npm.packument import FORMAT, Packument
from sandboxes.index.npm.upstream import Fresh, Registries
from sandboxes.index.once import Once
from sandboxes.index.sightings import stamp
from sandboxes.index.upstream import Missing, NotModified
from sandboxes.index.upstreams import Sources

logger = logging.getLogger(__name__)

_LOAD_IN_PLACE: Final = 64 * 1024

_SQL: Final = Statements("index_packument")


@dataclass(frozen=True, slots=True)
class Shown:
    """A packument, its digest, and why it may be old ("" when it is not)."""

    packument: Packument
    digest: str
    stale: str = ""


class Packuments:
    def __init__(self, database: Database, registries: Registries) -> None:
        self._database = database
        self._registries = registries
        self._refreshing: Once[tuple[str, Sources], Shown] = Once()
        self._loading: Once[str, tuple[Packument, str] | None] = Once()
        # Of names that are no package's: until when, on `monotonic`'s clock.
        self._absent: Lru[tuple[str, Sources], float] = Lru(budget.ABSENT)
        self._kept: Lru[str, Packument] = Lru(budget.PACKUMENTS)

    async def get(self, name: str, only: Sources = None) -> Shown:
        """Raises `UnknownError`, or `UpstreamError` when nothing is known and the upstream fails.

        `only`: the registries that may hear the name.
        """
        known = await self._look_up(name)
        if known is not None and known.fresh:
            return await self._load(name, known)
        if monotonic() < (self._absent.get((name, only)) or 0.0):
            raise _unknown(name)
        return await self._refreshing.do((name, only), lambda: self._refresh(name, only))

    async def close(self) -> None:
        await self._refreshing.close()
        await self._loading.close()

    async def _look_up(self, name: str) -> Known | None:
        return kept.known(await self._database.row(_SQL.row, {"name": name}), self._registries, FORMAT)

    async def _refresh(self, name: str, only: Sources) -> Shown:
        known = await self._look_up(name)
        if known is not None and known.fresh:  # another refresh ended between the caller's look and now
            return await self._load(name, known)
        try:
            answer = await self._registries.packument(name, known.etag if known else "", only)
        except UpstreamError as error:
            if known is None or known.missing or not (known.readable and known.ours):
                raise
            logger.warning("packument of %s is stale: %s", name, error)
            shown = await self._load(name, known)
            return changed(shown, stale=f"{error} Packument of {known.fetched_at:%Y-%m-%dT%H:%M:%SZ}.")
        match answer:
            case Fresh(packument, etag):
                return await self._keep(packument, etag, known)
            case Missing():
                values = {"name": name, "format": FORMAT, "only": None if only is None else list(only)}
                if not await self._database.rows(_SQL.missing, values):
                    self._absent.put((name, only), monotonic() + MISSING, weights.ENTRY + len(name))
                raise _unknown(name)
            case NotModified() if known is not None:
                await self._database.rows(_SQL.confirm, {"name": name, "digest": known.digest})
                return await self._load(name, known)
            case _:
                raise UpstreamError(f"The upstream index says that {name} did not change, unasked.")

    async def _keep(self, packument: Packument, etag: str, known: Known | None) -> Shown:
        now = datetime.now(UTC)
        found = await self._document(packument.name, known.digest) if known and known.readable else None
        former = found[0] if found else None
        # Another upstream's silence says nothing about this one.
        looked_at = known.looked_at if known and former and former.source == packument.source else None
        packument = await asyncio.to_thread(sighted, packument, now, former, looked_at)
        document, weight = await asyncio.to_thread(_stored, packument)
        digest = hashlib.sha256(document).hexdigest()
        values = {"name": packument.name, "source": packument.source, "format": FORMAT, "etag": etag}
        await self._database.rows(_SQL.keep, values | {"document": document, "digest": digest, "now": now})
        self._kept.put(digest, packument, weight)
        return Shown(packument, digest)

    async def _load(self, name: str, known: Known) -> Shown:
        found = None if known.missing else await self._document(name, known.digest)
        if found is None:
            raise _unknown(name)
        return Shown(*found)

    async def _document(self, name: str, digest: str) -> tuple[Packument, str] | None:
        """The packument and its digest: from memory, else from the row, which may have moved on."""
        packument = self._kept.get(digest)
        if packument is not None:
            return packument, digest
        return await self._loading.do(name, lambda: self._stored(name))

    async def _stored(self, name: str) -> tuple[Packument, str] | None:
        row: Mapping[str, Any] | None = await self._database.row(
            _SQL.document, {"name": name, "format": FORMAT}
        )
        if row is None or row["document"] is None:
            return None
        document = row["document"]
        small = len(document) <= _LOAD_IN_PLACE
        packument, weight = _loaded(document) if small else await asyncio.to_thread(_loaded, document)
        self._kept.put(row["digest"], packument, weight)
        return packument, row["digest"]


def _stored(packument: Packument) -> tuple[bytes, int]:
    """Its document, and what it takes in memory."""
    document = packument.document()
    return document, packument.weight(document)


def _loaded(document: bytes) -> tuple[Packument, int]:
    packument = Packument.load(document)
    return packument, packument.weight(document)


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
