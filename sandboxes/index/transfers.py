"""From a blob to its bytes: in the store already, or in flight.

One flight per blob and process, however many ask. Two processes that share a
folder may both fetch the same blob; each verifies its own draft, and the rename
of the second replaces equal bytes by equal bytes.

Flights are few, so each counts as the sandbox's that started it, and a sandbox
has a share of its own. While half of all are free it may have more than that:
uv asks for fifty files at once, and slow large ones would else be refused to the
only one who wants any. So no sandbox can have more than half.
"""

import asyncio
from dataclasses import dataclass
from time import monotonic

from sandboxes.index.errors import UnavailableError
from sandboxes.index.flight import Blob, Flight
from sandboxes.index.store import Store
from sandboxes.index.upstream import Upstream

_MOST = 64  # flights at once; each holds a descriptor and an upstream connection
_SHARE = 8  # flights each sandbox may always have
_PATIENCE = 10.0  # seconds to wait for one of one's own flights to end; Poetry gives up after 15


@dataclass(frozen=True, slots=True)
class _Running:
    flight: Flight
    task: asyncio.Task[None]
    sandbox: int


class Transfers:
    def __init__(self, store: Store, upstream: Upstream) -> None:
        self._store = store
        self._upstream = upstream
        self._running: dict[str, _Running] = {}

    async def join(self, blob: Blob, sandbox: int) -> Flight | None:
        """The blob's flight, started if need be; None when the blob is stored. Raises `UnavailableError`."""
        until = monotonic() + _PATIENCE
        while not self._store.has(blob.sha256):
            running = self._running.get(blob.sha256)
            if running is not None:
                return running.flight
            own = [running.task for running in self._running.values() if running.sandbox == sandbox]
            if len(own) < _SHARE or len(self._running) < _MOST // 2:
                return self._start(blob, sandbox)
            done, _ = await asyncio.wait(
                own, timeout=until - monotonic(), return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                raise UnavailableError(f"The sandbox is fetching {len(own)} files at once; try again.")
        return None

    def _start(self, blob: Blob, sandbox: int) -> Flight:
        if len(self._running) >= _MOST:
            raise UnavailableError("The index is fetching too many files at once; try again.")
        arriving = sum(running.flight.missing for running in self._running.values())
        self._store.check_room(arriving + (blob.size or 0))
        flight = Flight(blob, self._store, self._upstream)
        task = asyncio.create_task(flight.run())
        # Removed only when it has ended, so its file is in the store first: nobody can fall between the two.
        task.add_done_callback(lambda _: self._running.pop(blob.sha256))
        self._running[blob.sha256] = _Running(flight, task, sandbox)
        return flight

    async def close(self) -> None:
        tasks = [running.task for running in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
