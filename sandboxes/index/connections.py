"""The connections of one process: no more than it can carry, and none that only takes up room.

When there are as many as may be, one on which nothing is under way makes room for the next: first the one that has
waited longest. When all are at work, no more are accepted; other processes take them, or they wait in the socket.
A head that does not become whole in time ends its connection (slowloris).
"""

import asyncio
import resource
from collections.abc import Callable
from typing import Final, Protocol

MOST: Final = 4096
HEAD_TIME = 10.0  # seconds from a head's first byte to its last, and from a connection to its first head
_PER_CONNECTION: Final = 3  # descriptors: its own, that of a file, and that of the upstream or a draft
_LOOK = 1.0  # seconds between looks at heads


class Connection(Protocol):
    @property
    def waiting_since(self) -> float | None:
        """On the loop's clock: since when nothing is under way on it; None: something is."""

    @property
    def head_since(self) -> float | None:
        """Since when a head is awaited or incomplete; None: none is."""

    def force_close(self) -> None: ...


class Connections:
    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._open: set[Connection] = set()
        self._coming = 0  # accepted, but not open yet
        self._on_room: Callable[[], None] | None = None
        self._looking: asyncio.Task[None] | None = None

    def start(self, on_room: Callable[[], None]) -> None:
        """`on_room` is called whenever there may be room again."""
        self._on_room = on_room
        self._looking = asyncio.create_task(self._look())

    async def stop(self) -> None:
        self._on_room = None
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    @property
    def any(self) -> bool:
        return bool(self._open or self._coming)

    @property
    def full(self) -> bool:
        return len(self._open) + self._coming >= self._most

    def take_room(self) -> bool:
        """For one more, which `opened` or `given_up` has to follow; False: there is none now."""
        if self.full:
            self._close_one()
            return False  # a closed one leaves a moment later, and says so
        self._coming += 1
        return True

    def given_up(self) -> None:
        self._coming -= 1

    def opened(self, connection: Connection) -> None:
        self._coming -= 1
        self._open.add(connection)

    def closed(self, connection: Connection) -> None:
        self._open.discard(connection)
        if self._on_room is not None:
            self._on_room()

    def _close_one(self) -> None:
        waiting = [(since, each) for each in self._open if (since := each.waiting_since) is not None]
        if waiting:
            min(waiting, key=lambda one: one[0])[1].force_close()

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_LOOK)
            late = loop.time() - HEAD_TIME
            for connection in [each for each in self._open if _is_before(each.head_since, late)]:
                connection.force_close()
            if self._on_room is not None:  # one that was at work may wait now
                self._on_room()


def _is_before(moment: float | None, other: float) -> bool:
    return moment is not None and moment < other


def raise_limit() -> int:
    """Lets this process open as many files as it may be let; returns how many connections that carries."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return MOST if hard == resource.RLIM_INFINITY else min(MOST, max(1, hard // _PER_CONNECTION))
