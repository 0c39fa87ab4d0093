"""From a blob to its bytes: in the store already, or in flight.

One flight per blob, however many ask, and one fetch of all processes that share a storage: whoever has the
lease fetches, the others follow its draft or wait.

Flights are few, so each counts as the sandbox's that started it, and a sandbox
has a share of its own. While half of all are free it may have more than that:
uv asks for fifty files at once, and slow large ones would else be refused to the
only one who wants any. So no sandbox can have more than half.
"""

import asyncio
import logging
from dataclasses import dataclass
from time import monotonic

from sandboxes.errors import PetridishError
from sandboxes.index.errors import UnavailableError
from sandboxes.index.flight import Blob, Flight
from sandboxes.index.leading import Leader, Origin
from sandboxes.index.storage.draft import Draft
from sandboxes.index.storage.leases import Lease, Leases
from sandboxes.index.store import Store
from sandboxes.index.trailing import Trail, arrived
from sandboxes.index.troubles import Troubles

logger = logging.getLogger(__name__)

_MOST = 64  # flights at once; each holds a descriptor and an upstream connection
_SHARE = 8  # flights each sandbox may always have
_PATIENCE = 10.0  # seconds to wait for one of one's own flights to end; Poetry gives up after 15
_PAUSE = 0.05  # seconds between two tries for the lease, at least
_FIRST, _LAST = (
    0.1,
    1.0,
)  # seconds to wait for another process whose draft cannot be seen, until the lease is tried


@dataclass(frozen=True, slots=True)
class _Running:
    flight: Flight
    task: asyncio.Task[None]
    sandbox: int


class Transfers:
    def __init__(self, store: Store, origin: Origin, leases: Leases, troubles: Troubles) -> None:
        self._store = store
        self._origin = origin
        self._leases = leases
        self._troubles = troubles
        self._running: dict[str, _Running] = {}

    async def join(self, blob: Blob, sandbox: int) -> Flight | None:
        """The blob's flight, started if need be; None when the blob is stored. Raises `UnavailableError`."""
        until = monotonic() + _PATIENCE
        while not await self._store.has(blob.sha256):
            running = self._running.get(blob.sha256)
            if running is not None and running.flight.stored:  # and gone again before all was put away
                await asyncio.wait([running.task])
                continue
            if running is not None and running.flight.joinable:
                running.flight.expect(blob)
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
        flight = Flight(blob)
        flight.expect(blob)
        task = asyncio.create_task(self._fly(flight))
        running = _Running(flight, task, sandbox)
        # Removed only when it has ended, so its file is in the store first: nobody can fall between the two.
        task.add_done_callback(lambda _: self._forget(running))
        self._running[blob.sha256] = running
        return flight

    def _forget(self, running: _Running) -> None:
        if self._running.get(running.flight.blob.sha256) is running:
            del self._running[running.flight.blob.sha256]

    async def _fly(self, flight: Flight) -> None:
        """Never raises but for cancellation: clients get the failure."""
        try:
            await self._bring(flight)
        except PetridishError as error:
            logger.warning("%s not stored: %s", flight.blob.what, error)
            if not flight.right:
                flight.fail(error)
        except BaseException as error:
            flight.fail(UnavailableError("The index is stopping, or broke; try again."))
            if not isinstance(error, asyncio.CancelledError):
                logger.exception("%s not stored", flight.blob.what)
            raise
        finally:
            flight.end()

    async def _bring(self, flight: Flight) -> None:
        """Fetches it, or waits until another process has; takes over from one that died."""
        sha256, patience = flight.blob.sha256, _FIRST
        while not await self._store.has(sha256):
            lease = await self._leases.take(sha256)
            if lease is not None:
                try:
                    if await self._store.has(sha256):
                        break
                    draft = self._store.drafts.take(sha256)
                    if draft is not None:
                        await self._lead(flight, draft, lease)
                        return
                finally:
                    await lease.drop()
            await Trail(flight, self._store).run(patience)
            if self._store.place.quick and await self._store.has(sha256):
                break
            await asyncio.sleep(_PAUSE)
            patience = min(patience * 2, _LAST)
        await arrived(flight, self._store)

    async def _lead(self, flight: Flight, draft: Draft, lease: Lease) -> None:
        await Leader(flight, draft, self._store, self._origin, self._troubles, lease.drop).run()

    async def close(self) -> None:
        tasks = [running.task for running in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
