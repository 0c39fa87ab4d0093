"""Doing a thing once, however many want its result at the same time."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable


class Once[K: Hashable, V]:
    """One running task per key. Whoever asks meanwhile waits for the same result, or the same error.

    A waiter that goes away (its client hung up) does not stop the task.
    """

    def __init__(self) -> None:
        self._running: dict[K, asyncio.Task[V]] = {}

    async def do(self, key: K, work: Callable[[], Awaitable[V]]) -> V:
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._run(key, work))
            task.add_done_callback(seen)
            self._running[key] = task
        return await asyncio.shield(task)

    async def _run(self, key: K, work: Callable[[], Awaitable[V]]) -> V:
        try:
            return await work()
        finally:
            del self._running[key]

    async def close(self) -> None:
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def seen[V](task: asyncio.Task[V]) -> None:
    """An error that nobody waited for any more is not worth asyncio's own complaint."""
    if not task.cancelled():
        task.exception()
