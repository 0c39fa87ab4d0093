"""Looks at all open tunnels every two seconds, in one statement: who is not allowed any more is cut.

What cannot be confirmed for `UNSURE` seconds, because the database does not answer, is cut as well: an
isolation must hold within five seconds whatever else is broken.
"""

import asyncio
import logging
from time import monotonic
from typing import Final

from sandboxes.index.egress.records import Records
from sandboxes.index.egress.tunnel import Tunnel
from sandboxes.index.errors import UnavailableError

logger = logging.getLogger(__name__)

EVERY: Final = 2.0  # seconds
UNSURE: Final = 5.0
IDLE: Final = 300.0  # without a byte in either direction
TOTAL: Final = 24 * 3600.0
_PROGRESS_TURNS: Final = 10
_LOST_TURNS: Final = 30
_UNWRITTEN: Final = 1000  # ends that wait for the database; beyond that the next proxy closes their rows

NOT_ALLOWED: Final = "The way out, or the sandbox’s readiness, ended."
STOPPED: Final = "The egress proxy was stopped."


class Watch:
    def __init__(self, records: Records, every: float = EVERY) -> None:
        self._records = records
        self._every = every
        self._open: dict[int, Tunnel] = {}
        self._ended: list[Tunnel] = []

    def add(self, tunnel: Tunnel) -> None:
        self._open[tunnel.number] = tunnel

    async def end(self, tunnel: Tunnel) -> None:
        """Writes down how it ended; later, if the database does not answer now."""
        self._open.pop(tunnel.number, None)
        if not await self._write(tunnel) and len(self._ended) < _UNWRITTEN:
            self._ended.append(tunnel)

    async def run(self) -> None:
        """Until cancelled."""
        turn = 0
        while True:
            await self._turn(turn)
            turn += 1
            await asyncio.sleep(self._every)

    def cut_all(self) -> None:
        for tunnel in list(self._open.values()):
            tunnel.cut(STOPPED)

    async def _turn(self, turn: int) -> None:
        asked = monotonic()
        try:
            async with asyncio.timeout(UNSURE - self._every):
                await self._confirm(asked)
                await self._rest(turn)
        except (UnavailableError, TimeoutError) as error:
            logger.warning("tunnels cannot be confirmed: %s", str(error) or "no answer in time")
        except Exception:  # whatever it was: what follows must happen
            logger.exception("tunnels cannot be confirmed")
        self._cut(monotonic())

    async def _confirm(self, asked: float) -> None:
        numbers = list(self._open)
        if not numbers:
            return
        allowed = await self._records.still_allowed(numbers)
        for number in numbers:
            tunnel = self._open.get(number)
            if tunnel is not None and number in allowed:
                tunnel.confirmed = asked
            elif tunnel is not None:
                tunnel.cut(NOT_ALLOWED)

    async def _rest(self, turn: int) -> None:
        """What is written now and then."""
        while self._ended and await self._write(self._ended[0]):
            self._ended.pop(0)
        if turn % _PROGRESS_TURNS == _PROGRESS_TURNS - 1 and self._open:
            await self._records.progress({number: (t.up, t.down) for number, t in self._open.items()})
        if turn % _LOST_TURNS == 0:
            await self._records.close_lost()

    def _cut(self, now: float) -> None:
        for tunnel in list(self._open.values()):
            if now - tunnel.confirmed > UNSURE - self._every:
                tunnel.cut("Nobody could say whether it was still allowed.")
            elif now - tunnel.touched > IDLE:
                tunnel.cut(f"Nothing passed for {IDLE:.0f} seconds.")
            elif now - tunnel.opened > TOTAL:
                tunnel.cut(f"It was open for {TOTAL / 3600:.0f} hours.")

    async def _write(self, tunnel: Tunnel) -> bool:
        try:
            await self._records.close(
                tunnel.number, up=tunnel.up, down=tunnel.down, reason=tunnel.reason, allowed=tunnel.allowed
            )
        except UnavailableError:
            return False
        return True
