"""Which file a URL of ours means, what is known of it, and where its bytes come from.

Only what stands on its project's page is given, stored or not: removing a file is how an upstream takes back
what is bad, and a project that another upstream has now is another project. That page is as new as one that
is shown; when its upstream cannot be asked, or does not answer at once, the page that is kept says what
holds. A stored file of which no page is kept is known by its row, as long as nobody can be asked. Only URLs
from pages are ever fetched.

Policy goes by what the page says of a file, which changes: it is yanked, another version comes before it.
The row keeps what the page said and which page that was; when the page has moved on since, the row is
brought up to date before anything is decided, so page and file are decided alike.

What was found holds for moments, for all who ask meanwhile: fifty clients of one file are one look-up.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

from sandboxes.index import budget, core_metadata, weights
from sandboxes.index.candidates import Stated, facts_of, on_page, stated_of_row
from sandboxes.index.database import Database
from sandboxes.index.errors import UnknownError, UpstreamError
from sandboxes.index.flight import Blob
from sandboxes.index.lru import Lru
from sandboxes.index.names import METADATA
from sandboxes.index.once import Once
from sandboxes.index.page import QUARANTINED
from sandboxes.index.projects import Projects, Shown
from sandboxes.index.sightings import stamp
from sandboxes.index.store import Store
from sandboxes.index.upstreams import Sources, Upstreams

_PATIENCE = 2.0  # seconds that a stored file waits for a newer page than the one that is kept
_HOLDS = 2.0  # seconds for which what was found is taken to be so: no longer than a page that is given again
_WEIGHT = 3_000  # bytes that what was found takes in memory besides its texts

_FIND = """
SELECT file.filename, file.version, file.sha256, file.url, file.size, file.metadata_sha256, file.asked_at,
       file.facts, file.page_digest, page.digest AS newest, page.source, page.missing
FROM index_file file LEFT JOIN index_project page ON page.name = file.project
WHERE file.project = %(project)s AND file.filename = %(filename)s AND file.sha256 = %(sha256)s"""
_KEEP = """
INSERT INTO index_file (project, filename, version, sha256, size, metadata_sha256, url, asked_at, facts,
    page_digest)
VALUES (%(project)s, %(filename)s, %(version)s, %(sha256)s, %(size)s, %(metadata_sha256)s, %(url)s, now(),
    %(facts)s::jsonb, %(page_digest)s)
ON CONFLICT (project, filename, sha256) DO UPDATE SET
    size = excluded.size, metadata_sha256 = excluded.metadata_sha256, url = excluded.url,
    facts = excluded.facts, page_digest = excluded.page_digest"""


IN_WHEEL = "#metadata="  # in the URL of a wheel's metadata


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a file's URL names."""

    project: str  # normalised
    filename: str
    sha256: str  # of the file, also when its metadata is wanted
    metadata: bool = False

    @property
    def key(self) -> dict[str, str]:
        return {"project": self.project, "filename": self.filename, "sha256": self.sha256}


type _Found = tuple[Stated, Blob]


@dataclass(frozen=True, slots=True)
class _Held:
    until: float  # on `monotonic`'s clock
    page: str | None  # the digest of the page by which it was found
    found: _Found


