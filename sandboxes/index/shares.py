"""What one sandbox may take of a process: so many of its requests are in work at once, the others wait their turn.

Most of a share's requests wait for something (an upstream, a download, a verdict), so a share is more than a
client asks for at once, and less than keeps others waiting.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sandboxes.index.errors import UnavailableError

AT_ONCE = 64  # uv asks for 50 at once
_MOST_WAITING = 128
_WAIT = 5.0  # seconds for a place; then the client is told to come back


@dataclass
class _Share:
    places: asyncio.Semaphore
    asking: int = 0  # in work and waiting


class Shares:
    def __init__(self) -> None:
        self._at_once = AT_ONCE
        self._shares: dict[int, _Share] = {}  # of sandboxes that ask for something now

    @asynccontextmanager
    async def place(self, sandbox: int) -> AsyncIterator[None]:
        """Raises `UnavailableError` when none becomes free soon."""
        share = self._shares.setdefault(sandbox, _Share(asyncio.Semaphore(self._at_once)))
        share.asking += 1
        try:
            await self._taken(share)
            try:
                yield
            finally:
                share.places.release()
        finally:
            share.asking -= 1
            if not share.asking:
                del self._shares[sandbox]

    async def _taken(self, share: _Share) -> None:
        if share.asking > self._at_once + _MOST_WAITING:
            raise self._too_much()
        try:
            async with asyncio.timeout(_WAIT):
                await share.places.acquire()
        except TimeoutError:
            raise self._too_much() from None

    def _too_much(self) -> UnavailableError:
        return UnavailableError(f"This sandbox asks for more than {self._at_once} things at once; try again.")
