"""Prepares answers: finds what is asked for and has its first bytes at hand, but sends nothing."""

import hashlib
from functools import partial

from aiohttp import web

from sandboxes.index.core_metadata import MetadataCheck
from sandboxes.index.file_answer import FileAnswer, connected, unchanged
from sandboxes.index.files import Files, Wanted
from sandboxes.index.flight import Blob, Flight
from sandboxes.index.negotiation import Form
from sandboxes.index.page_answer import Bodies, PageAnswer
from sandboxes.index.projects import Projects
from sandboxes.index.recorder import Received
from sandboxes.index.render import render_names, render_page
from sandboxes.index.store import Store
from sandboxes.index.transfers import Transfers

# Bytes up to which a file is verified before its answer begins: a bad one is then a readable 502, not a cut connection.
_VERIFIED_FIRST = 256 * 1024


class Answers:
    def __init__(self, projects: Projects, files: Files, transfers: Transfers, store: Store) -> None:
        self._projects = projects
        self._files = files
        self._transfers = transfers
        self._store = store
        self._bodies = Bodies()
        self._metadata = MetadataCheck(store)

    async def names(self, form: Form, packed: bool) -> PageAnswer:
        names = await self._projects.names()
        digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
        return PageAnswer(
            await self._bodies.get(digest, form, packed, len(names), lambda: render_names(names, form))
        )

    async def page(self, project: str, form: Form, packed: bool) -> PageAnswer:
        shown = await self._projects.page(project)
        page = shown.page
        render = self._bodies.get(
            shown.digest, form, packed, len(page.files), lambda: render_page(page, form)
        )
        return PageAnswer(await render, shown.stale)

    async def file(self, request: web.Request, wanted: Wanted, sandbox: int) -> FileAnswer:
        """`sandbox` is who asks: a download that starts is counted as that sandbox's."""
        file, blob = await self._files.find(wanted)
        flight = await self._flight(request, wanted, blob, sandbox)
        if wanted.metadata:
            await self._metadata.check(blob.sha256, wanted.project, file.version, blob.what)
        size = self._size(blob, flight)
        # Also for a part of a file and for a 304 (the client has it): better an install too many than one too few.
        given = request.method == "GET" and not wanted.metadata
        received = Received(file.version, file.sha256, size) if given else None
        return FileAnswer(blob, size, self._store, flight, received)

    async def _flight(self, request: web.Request, wanted: Wanted, blob: Blob, sandbox: int) -> Flight | None:
        """The flight to follow, far enough to begin answering; None when the blob is stored or no bytes will leave."""
        if blob.size is not None and (request.method == "HEAD" or unchanged(request, blob)):
            return None
        flight = await self._transfers.join(blob, sandbox)
        if flight is None:
            return None
        present = partial(connected, request)
        await flight.opened(present)
        small = flight.length is None or flight.length <= _VERIFIED_FIRST
        # A part of a file, or its mere size, is answered from the store; a download is followed from its start only.
        if small or wanted.metadata or request.method == "HEAD" or "Range" in request.headers:
            await flight.kept(present)
        return flight

    def _size(self, blob: Blob, flight: Flight | None) -> int:
        """While it arrives, the upstream's word (checked at the end); else what is stored; else the page's word."""
        if flight is not None and flight.live and flight.length is not None:
            return flight.length
        stored = self._store.size(blob.sha256)
        return stored if stored is not None else blob.size or 0
