"""Which file a URL of ours means, what is known of it, and where its bytes come from.

A file whose bytes are stored is known by its row alone, so it is decided and served when the
upstream is down, or has dropped it. Any other file must stand on its project's page; only URLs from
there are ever fetched.

Policy goes by what the page says of a file, which changes: it is yanked, another version comes before
it. The row keeps what the page said and which page that was; when the page has moved on since, the row is
brought up to date before anything is decided, so page and file are decided alike.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandboxes.index import core_metadata
from sandboxes.index.candidates import Stated, facts_of, on_page, stated_of_row
from sandboxes.index.database import Database
from sandboxes.index.errors import UnknownError
from sandboxes.index.flight import Blob
from sandboxes.index.names import METADATA
from sandboxes.index.page import QUARANTINED
from sandboxes.index.projects import Projects, Shown
from sandboxes.index.sightings import stamp
from sandboxes.index.store import Store

_FIND = """
SELECT file.filename, file.version, file.sha256, file.url, file.size, file.metadata_sha256, file.asked_at,
       file.facts, file.page_digest, page.digest AS newest
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
# The page does not list it any more: what it said last stays.
_MOVED_ON = """
UPDATE index_file SET page_digest = %(page_digest)s
WHERE project = %(project)s AND filename = %(filename)s AND sha256 = %(sha256)s"""


IN_WHEEL = "#metadata="  # in the URL of metadata that is to be read from a wheel


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


class Files:
    def __init__(self, database: Database, store: Store, projects: Projects) -> None:
        self._database = database
        self._store = store
        self._projects = projects

    async def find(self, wanted: Wanted) -> tuple[Stated, Blob]:
        """The file and the blob wanted of it; raises `UnknownError`, or `UpstreamError` when nobody can tell."""
        row = await self._database.row(_FIND, wanted.key)
        if row is not None:
            stated = await self._up_to_date(wanted, row)
            blob = blob_of(stated, metadata=wanted.metadata)
            if blob is not None and await self._store.has(blob.sha256):
                return stated, blob
        return await self._on_page(wanted)

    async def _up_to_date(self, wanted: Wanted, row: Mapping[str, Any]) -> Stated:
        """What is known of the file by the newest page that is kept, asking no upstream."""
        newest = row["newest"]
        stated = stated_of_row(wanted.project, row, stamp(row["asked_at"]))
        if not newest or row["page_digest"] == newest:
            return stated
        shown = await self._projects.known(wanted.project, newest)
        if shown is None:
            return stated
        file = shown.page.find(wanted.filename, wanted.sha256)
        if shown.page.status == QUARANTINED:  # its page lists nothing, and what was stored is no better
            raise UnknownError(
                f"{wanted.project} is quarantined at the upstream index: nothing of it is given."
            )
        if file is not None:
            stated = on_page(shown.page, file)
            await self._keep(stated, shown)
        else:
            await self._database.rows(_MOVED_ON, wanted.key | {"page_digest": shown.digest})
        return stated

    async def _on_page(self, wanted: Wanted) -> tuple[Stated, Blob]:
        shown = await self._projects.page(wanted.project)
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


def blob_of(stated: Stated, *, metadata: bool = False) -> Blob | None:
    """None: the file has no metadata that could be verified."""
    file = stated.file
    if not metadata:
        return Blob(file.sha256, file.size, file.url, file.filename, source=stated.source)
    if not file.metadata_sha256:
        return None
    url = _in_the_wheel(stated) if file.extracted else _beside(file.url)
    what = f"{file.filename}{METADATA}"
    return Blob(file.metadata_sha256, None, url, what, core_metadata.LARGEST, stated.source)


def _beside(url: str) -> str:
    """PEP 658: the file's URL plus ".metadata"."""
    path, mark, query = url.partition("?")
    return f"{path}{METADATA}{mark}{query}"


def _in_the_wheel(stated: Stated) -> str:
    """Where the metadata of a wheel is that has no metadata file: in it (`extraction.py` reads such URLs)."""
    file = stated.file
    size = "" if file.size is None else file.size
    return f"{file.url}{IN_WHEEL}{file.sha256}/{stated.project}/{file.version}/{size}"


def _what(wanted: Wanted) -> str:
    return f"{wanted.filename}{METADATA}" if wanted.metadata else wanted.filename
