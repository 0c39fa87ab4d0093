"""Metadata files (PEP 658) of wheels whose upstream has none: read from the wheel, stored, then advertised.

When a page is shown, the wheels of its newest versions are looked at in the background: in the store if
they are there, else at their upstream with a few range requests. A wheel whose upstream knows no ranges is
looked at once it is stored, when it is served next. Only when the metadata is in the store, under its
sha256, does the page say so; it keeps saying so as long as the same upstream lists the same wheel.

The same is done, at once, for a wheel whose upstream promises other metadata than is in it.

The bytes come into the store like any others: as a download, whose URL says by its fragment that it is to be
read from a wheel (`wheel_origin.py`). So metadata that was evicted is read again.
"""

import asyncio
import hashlib
import logging
from collections.abc import Coroutine, Sequence

from msgspec.structs import replace
from packaging.version import Version

from sandboxes.errors import PetridishError
from sandboxes.index import budget
from sandboxes.index.candidates import Stated
from sandboxes.index.database import Database
from sandboxes.index.files import blob_of
from sandboxes.index.flight import Blob
from sandboxes.index.lru import Lru
from sandboxes.index.page import File, Page
from sandboxes.index.projects import Projects, Shown
from sandboxes.index.store import Store
from sandboxes.index.transfers import Transfers
from sandboxes.index.upstreams import Sources
from sandboxes.index.wheel_origin import Wheel, WheelOrigin

logger = logging.getLogger(__name__)

_VERSIONS = 2  # the newest ones of a page that are looked at
_MOST = 8  # wheels of one page at a time
_PAGES = 2  # looked at at once
_MOST_WAITING = 50  # pages and wheels; each keeps its page in memory
_NOBODY = 0  # whose share of downloads these are: no sandbox's
_ADVERTISE = """
UPDATE index_project SET document = %(document)s, digest = %(digest)s
WHERE name = %(name)s AND digest = %(former)s
RETURNING name"""


class Extraction:
    """Looks at wheels in the background. Nobody waits for it, and nobody is told when it fails."""

    def __init__(
        self, database: Database, store: Store, projects: Projects, origin: WheelOrigin, transfers: Transfers
    ) -> None:
        """Needs a running loop."""
        self._database = database
        self._store = store
        self._projects = projects
        self._origin = origin
        self._transfers = transfers
        self._looked: Lru[tuple[str, bool], bool] = Lru(budget.REMEMBERED)
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy = asyncio.Semaphore(_PAGES)
        origin.tell(self._bring, self._mend)

    def page_shown(self, shown: Shown, only: Sources = None) -> None:
        """`only`: the upstreams that may hear the name."""
        if only is not None and shown.page.source not in only:
            return
        if len(self._tasks) >= _MOST_WAITING:
            return  # another page's turn will come, when it is shown again
        files = [file for file in newest_without(shown.page) if not self._looked.get((file.sha256, False))]
        for file in files:
            self._looked.put((file.sha256, False), True)
        if files:
            self._start(self._look(shown, files))

    def file_given(self, stated: Stated, only: Sources = None) -> None:
        """Once more when it is stored: then its upstream need not know ranges."""
        file = stated.file
        if len(self._tasks) >= _MOST_WAITING:
            return
        lacking = file.filename.endswith(".whl") and not file.metadata_sha256
        if lacking and not self._looked.get((file.sha256, True)):
            self._start(self._look_at_stored(stated, only))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("wheels were not looked at", exc_info=error)

    async def _look_at_stored(self, stated: Stated, only: Sources) -> None:
        if not await self._store.has(stated.file.sha256):
            return
        self._looked.put((stated.file.sha256, True), True)
        try:
            shown = await self._projects.page(stated.project, only)
        except PetridishError:
            return
        file = shown.page.find(stated.file.filename, stated.file.sha256)
        if file is not None and not file.metadata_sha256:
            await self._look(shown, [file])

    async def _look(self, shown: Shown, files: Sequence[File]) -> None:
        async with self._busy:
            await self._read(shown, files)

    async def _mend(self, wheel: Wheel, source: str) -> bool:
        shown = await self._projects.known(wheel.project, "")
        if shown is None or shown.page.source != source:
            return False
        return await self._read(shown, [file for file in shown.page.files if file.sha256 == wheel.sha256])

    async def _read(self, shown: Shown, files: Sequence[File]) -> bool:
        """Whether there is anything that the page now says."""
        found: dict[str, str] = {}
        for file in files:
            try:
                found[file.sha256] = await self._store_metadata(shown.page, file)
            except PetridishError as error:
                logger.info("no metadata of %s: %s", file.filename, error)
        return bool(found) and await self._advertise(shown, found)

    async def _store_metadata(self, page: Page, file: File) -> str:
        wheel = Wheel(file.sha256, page.project, file.version, file.size)
        data = await self._origin.metadata(file.url, wheel, file.filename, page.source)
        digest = hashlib.sha256(data).hexdigest()
        blob = blob_of(Stated(page.project, with_metadata(file, digest), page.source), metadata=True)
        if blob is not None:
            await self._bring(blob)
        return digest

    async def _bring(self, blob: Blob) -> None:
        flight = await self._transfers.join(blob, _NOBODY)
        if flight is not None:
            await flight.kept(lambda: True)

    async def _advertise(self, shown: Shown, found: dict[str, str]) -> bool:
        """On the page as it is kept now; when that has changed meanwhile, its next showing looks again."""
        project = shown.page.project
        kept = await self._projects.known(project, shown.digest)
        if kept is None or kept.page.source != shown.page.source:
            return False
        files = tuple(
            with_metadata(file, found[file.sha256]) if file.sha256 in found else file
            for file in kept.page.files
        )
        document = await asyncio.to_thread(replace(kept.page, files=files).document)
        digest = hashlib.sha256(document).hexdigest()
        values = {"name": project, "former": kept.digest, "digest": digest, "document": document}
        return bool(await self._database.rows(_ADVERTISE, values))


def with_metadata(file: File, sha256: str) -> File:
    return replace(file, metadata_sha256=sha256, extracted=True)


def newest_without(page: Page) -> list[File]:
    """The wheels of the newest versions that have no metadata file."""
    if all(file.metadata_sha256 or not file.filename.endswith(".whl") for file in page.files):
        return []  # nearly always, and versions are slow to sort
    versions = sorted({file.version for file in page.files}, key=Version, reverse=True)[:_VERSIONS]
    return [
        file
        for file in page.files
        if file.version in versions and file.filename.endswith(".whl") and not file.metadata_sha256
    ][:_MOST]
