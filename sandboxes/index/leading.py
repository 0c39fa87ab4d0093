"""This process fetches a file: into the draft, verified, then to its place.

It runs on while a client is there, and shortly beyond, so one that tries again finds it. It ends early when
nobody is left, or when it is slower than any use. When the disk fills, the rest is passed on unstored.

What a page claims of a file's size costs nobody anything: room is made, and others' files go for it, only once
the upstream has begun to answer and its length is the page's. Where it says no length, room is made
bit by bit, for what has come.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from time import monotonic
from typing import Protocol

from sandboxes.index.errors import UnavailableError, UnusableError, UpstreamError
from sandboxes.index.flight import ALGORITHMS, LOOK, Blob, Flight
from sandboxes.index.storage.disk import FullError
from sandboxes.index.storage.draft import Draft
from sandboxes.index.storage.sink import Sink
from sandboxes.index.store import Store
from sandboxes.index.troubles import Troubles
from sandboxes.index.upstream import Download

logger = logging.getLogger(__name__)

FULL = "index_full"
_FULL_DISK = "The index’s disk is full: files that are not stored yet are passed on unstored."
_FORSAKEN = 10.0  # seconds without a client
_START = 30.0  # seconds until the average speed counts
_SLOWEST = 64 * 1024  # bytes per second on average
_STEP = 4 * 1024 * 1024  # bytes that room is made for at a time, of a file whose length is not known


class Origin(Protocol):
    """Where files are fetched from; raises `UpstreamError`, or `UnknownError` when it has the file no more."""

    def file(self, url: str, what: str, source: str) -> AbstractAsyncContextManager[Download]: ...


class Leader:
    """`leave`: called when this draft will never be the file, so that other processes need not wait for it."""

    def __init__(
        self,
        flight: Flight,
        draft: Draft,
        store: Store,
        origin: Origin,
        troubles: Troubles,
        leave: Callable[[], Awaitable[None]],
    ) -> None:
        self._flight = flight
        self._draft = draft
        self._store = store
        self._origin = origin
        self._troubles = troubles
        self._leave = leave
        self._reserved = False  # all of it has its room
        self._held = 0  # bytes that room was made for
        self._closed = False  # nothing more is stored
        self._discarded = False
        self._received = 0
        self._started = monotonic()
        self._sink = Sink(draft, flight.grow, self._spilled, flight.blob.hasher())

    @property
    def _blob(self) -> Blob:
        return self._flight.blob

    async def run(self) -> None:
        """Downloads, verifies, keeps; raises what went wrong."""
        kept = False
        try:
            self._flight.start(self._draft.descriptor)
            self._flight.grow(self._draft.inherited)
            self._verify(await self._watched())
            self._flight.verify()
            kept = await self._keep()
        finally:
            self._store.room.give_back(self._held - (self._received if kept else 0))
            if not kept:
                self._discard()
            self._draft.close()

    async def _keep(self) -> bool:
        if self._flight.window is not None:
            return False
        await self._store.place.keep(self._draft, self._blob.sha256)
        self._flight.store()
        return True

    def _discard(self) -> None:
        """Once: then the name may be another's."""
        if not self._discarded:
            self._discarded = True
            self._draft.discard()

    async def _reserve(self, length: int | None) -> None:
        """Space is taken before anything is received, as far as its length is known."""
        roomy = await self._make_room(min(self._flight.largest, _STEP) if length is None else length)
        if length and roomy:
            try:
                await asyncio.to_thread(self._draft.reserve, length)
            except FullError:
                await self._close(_FULL_DISK)
        self._reserved = length is not None

    async def _make_room(self, size: int) -> bool:
        """For `size` bytes in all; without it, nothing more is stored."""
        why = await self._store.room.make(size, self._held)
        if why:
            await self._close(why)
            return False
        self._held = size
        return True

    async def _close(self, why: str) -> None:
        self._closed = True
        self._draft.close_to_more()
        await self._troubles.tell(FULL, why)

    async def _watched(self) -> str:
        """The digest of all that was received, unless something says to end before."""
        receiving = asyncio.create_task(self._download())
        try:
            while not (await asyncio.wait([receiving], timeout=LOOK))[0]:
                self._check_worth()
            return await receiving
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)
            await self._sink.close()

    def _check_worth(self) -> None:
        """Raises when the download is not worth going on."""
        if self._flight.forsaken > _FORSAKEN:
            raise UnavailableError(f"Nobody waited for {self._blob.what} any more; try again.")
        if self._received < (monotonic() - self._started - _START) * _SLOWEST:
            raise UpstreamError(f"The upstream sends {self._blob.what} too slowly.")
        if not self._reserved and self._store.room.short():
            self._draft.close_to_more()

    async def _download(self) -> str:
        async with self._origin.file(self._blob.url, self._blob.what, self._blob.source) as download:
            await self._open(download)
            return await self._receive(download)

    async def _open(self, download: Download) -> None:
        if download.length is not None:
            self._check_size(download.length)
            if self._blob.size not in (None, download.length):
                raise UnusableError(
                    f"{self._blob.what} has {download.length} bytes upstream, "
                    f"not {self._blob.size} as its page says."
                )
        await self._reserve(download.length)
        self._flight.open(download.length)

    async def _receive(self, download: Download) -> str:
        async for chunk in download.chunks:
            self._received += len(chunk)
            self._check_size(self._received)
            if self._flight.length is not None and self._received > self._flight.length:
                raise UnusableError(
                    f"The upstream sends more of {self._blob.what} than its {self._flight.length} bytes."
                )
            if self._received > self._held and not self._closed:
                await self._make_room(self._received + _STEP)
            await self._sink.take(chunk)
        return await self._sink.end()

    async def _spilled(self, chunk: bytes) -> None:
        if self._flight.window is None:
            self._flight.spill()
            self._discard()
            await self._leave()
            await self._troubles.tell(FULL, _FULL_DISK)
        await self._flight.pass_on(chunk)

    def _check_size(self, size: int) -> None:
        if size > self._flight.largest:
            raise UnusableError(f"{self._blob.what} is larger than {_readable(self._flight.largest)}.")

    def _verify(self, digest: str) -> None:
        length = self._flight.length
        if length is not None and self._received != length:
            raise UpstreamError(f"The upstream sent {self._received} of {length} bytes of {self._blob.what}.")
        if digest != self._blob.sha256:
            algorithm = ALGORITHMS[len(self._blob.sha256)]
            raise UnusableError(
                f"The upstream's {self._blob.what} has another {algorithm} than its page says."
            )


def _readable(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size} bytes"
