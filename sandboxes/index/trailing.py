"""Another process fetches the file. Its draft is followed as it grows, where the two share a folder.

Elsewhere only what is stored can be seen, so clients wait for that. When the other process dies, this one
takes its lease, and its draft, over; when it gives up, clients that have no bytes yet do not notice.
"""

import asyncio
import os
from time import monotonic

from sandboxes.index.errors import UnavailableError
from sandboxes.index.flight import Blob, Flight
from sandboxes.index.storage.draft import is_abandoned
from sandboxes.index.storage.folder import Folder
from sandboxes.index.store import Store

_POLL = 0.01  # seconds between looks at the draft
_QUIET = 0.3  # seconds without growth until it is asked whether its writer lives
_BLOCK = 1024 * 1024


class Trail:
    def __init__(self, flight: Flight, store: Store) -> None:
        self._flight = flight
        self._store = store
        self._sha256 = flight.blob.sha256
        self._descriptor: int | None = None
        self._grown_at = monotonic()

    async def run(self, patience: float) -> None:
        """Returns when the lease may be free, or no draft was seen for so many seconds.

        Raises when the other process gave up a file that clients have in part.
        """
        until = monotonic() + patience
        try:
            while not await self._is_over():
                if self._descriptor is None and monotonic() > until:
                    return
                await asyncio.sleep(_POLL)
        finally:
            if self._descriptor is not None:
                os.close(self._descriptor)

    async def _is_over(self) -> bool:
        if self._store.place.quick and await self._store.has(self._sha256):
            return True
        if self._descriptor is None:
            self._find()
        return self._descriptor is not None and self._look(self._descriptor)

    def _find(self) -> None:
        self._descriptor = self._store.drafts.look(self._sha256)
        if self._descriptor is not None:
            self._flight.start(self._descriptor)

    def _look(self, descriptor: int) -> bool:
        """Whether its writer is gone, one way or another."""
        found = os.fstat(descriptor)
        if found.st_nlink == 0:
            return True
        if found.st_size > self._flight.written:
            self._grown_at = monotonic()
            self._flight.grow(found.st_size)
            if not self._flight.begun and self._flight.length is not None:
                self._flight.open(None)
        return monotonic() - self._grown_at > _QUIET and is_abandoned(descriptor)


async def arrived(flight: Flight, store: Store) -> None:
    """The file is in the store. What clients were given of a draft must be of that file; raises if it is not."""
    if flight.begun:
        descriptor = flight.descriptor
        flight.grow(os.fstat(descriptor).st_size)
        if not _is_stored(descriptor, flight, store):
            digest = await asyncio.to_thread(_digest, descriptor, flight.blob)
            if digest != flight.blob.sha256:
                raise UnavailableError(f"{flight.blob.what} was given up by another process; try again.")
    flight.store()


def _is_stored(descriptor: int, flight: Flight, store: Store) -> bool:
    """Whether the draft that was followed is the very file that is stored now."""
    if not isinstance(store.place, Folder):
        return False
    try:
        stored = store.place.place(flight.blob.sha256).stat()
    except OSError:
        return False
    return os.path.samestat(os.fstat(descriptor), stored)


def _digest(descriptor: int, blob: Blob) -> str:
    digest, offset = blob.hasher(), 0
    while block := os.pread(descriptor, _BLOCK, offset):
        digest.update(block)
        offset += len(block)
    return digest.hexdigest()
