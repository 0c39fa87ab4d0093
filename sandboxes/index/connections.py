"""The connections of one process: no more than it can carry, and none that only takes up room.

When there are as many as may be, one on which nothing is under way makes room for the next: first the one that has
waited longest. When all are at work, no more are accepted; other processes take them, or they wait in the socket.
A head that does not become whole in time ends its connection (slowloris), and so does a client that takes nothing of
its answer: then "at work" would be for ever. One address has a share of all there may be; beyond it, its own idle
connections make room, or what comes is closed.
"""

import asyncio
import resource
from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol

MOST: Final = 4096
HEAD_TIME = 10.0  # seconds from a head's first byte to its last, and from a connection to its first head
STALL_TIME = 30.0  # seconds in which a client has to take something of what is ready for it
STALL_TIME_FULL = 10.0  # the same while others wait for room
_PER_CONNECTION: Final = 3  # descriptors: its own, that of a file, and that of the upstream or a draft
_LOOK = 1.0  # seconds between looks at heads and at what clients take
_SHARE: Final = 2  # an address has at most one in so many: all clients of a proxy before us have the same one


class Connection(Protocol):
    address: str  # the client's

    @property
    def waiting_since(self) -> float | None:
        """On the loop's clock: since when nothing is under way on it; None: something is."""

    @property
    def head_since(self) -> float | None:
        """Since when a head is awaited or incomplete; None: none is."""

    @property
    def stalled_since(self) -> float | None:
        """As of the last look: since when the client took next to nothing of what is ready; None: it takes it."""

    def look(self, now: float) -> None:
        """Compares what the client has with what it had when this was last asked."""

    def end(self) -> None:
        """At once, whatever has not left."""


class Connections:
    def __init__(self, most: int = MOST, of_one: int | None = None) -> None:
        """`of_one`: the most of one address."""
        self._most = most
        self._of_one = of_one or max(1, most // _SHARE)
        self._open: set[Connection] = set()
        self._of: Counter[str] = Counter()  # by address, from when they were accepted
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
        """For one more, which `admits` or `given_up` has to follow; False: there is none now."""
        if self.full:
            self._close_one()
            return False  # a closed one leaves a moment later, and says so
        self._coming += 1
        return True

    def admits(self, address: str) -> bool:
        """Whether what was accepted stays; then `opened` or `given_up` has to follow, else nothing."""
        if self._crowded(address) and not self._close_one(address):
            self._coming -= 1
            return False
        self._of[address] += 1
        return True

    def _crowded(self, address: str) -> bool:
        """Whether the next one of this address takes a search for what could make room."""
        return self._of.get(address, 0) >= self._of_one

    def given_up(self, address: str | None = None) -> None:
        """`address`: of one that was admitted."""
        self._coming -= 1
        if address is not None:
            self._leave(address)

    def opened(self, connection: Connection) -> None:
        self._coming -= 1
        self._open.add(connection)

    def closed(self, connection: Connection) -> None:
        if connection in self._open:
            self._open.remove(connection)
            self._leave(connection.address)
        if self._on_room is not None:
            self._on_room()

    def _leave(self, address: str) -> None:
        self._of[address] -= 1
        if not self._of[address]:
            del self._of[address]

    def _close_one(self, address: str | None = None) -> bool:
        """Of `address`, or of any; False: all of them are at work."""
        among = [each for each in self._open if address in (None, each.address)]
        waiting = [(since, each) for each in among if (since := each.waiting_since) is not None]
        if not waiting:
            late = asyncio.get_running_loop().time() - STALL_TIME_FULL
            waiting = [
                (since, each) for each in among if (since := each.stalled_since) is not None and since < late
            ]
        if waiting:
            min(waiting, key=lambda one: one[0])[1].end()
        return bool(waiting)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            self._end_late(asyncio.get_running_loop().time())
            if self._on_room is not None:  # one that was at work may wait now
                self._on_room()

    def _end_late(self, now: float) -> None:
        for connection in list(self._open):
            connection.look(now)
            late_head = _is_before(connection.head_since, now - HEAD_TIME)
            if late_head or _is_before(connection.stalled_since, now - STALL_TIME):
                connection.end()


def _is_before(moment: float | None, other: float) -> bool:
    return moment is not None and moment < other


def raise_limit() -> int:
    """Lets this process open as many files as it may be let; returns how many connections that carries."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return MOST if hard == resource.RLIM_INFINITY else min(MOST, max(1, hard // _PER_CONNECTION))
