"""SSH at the index's own port: whoever knocks with a planted key is written down, and never let in.

SSH clients speak first, so its first bytes tell which protocol a connection speaks, and the seal needs no
second hole for it. What speaks it (`ssh.py`) costs each process some 25 MB (`ru_maxrss` before and after
`import asyncssh`): nearly none ever needs it, so it is loaded with the first client that does, beside the
event loop.

Whoever wants planted keys to go unseen fills the door with visits that say nothing. So one address has only a few,
and where there is no room, one that has offered no key yet makes place: of the address that has the most, the
oldest. Who comes with a key has offered it long before that.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Final

from sandboxes.index.honey import Honey

if TYPE_CHECKING:
    from sandboxes.index.ssh import Talk

GREETING: Final = b"SSH-"
MOST: Final = 16  # at a time in one process: agreeing on keys is work for it
OF_ONE: Final = 4  # of them from one address
TIME: Final = 30.0  # seconds that one may take
FIRST_KEY: Final = 5.0  # seconds of it until a key is offered
_EARLY: Final = 64 * 1024  # bytes that are kept while it is loaded; clients wait for an answer long before
_TOLD_EVERY: Final = 60.0  # seconds

logger = logging.getLogger(__name__)


class Door:
    def __init__(self, honey: Honey) -> None:
        self._honey = honey
        self._visits: dict[Visit, None] = {}  # the oldest first
        self._turned_away = 0  # since that was told
        self._tell_at = 0.0  # on the loop's clock

    def enter(self, transport: asyncio.Transport) -> "Visit | None":
        """None: there are too many."""
        address = str((transport.get_extra_info("peername") or ("",))[0])
        if not self._has_room_for(address):
            self._turn_away(address)
            return None
        visit = Visit(self, transport, address)
        self._visits[visit] = None
        return visit

    async def talk(self, transport: asyncio.Transport, offered: Callable[[], None]) -> "Talk":
        module = await asyncio.to_thread(import_module, "sandboxes.index.ssh")
        talk: Talk = module.talk(self._honey, transport, offered)
        return talk

    def left(self, visit: "Visit") -> None:
        self._visits.pop(visit, None)

    def _has_room_for(self, address: str) -> bool:
        """Makes it, if it can."""
        of_each = Counter(visit.address for visit in self._visits)
        if of_each[address] >= OF_ONE:
            return self._end_one([visit for visit in self._visits if visit.address == address])
        if len(self._visits) < MOST:
            return True
        return self._end_one(sorted(self._visits, key=lambda visit: -of_each[visit.address]))

    def _end_one(self, visits: "list[Visit]") -> bool:
        """The first that has offered no key."""
        found = next((visit for visit in visits if not visit.has_offered), None)
        if found is not None:
            self._turn_away(found.address)
            self.left(found)
            found.end()
        return found is not None

    def _turn_away(self, address: str) -> None:
        self._turned_away += 1
        now = asyncio.get_running_loop().time()
        if now >= self._tell_at:
            said = "%s SSH connections were ended because there were too many, the last of %s"
            logger.warning(said, self._turned_away, address)
            self._turned_away, self._tell_at = 0, now + _TOLD_EVERY


class Visit:
    """One connection that speaks SSH. It ends with its transport."""

    def __init__(self, door: Door, transport: asyncio.Transport, address: str) -> None:
        self.address = address
        self.has_offered = False  # a key
        self._door = door
        self._transport = transport
        self._early = bytearray()
        self._talk: Talk | None = None
        self._silent: asyncio.TimerHandle | None = None
        self._opening = asyncio.get_running_loop().create_task(self._open())

    def offered(self) -> None:
        self.has_offered = True

    def end(self) -> None:
        self._transport.abort()

    def received(self, data: bytes) -> None:
        if self._talk is not None:
            self._talk.data_received(data)
        elif len(self._early) + len(data) > _EARLY:
            self._transport.abort()
        else:
            self._early += data

    def lost(self, error: BaseException | None) -> None:
        self._door.left(self)
        self._opening.cancel()
        if self._silent is not None:
            self._silent.cancel()
        if self._talk is not None:
            self._talk.connection_lost(error if isinstance(error, Exception) else None)

    async def _open(self) -> None:
        try:
            self._talk = await self._door.talk(self._transport, self.offered)
        except Exception:
            logger.exception("a connection that speaks SSH could not be answered")
            self._transport.abort()
            return
        self._silent = asyncio.get_running_loop().call_later(FIRST_KEY, self._end_if_silent)
        self._talk.data_received(bytes(self._early))
        self._early.clear()

    def _end_if_silent(self) -> None:
        if not self.has_offered:
            self.end()