class Files:
    def __init__(self, database: Database, store: Store, projects: Projects, upstream: Upstreams) -> None:
        self._database = database
        self._store = store
        self._projects = projects
        self._upstream = upstream
        self._finding: Once[tuple[Wanted, Sources], _Found] = Once()
        self._found: Lru[tuple[Wanted, Sources], _Held] = Lru(budget.FOUND)
        # The pages that were seen last, by project: their digests.
        self._newest: Lru[str, str] = Lru(budget.NEWEST)

    async def find(self, wanted: Wanted, only: Sources = None) -> _Found:
        """The file and the blob wanted of it; raises `UnknownError`, or `UpstreamError` when nobody can tell.

        `only`: the upstreams that may hear the name.
        """
        key = (wanted, only)
        held = self._found.get(key)
        if held is not None and monotonic() < held.until and held.page == self._newest.get(wanted.project):
            return held.found
        return await self._finding.do(key, lambda: self._find_and_hold(wanted, only))

    def page_shown(self, shown: Shown) -> None:
        """What was found by another page of its project holds no more."""
        project = shown.page.project
        self._newest.put(project, shown.digest, weights.ENTRY + len(project))

    async def close(self) -> None:
        await self._finding.close()

    async def _find_and_hold(self, wanted: Wanted, only: Sources) -> _Found:
        until = monotonic() + _HOLDS  # counted from before: what it sees may be that old
        found = await self._find(wanted, only)
        if wanted.metadata and not await self._store.has(found[1].sha256):
            return found  # its page may turn out to be wrong when it is fetched, by another process, too
        held = _Held(until, self._newest.get(wanted.project), found)
        self._found.put((wanted, only), held, _weight(found))
        return found

    async def _find(self, wanted: Wanted, only: Sources) -> _Found:
        row = await self._database.row(_FIND, wanted.key)
        if row is not None and await self._is_stored(wanted, row):
            shown = await self._shown(wanted, row, only)
            stated = await self._listed(wanted, row, shown) if shown else _by_row(wanted, row)
            blob = blob_of(stated, metadata=wanted.metadata)
            if blob is not None:
                return stated, blob
        return await self._on_page(wanted, only)

    async def _is_stored(self, wanted: Wanted, row: Mapping[str, Any]) -> bool:
        sha256 = row["metadata_sha256"] if wanted.metadata else row["sha256"]
        return bool(sha256) and await self._store.has(sha256)

    async def _shown(self, wanted: Wanted, row: Mapping[str, Any], only: Sources) -> Shown | None:
        """The page by which a stored file is given; None: none is kept, and nobody can be asked."""
        try:
            async with asyncio.timeout(_PATIENCE):
                return await self._projects.page(wanted.project, only)
        except UnknownError:
            if self._upstream.offline and row["newest"] is None:
                return None
            raise
        except (UpstreamError, TimeoutError) as error:
            source = row["source"] if row["newest"] else row["facts"].get("source", "")
            if row["missing"] or not self._upstream.may_have(wanted.project, source):
                raise _not_in_time(wanted) if isinstance(error, TimeoutError) else error from error
            return await self._projects.known(wanted.project, row["newest"]) if row["newest"] else None

    async def _listed(self, wanted: Wanted, row: Mapping[str, Any], shown: Shown) -> Stated:
        """As its page says. Raises `UnknownError` for a file that is not on it any more."""
        self.page_shown(shown)
        page = shown.page
        file = page.find(wanted.filename, wanted.sha256)
        if page.status == QUARANTINED:  # its page lists nothing, and what was stored is no better
            raise UnknownError(
                f"{wanted.project} is quarantined at the upstream index: nothing of it is given."
            )
        if file is None:
            raise UnknownError(f"{wanted.filename} was removed from {wanted.project} at the upstream index.")
        if (
            row["page_digest"] == shown.digest
        ):  # then the row says what was found out of the whole page before
            return Stated(page.project, file, page.source, row["facts"].get("replaces", ""))
        stated = on_page(page, file)
        await self._keep(stated, shown)
        return stated

    async def _on_page(self, wanted: Wanted, only: Sources) -> _Found:
        shown = await self._projects.page(wanted.project, only)
        self.page_shown(shown)
        file = shown.page.find(wanted.filename, wanted.sha256)
        stated = on_page(shown.page, file) if file else None
        blob = blob_of(stated, metadata=wanted.metadata) if stated else None
        if stated is None or blob is None:
            raise UnknownError(f"No {_what(wanted)} with this sha256 on the page of {wanted.project}.")
        await self._keep(stated, shown)
        return stated, blob

    async def _keep(self, stated: Stated, shown: Shown) -> None:
        file = stated.file
        values: dict[str, Any] = {
            "project": stated.project,
            "filename": file.filename,
            "version": file.version,
            "sha256": file.sha256,
            "size": file.size,
            "metadata_sha256": file.metadata_sha256,
            "url": file.url,
            "facts": json.dumps(facts_of(stated)),
            "page_digest": shown.digest,
        }
        await self._database.rows(_KEEP, values)


def _weight(found: _Found) -> int:
    """Bytes that it takes in memory: the URL stands in the blob once more."""
    stated, blob = found
    file = stated.file
    said = (file.url, blob.url, file.requires_python, file.provenance, str(file.yanked))
    return _WEIGHT + weights.texts(said)


def _by_row(wanted: Wanted, row: Mapping[str, Any]) -> Stated:
    return stated_of_row(wanted.project, row, stamp(row["asked_at"]))


def _not_in_time(wanted: Wanted) -> UpstreamError:
    return UpstreamError(f"The upstream index does not say in time whether it has {wanted.filename}.")


def blob_of(stated: Stated, *, metadata: bool = False) -> Blob | None:
    """None: the file has no metadata that could be verified."""
    file = stated.file
    if not metadata:
        return Blob(file.sha256, file.size, file.url, file.filename, source=stated.source)
    if not file.metadata_sha256:
        return None
    what = f"{file.filename}{METADATA}"
    return Blob(file.metadata_sha256, None, _in_the_wheel(stated), what, core_metadata.LARGEST, stated.source)


def _in_the_wheel(stated: Stated) -> str:
    """Where metadata is: in the wheel, and maybe beside it, with the sha256 at the end (`wheel_origin.py`)."""
    file = stated.file
    size = "" if file.size is None else file.size
    beside = "" if file.extracted else file.metadata_sha256
    return f"{file.url}{IN_WHEEL}{file.sha256}/{stated.project}/{file.version}/{size}/{beside}"


def _what(wanted: Wanted) -> str:
    return f"{wanted.filename}{METADATA}" if wanted.metadata else wanted.filename
