"""Prepares answers: finds what is asked for, decides it, and has its first bytes at hand, but sends nothing."""

import asyncio
import hashlib
from functools import partial

from aiohttp import web

from sandboxes.index import holding, own_names
from sandboxes.index.candidates import Stated
from sandboxes.index.core_metadata import MetadataCheck
from sandboxes.index.errors import UnavailableError, UnknownError, UpstreamError
from sandboxes.index.extraction import Extraction
from sandboxes.index.file_answer import FileAnswer, connected, unchanged
from sandboxes.index.files import Files, Wanted, blob_of
from sandboxes.index.flight import Blob, Flight
from sandboxes.index.judge import Judge
from sandboxes.index.legacy import Legacy, LegacyAnswer, render_legacy
from sandboxes.index.names import release_of
from sandboxes.index.negotiation import Coding, Form
from sandboxes.index.once import seen
from sandboxes.index.page_answer import Bodies, Body, PageAnswer
from sandboxes.index.policy.facts import Ecosystem
from sandboxes.index.policy.waivers import Subject
from sandboxes.index.projects import Arrival, Projects
from sandboxes.index.recorder import Received
from sandboxes.index.render import render_names, render_page
from sandboxes.index.screening import facts
from sandboxes.index.screening.bringing import Beside, Bringing
from sandboxes.index.screening.jobs import Jobs
from sandboxes.index.store import Store
from sandboxes.index.transfers import Transfers
from sandboxes.index.upstreams import Sources
from sandboxes.index.views import View


