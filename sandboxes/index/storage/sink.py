"""Where a download's chunks go: into the draft and into the hash, in a thread, so the loop stays free.

Chunks that come while the thread is busy make its next batch, so a fast upstream costs few turns and
a slow one no delay. What the draft cannot take, because the disk is full, comes back and goes to a window.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable

from sandboxes.index.storage.draft import Draft

_BATCH = 1024 * 1024  # bytes that wait for the thread before the download waits for it


class Sink:
    """`written`: told how many bytes are in the draft. `spilled`: given the chunks that are not, in order.

    `digest`: what all of it goes through.
    """

    def __init__(
        self,
        draft: Draft | None,
        written: Callable[[int], None],
        spilled: Callable[[bytes], Awaitable[None]],
        digest: "hashlib._Hash",
    ) -> None:
        self._draft = draft
        self._written = written
        self._spilled = spilled
        self._loop = asyncio.get_running_loop()
        self._digest = digest
        self._offset = 0
        self._waiting: list[bytes] = []
        self._weight = 0
        self._job: asyncio.Task[None] | None = None

    async def take(self, chunk: bytes) -> None:
        self._waiting.append(chunk)
        self._weight += len(chunk)
        if self._job is not None and self._job.done():
            await self._job  # raises what went wrong
            self._job = None
        if self._job is None:
            self._job = asyncio.create_task(self._drain())
        if self._weight >= _BATCH:
            await self._job

    async def end(self) -> str:
        """The digest of all that was taken, which is in its place now."""
        if self._job is not None:
            await self._job
        return self._digest.hexdigest()

    async def close(self) -> None:
        """Nobody writes to the draft any more when this returns."""
        if self._job is not None:
            self._job.cancel()
            await asyncio.gather(self._job, return_exceptions=True)

    async def _drain(self) -> None:
        while self._waiting:
            batch, self._waiting, self._weight = self._waiting, [], 0
            for chunk in await _finished(asyncio.to_thread(self._work, batch)):
                await self._spilled(chunk)

    def _work(self, batch: list[bytes]) -> list[bytes]:
        """In a thread. What did not fit."""
        left = self._write(batch)
        self._loop.call_soon_threadsafe(self._written, self._offset)  # hashing takes longer than writing
        for chunk in batch:
            self._digest.update(chunk)
        return left

    def _write(self, batch: list[bytes]) -> list[bytes]:
        if self._draft is None:
            return batch
        for position, chunk in enumerate(batch):
            count = self._draft.write(self._offset, chunk)
            self._offset += count
            if count < len(chunk):
                self._draft = None
                return [chunk[count:], *batch[position + 1 :]]
        return []


async def _finished[T](work: Awaitable[T]) -> T:
    """A thread cannot be cancelled, and it uses the draft's descriptor: whoever is cancelled waits for it first."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise
