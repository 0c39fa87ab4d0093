"""SSH at the index's own port: whoever knocks with a planted key is written down, and never let in.

SSH clients speak first, so its first bytes tell which protocol a connection speaks, and the seal needs no
second hole for it. What speaks it (`ssh.py`) costs each process some 25 MB (`ru_maxrss` before and after
`import asyncssh`): nearly none ever needs it, so it is loaded with the first client that does, beside the
event loop.
"""

import asyncio
import logging
from importlib import import_module
from typing import TYPE_CHECKING, Final

from sandboxes.index.honey import Honey

if TYPE_CHECKING:
    from sandboxes.index.ssh import Talk

GREETING: Final = b"SSH-"
MOST: Final = 16  # at a time in one process: agreeing on keys is work for it
TIME: Final = 30.0  # seconds that one may take
_EARLY: Final = 64 * 1024  # bytes that are kept while it is loaded; clients wait for an answer long before

logger = logging.getLogger(__name__)


class Door:
    def __init__(self, honey: Honey) -> None:
        self._honey = honey
        self._visits: set[Visit] = set()

    def enter(self, transport: asyncio.Transport) -> "Visit | None":
        """None: there are too many."""
        if len(self._visits) >= MOST:
            return None
        visit = Visit(self, transport)
        self._visits.add(visit)
        return visit

    async def talk(self, transport: asyncio.Transport) -> "Talk":
        module = await asyncio.to_thread(import_module, "sandboxes.index.ssh")
        talk: Talk = module.talk(self._honey, transport)
        return talk

    def left(self, visit: "Visit") -> None:
        self._visits.discard(visit)


class Visit:
    """One connection that speaks SSH. It ends with its transport."""

    def __init__(self, door: Door, transport: asyncio.Transport) -> None:
        self._door = door
        self._transport = transport
        self._early = bytearray()
        self._talk: Talk | None = None
        self._opening = asyncio.get_running_loop().create_task(self._open())

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
        if self._talk is not None:
            self._talk.connection_lost(error if isinstance(error, Exception) else None)

    async def _open(self) -> None:
        try:
            self._talk = await self._door.talk(self._transport)
        except Exception:
            logger.exception("a connection that speaks SSH could not be answered")
            self._transport.abort()
            return
        self._talk.data_received(bytes(self._early))
        self._early.clear()
