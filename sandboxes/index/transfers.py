"""From a blob to its bytes: in the store already, or in flight.

One flight per blob and process, however many ask. Two processes that share a
folder may both fetch the same blob; each verifies its own draft, and the rename
of the second replaces equal bytes by equal bytes.
"""

import asyncio

from sandboxes.index.errors import UnavailableError
from sandboxes.index.flight import Blob, Flight
from sandboxes.index.store import Store
from sandboxes.index.upstream import Upstream

_MOST = 64  # flights at once; each holds a descriptor and an upstream connection


class Transfers:
    def __init__(self, store: Store, upstream: Upstream) -> None:
        self._store = store
        self._upstream = upstream
        self._flights: dict[str, tuple[Flight, asyncio.Task[None]]] = {}

    def join(self, blob: Blob) -> Flight | None:
        """The blob's flight, started if need be; None when the blob is stored. Raises `UnavailableError`."""
        if self._store.has(blob.sha256):
            return None
        if blob.sha256 not in self._flights:
            self._start(blob)
        return self._flights[blob.sha256][0]

    def _start(self, blob: Blob) -> None:
        if len(self._flights) >= _MOST:
            raise UnavailableError("The index is fetching too many files at once; try again.")
        flight = Flight(blob, self._store, self._upstream)
        task = asyncio.create_task(flight.run())
        # Removed only when it has ended, so its file is in the store first: nobody can fall between the two.
        task.add_done_callback(lambda _: self._flights.pop(blob.sha256))
        self._flights[blob.sha256] = (flight, task)

    async def close(self) -> None:
        tasks = [task for _, task in self._flights.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