class Answers:
    def __init__(
        self,
        judge: Judge,
        projects: Projects,
        files: Files,
        transfers: Transfers,
        store: Store,
        extraction: Extraction,
        jobs: Jobs,
        beside: Beside,
        index_url: str = "",
    ) -> None:
        """`index_url`: the index's own, as sandboxes know it."""
        self._judge = judge
        self._projects = projects
        self._files = files
        self._transfers = transfers
        self._store = store
        self._extraction = extraction
        self._jobs = jobs
        self._bringing, self._beside = Bringing(jobs), beside
        self._index_url = index_url
        self._bodies = Bodies()
        self._metadata = MetadataCheck(store)

    async def names(self, subject: Subject, form: Form, coding: Coding) -> PageAnswer:
        names = await self._projects.names(subject.sandbox)
        digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
        return PageAnswer(
            await self._bodies.get(digest, form, coding, len(names), lambda: render_names(names, form))
        )

    async def page(
        self, subject: Subject, project: str, form: Form, coding: Coding, client: str = ""
    ) -> PageAnswer:
        """As policy lets `subject` see it; whatever it refuses, the page itself is given.

        All but the page of an own name (`own_names.py`), to a `client` that shows why not.
        """
        only = await self._judge.sources(subject, project)
        try:
            arrival = await self._projects.arrival(project, only, partial(self._judge.expect, project))
        except UnknownError:
            if only is None:
                raise
            if own_names.shows_refused_pages(client):
                raise self._judge.own_project(project) from None
            return await self._own_name(project, form, coding)
        shown = arrival.shown
        view = await self._judge.view(subject, shown)
        made = self._made(arrival, view, form, coding, only)
        if arrival.writing is None:
            body: Body | asyncio.Task[Body] = await made
        else:
            body = asyncio.create_task(made)
            body.add_done_callback(seen)
        return PageAnswer(body, shown.stale, withheld=view.withheld, settled_until=view.settled_until)

    async def _made(self, arrival: Arrival, view: View, form: Form, coding: Coding, only: Sources) -> Body:
        shown = arrival.shown
        digest = f"{shown.digest}{view.digest}{self._index_url}"
        render = partial(render_page, shown.page, form, view.marks, self._index_url)
        body = await self._bodies.get(digest, form, coding, len(shown.page.files), render)
        await arrival.kept()
        self._extraction.page_shown(shown, only)
        self._files.page_shown(shown)
        return body

    async def legacy(self, subject: Subject, project: str, coding: Coding, base: str) -> LegacyAnswer:
        """The same for mirrors. `base`: the index's URL as the client knows it."""
        only = await self._judge.sources(subject, project)
        try:
            shown = await self._projects.page(project, only)
        except UnknownError:
            if only is None:
                raise
            raise self._judge.own_project(project) from None
        view = await self._judge.view(subject, shown)
        page, base = shown.page, self._index_url or base
        render = partial(render_legacy, page, view.marks, base)
        digest = f"{shown.digest}{view.digest}{base}"
        body = await self._bodies.get(digest, Legacy.JSON, coding, len(page.files), render)
        return LegacyAnswer(PageAnswer(body, shown.stale, withheld=view.withheld))

    async def _own_name(self, project: str, form: Form, coding: Coding) -> PageAnswer:
        page = own_names.page_of(project)
        digest = hashlib.sha256(page.document()).hexdigest()
        body = self._bodies.get(digest, form, coding, len(page.files), lambda: render_page(page, form))
        return PageAnswer(await body, withheld=own_names.WITHHELD)

    async def file(self, request: web.Request, wanted: Wanted, subject: Subject) -> FileAnswer:
        """The same for the file, its metadata, HEAD and ranges: found, decided, and only then touched."""
        only = await self._judge.sources(subject, wanted.project)
        stated, blob = await self._found(wanted, only)
        if not await self._judge.check(subject, stated):
            await self._on_hold(request, stated, subject, only)
        file = stated.file
        flight = await self._flight(request, wanted, blob, subject.sandbox)
        if flight is not None and not await self._judge.check(subject, stated):
            # It may have waited for as long as a download takes: what was decided since holds for it too.
            raise UnavailableError(f"{file.filename} is being screened; try again.")
        if wanted.metadata:
            await self._metadata.check(blob.sha256, wanted.project, file.version, blob.what)
        size = await self._size(blob, flight)
        # Also for a part of a file and for a 304 (the client has it): better an install too many than one too few.
        given = request.method == "GET" and not wanted.metadata
        received = Received(file.version, file.sha256, size) if given else None
        if given:
            self._extraction.file_given(stated, only)
        refetch = partial(self._transfers.join, blob, subject.sandbox)
        check = partial(self._judge.check, subject, stated)
        return FileAnswer(blob, size, self._store, flight, received, refetch, check)

    async def _found(self, wanted: Wanted, only: Sources) -> tuple[Stated, Blob]:
        try:
            return await self._files.find(wanted, only)
        except UnknownError:
            if only is None:
                raise
            version = release_of(wanted.project, wanted.filename) or own_names.ANY
            raise self._judge.own_name(wanted.project, version) from None

    async def _on_hold(self, request: web.Request, stated: Stated, subject: Subject, only: Sources) -> None:
        """Fetches the file meanwhile, so there is something to screen, and gives none of it away."""
        blob = blob_of(stated)
        flight = await self._transfers.join(blob, subject.sandbox) if blob else None
        verdict = self._judge.wait(subject, stated)
        await holding.on_hold(
            verdict, flight, partial(connected, request), partial(self._screen, stated, only)
        )

    async def _screen(self, stated: Stated, only: Sources) -> None:
        if not await self._store.has(stated.file.sha256):
            return  # the disk is full: whoever screens would find nothing
        try:
            page = (await self._projects.page(stated.project, only)).page
        except (
            UnknownError,
            UpstreamError,
        ):  # given without its page (`files.py`): then little is known beside it
            await self._jobs.want(stated.file.sha256, facts.of_stated(stated, Ecosystem.PYPI))
            return
        said = await facts.of_file(page, stated.file)
        await self._bringing.want(stated.file.sha256, said, partial(self._beside.bring, page, said, only))

    async def close(self) -> None:
        await self._bringing.close()

    async def _flight(self, request: web.Request, wanted: Wanted, blob: Blob, sandbox: int) -> Flight | None:
        """The flight to follow, far enough to begin answering; None when the blob is stored or no bytes will leave."""
        if blob.size is not None and (request.method == "HEAD" or unchanged(request, blob)):
            return None
        flight = await self._transfers.join(blob, sandbox)
        if flight is not None:
            # A part of a file, or its mere size, is read from the store; a download is followed from its start only.
            stored = wanted.metadata or request.method == "HEAD" or "Range" in request.headers
            await holding.far_enough(flight, partial(connected, request), stored=stored)
        return flight

    async def _size(self, blob: Blob, flight: Flight | None) -> int:
        """While it arrives, the upstream's word (checked at the end); else what is stored; else the page's word."""
        if flight is not None and flight.live and flight.length is not None:
            return flight.length
        stored = await self._store.size(blob.sha256)
        return stored if stored is not None else blob.size or 0
