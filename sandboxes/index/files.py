"""Which file a URL of ours means, and where its bytes come from.

A file whose bytes are stored is known by its row alone, so it is served when the
upstream is down, or has dropped it. Any other file must stand on its project's
page; only URLs from there are ever fetched.
"""

from dataclasses import dataclass
from typing import Any

from sandboxes.index import core_metadata
from sandboxes.index.database import Database
from sandboxes.index.errors import UnknownError
from sandboxes.index.flight import Blob
from sandboxes.index.names import METADATA
from sandboxes.index.page import File
from sandboxes.index.projects import Projects
from sandboxes.index.store import Store

_FIND = """
SELECT filename, version, sha256, url, size, metadata_sha256 FROM index_file
WHERE project = %(project)s AND filename = %(filename)s AND sha256 = %(sha256)s"""
_KEEP = """
INSERT INTO index_file (project, filename, version, sha256, size, metadata_sha256, url, asked_at)
VALUES (%(project)s, %(filename)s, %(version)s, %(sha256)s, %(size)s, %(metadata_sha256)s, %(url)s, now())
ON CONFLICT (project, filename, sha256) DO UPDATE SET
    size = excluded.size, metadata_sha256 = excluded.metadata_sha256, url = excluded.url
WHERE (index_file.size, index_file.metadata_sha256, index_file.url)
    IS DISTINCT FROM (excluded.size, excluded.metadata_sha256, excluded.url)"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a file's URL names."""

    project: str  # normalised
    filename: str
    sha256: str  # of the file, also when its metadata is wanted
    metadata: bool = False


class Files:
    def __init__(self, database: Database, store: Store, projects: Projects) -> None:
        self._database = database
        self._store = store
        self._projects = projects

    async def find(self, wanted: Wanted) -> tuple[File, Blob]:
        """The file and the blob wanted of it; raises `UnknownError`, or `UpstreamError` when nobody can tell."""
        key = {"project": wanted.project, "filename": wanted.filename, "sha256": wanted.sha256}
        row = await self._database.row(_FIND, key)
        if row is not None:
            known = File(**row)
            blob = _blob(known, wanted)
            if blob is not None and self._store.has(blob.sha256):
                return known, blob
        return await self._on_page(wanted)

    async def _on_page(self, wanted: Wanted) -> tuple[File, Blob]:
        page = (await self._projects.page(wanted.project)).page
        file = page.find(wanted.filename, wanted.sha256)
        blob = _blob(file, wanted) if file else None
        if file is None or blob is None:
            raise UnknownError(f"No {_what(wanted)} with this sha256 on the page of {wanted.project}.")
        values: dict[str, Any] = {
            "project": wanted.project,
            "filename": file.filename,
            "version": file.version,
            "sha256": file.sha256,
            "size": file.size,
            "metadata_sha256": file.metadata_sha256,
            "url": file.url,
        }
        await self._database.rows(_KEEP, values)
        return file, blob


def _blob(file: File, wanted: Wanted) -> Blob | None:
    """None: the file has no metadata that could be verified."""
    if not wanted.metadata:
        return Blob(file.sha256, file.size, file.url, _what(wanted))
    if not file.metadata_sha256:
        return None
    path, mark, query = file.url.partition("?")
    url = f"{path}{METADATA}{mark}{query}"
    return Blob(file.metadata_sha256, None, url, _what(wanted), core_metadata.LARGEST)


def _what(wanted: Wanted) -> str:
    return f"{wanted.filename}{METADATA}" if wanted.metadata else wanted.filename
