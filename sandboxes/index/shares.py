"""What one sandbox may take of a process: so many of its requests are in work at once, the others wait their turn.

Most of a share's requests wait for something (an upstream, a download, a verdict), so a share is more than a
client asks for at once, and less than keeps others waiting.
"""

import asyncio
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

    def place(self, sandbox: int) -> "_Place":
        """To be held with `async with`; raises `UnavailableError` when none becomes free soon."""
        return _Place(self, sandbox)

    async def take(self, sandbox: int) -> _Share:
        share = self._shares.setdefault(sandbox, _Share(asyncio.Semaphore(self._at_once)))
        share.asking += 1
        try:
            await self._taken(share)
        except BaseException:
            self._left(sandbox, share)
            raise
        return share

    def give_back(self, sandbox: int, share: _Share) -> None:
        share.places.release()
        self._left(sandbox, share)

    def _left(self, sandbox: int, share: _Share) -> None:
        share.asking -= 1
        if not share.asking:
            del self._shares[sandbox]

    async def _taken(self, share: _Share) -> None:
        if share.asking > self._at_once + _MOST_WAITING:
            raise self._too_much()
        if not share.places.locked():
            await share.places.acquire()  # at once
            return
        try:
            async with asyncio.timeout(_WAIT):
                await share.places.acquire()
        except TimeoutError:
            raise self._too_much() from None

    def _too_much(self) -> UnavailableError:
        return UnavailableError(f"This sandbox asks for more than {self._at_once} things at once; try again.")


class _Place:
    """Each request has one, so it is no generator: those cost four times as much."""

    __slots__ = ("_sandbox", "_share", "_shares")

    def __init__(self, shares: Shares, sandbox: int) -> None:
        self._shares = shares
        self._sandbox = sandbox
        self._share: _Share | None = None

    async def __aenter__(self) -> None:
        self._share = await self._shares.take(self._sandbox)

    async def __aexit__(self, *_: object) -> None:
        if self._share is not None:
            self._shares.give_back(self._sandbox, self._share)
