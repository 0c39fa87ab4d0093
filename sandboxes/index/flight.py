"""One download of one blob, and any number of clients that follow it while it grows.

The download writes to a draft in the store; followers read the same bytes back
from the page cache, so memory does not grow with files or clients. Its last
`HELD_BACK` bytes are given to nobody until size and sha256 were verified and the
file was kept: whoever follows a download that fails has an incomplete file, and
its connection is cut, so no client ever sees a bad file as a complete one.

The download is a task of its own. Clients come and go; it runs on while one of
them is there, and shortly beyond, so a client that tries again finds it. It ends
early when nobody is left, when it is slower than any use, or when the disk fills.
"""

import asyncio
import hashlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic

from sandboxes.errors import PetridishError
from sandboxes.index.errors import UnavailableError, UpstreamError
from sandboxes.index.store import Store
from sandboxes.index.upstream import Download, Upstream

logger = logging.getLogger(__name__)

HELD_BACK = 64 * 1024  # bytes
_CHUNK = 256 * 1024
_LOOK = 1.0  # seconds between looks at whether to go on
_FORSAKEN = 10.0  # seconds without a client
_START = 30.0  # seconds until the average speed counts
_SLOWEST = 64 * 1024  # bytes per second on average


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes that can be verified: what they must hash to, and where they are. `size` None: not known before."""

    sha256: str
    size: int | None
    url: str
    what: str  # its name in messages
    largest: int | None = None  # bytes it may have at most


class Flight:
    def __init__(self, blob: Blob, store: Store, upstream: Upstream) -> None:
        self.blob = blob
        self.length = blob.size  # once `opened`: what the upstream says, if it says anything
        self._store = store
        self._upstream = upstream
        self._draft = store.draft()
        self._pulse = asyncio.Event()  # set, and replaced, at each change below
        self._opened = False
        self._written = 0
        self._kept = False
        self._failure: PetridishError | None = None
        self._started = monotonic()
        self._followers = 0
        self._wanted_at = self._started  # when a client that waits was last seen

    async def run(self) -> None:
        """Downloads, verifies, keeps. Never raises but for cancellation: followers get the failure."""
        try:
            with self._draft:
                self._verify(await self._watched())
                await self._draft.keep(self.blob.sha256)
                self._kept = True
        except PetridishError as error:
            logger.warning("%s not stored: %s", self.blob.what, error)
            self._failure = error
        except BaseException as error:
            self._failure = UnavailableError("The index is stopping, or broke; try again.")
            if not isinstance(error, asyncio.CancelledError):
                logger.exception("%s not stored", self.blob.what)
            raise
        finally:
            self._change()

    async def _watched(self) -> str:
        """The sha256 of all that was received, unless something says to end before."""
        receiving = asyncio.create_task(self._download())
        try:
            while not (await asyncio.wait([receiving], timeout=_LOOK))[0]:
                self._check_worth()
            return await receiving
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)  # it writes to the draft: first it ends

    def _check_worth(self) -> None:
        """Raises when the download is not worth going on."""
        now = monotonic()
        if not self._followers and now - self._wanted_at > _FORSAKEN:
            raise UnavailableError(f"Nobody waited for {self.blob.what} any more; try again.")
        if self._written < (now - self._started - _START) * _SLOWEST:
            raise UpstreamError(f"The upstream sends {self.blob.what} too slowly.")
        self._store.check_room(0)

    async def _download(self) -> str:
        async with self._upstream.file(self.blob.url, self.blob.what) as download:
            self._open(download)
            return await self._receive(download)

    @property
    def missing(self) -> int:
        """How many bytes are still to come, as far as is known."""
        return max((self.length or 0) - self._written, 0)

    @property
    def failure(self) -> PetridishError | None:
        return self._failure

    async def opened(self, present: Callable[[], bool]) -> None:
        """Returns when the upstream began to send; raises what went wrong before.

        `present`, here and below: whether the client is still connected.
        """
        await self._until(lambda: self._opened, present)

    async def kept(self, present: Callable[[], bool]) -> None:
        """Returns when the file is in the store; raises what went wrong."""
        await self._until(lambda: self._kept, present)

    @property
    def live(self) -> bool:
        """Whether it can be followed: it neither failed nor was kept."""
        return not self._kept and self._failure is None

    @contextmanager
    def follow(self, present: Callable[[], bool]) -> Iterator[AsyncIterator[bytes]]:
        """The blob's bytes as they arrive. Iterating raises before the end if the download fails.

        To be entered without waiting after `live` was true: the draft's descriptor is open just as long.
        """
        descriptor = os.dup(self._draft.descriptor)
        self._followers += 1
        try:
            yield self._chunks(descriptor, present)
        finally:
            self._followers -= 1
            os.close(descriptor)

    async def _chunks(self, descriptor: int, present: Callable[[], bool]) -> AsyncIterator[bytes]:
        sent = 0
        while not (self._kept and sent == self._written):
            ready = await self._ready(sent, present)
            chunk = os.pread(descriptor, min(_CHUNK, ready - sent), sent)
            sent += len(chunk)
            yield chunk

    @property
    def _safe(self) -> int:
        """How many bytes may leave before the file is verified."""
        return self._written - HELD_BACK

    async def _ready(self, sent: int, present: Callable[[], bool]) -> int:
        """Waits until more than `sent` bytes may leave, or the end is reached; how many may."""
        await self._until(lambda: self._kept or self._safe > sent, present)
        return self._written if self._kept else self._safe

    def _open(self, download: Download) -> None:
        if download.length is not None:
            self._check_size(download.length)
            self._store.check_room(download.length)
            if self.blob.size is not None and download.length != self.blob.size:
                raise UpstreamError(
                    f"{self.blob.what} has {download.length} bytes upstream, not {self.blob.size} as its page says."
                )
            self.length = download.length
        self._opened = True
        self._change()

    async def _receive(self, download: Download) -> str:
        digest = hashlib.sha256()
        async for chunk in download.chunks:
            self._draft.write(chunk)
            digest.update(chunk)
            self._written += len(chunk)
            self._check_size(self._written)
            if self.length is not None and self._written > self.length:
                raise UpstreamError(
                    f"The upstream sends more of {self.blob.what} than its {self.length} bytes."
                )
            self._change()
        return digest.hexdigest()

    def _check_size(self, size: int) -> None:
        if self.blob.largest is not None and size > self.blob.largest:
            raise UpstreamError(f"{self.blob.what} is larger than {self.blob.largest >> 20} MiB.")

    def _verify(self, digest: str) -> None:
        if self.length is not None and self._written != self.length:
            raise UpstreamError(
                f"The upstream sent {self._written} of {self.length} bytes of {self.blob.what}."
            )
        if digest != self.blob.sha256:
            raise UpstreamError(f"The upstream's {self.blob.what} has another sha256 than its page says.")

    def _change(self) -> None:
        pulse, self._pulse = self._pulse, asyncio.Event()
        pulse.set()

    async def _until(self, reached: Callable[[], bool], present: Callable[[], bool]) -> None:
        """Waits; and shows that somebody does. A client that hung up is noticed here: nothing is sent to it."""
        while not reached():
            if self._failure is not None:
                raise self._failure
            if not present():
                raise UnavailableError("The client hung up.")
            self._wanted_at = monotonic()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._pulse.wait(), _LOOK)
