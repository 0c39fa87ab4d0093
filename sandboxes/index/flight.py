"""One file that arrives, and any number of clients that follow it while it grows.

It is written to a draft on the disk; followers are sent its bytes from there by the kernel, so memory
does not grow with files or clients. Its last `HELD_BACK` bytes are given to nobody until size and sha256
were verified: whoever follows a file that fails has an incomplete one, and its connection is cut, so no
client ever sees a bad file as a complete one. What the disk has no room for comes through a small window
in memory instead, which waits for its slowest follower.

A flight says what followers may have. Who brings the bytes is not its matter: `leading.py` when this process
fetches them, `trailing.py` when another one does.
"""

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import BinaryIO

from sandboxes.errors import PetridishError
from sandboxes.index.errors import UnavailableError
from sandboxes.index.storage.window import Window

HELD_BACK = 64 * 1024  # bytes
LARGEST = 16 * 1024**3  # bytes of any file: more than packages have, and some end to what an upstream sends
LOOK = 1.0  # seconds between looks at whether to go on
_PIECE = 8 * 1024 * 1024  # bytes sent at a time
_STRIDE = 512 * 1024  # bytes that arrive until followers are woken …
_PAUSE = 0.01  # … or seconds, if these are over before: fifty of them need not run for each packet
_BOARDING = 2.0  # seconds that a client which was told of the flight has until it follows
_STALLED = 30.0  # seconds that the window waits for a follower that takes nothing

# By the length of a digest in hex: npm names tarballs by SHA-512.
ALGORITHMS = {64: "sha256", 96: "sha384", 128: "sha512"}

type Present = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes that can be verified: what they must hash to, and where they are. `size` None: not known before."""

    sha256: str  # or a longer digest: see `ALGORITHMS`
    size: int | None
    url: str
    what: str  # its name in messages
    largest: int = LARGEST  # bytes it may have at most, whatever its upstream says
    source: str = ""  # the upstream whose page names the URL

    def hasher(self) -> "hashlib._Hash":
        """What its bytes are to be put through to come to its digest."""
        return hashlib.new(ALGORITHMS[len(self.sha256)])


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes on the disk."""

    file: BinaryIO
    start: int
    length: int


class Flight:
    def __init__(self, blob: Blob) -> None:
        self.blob = blob
        self.length = (
            blob.size
        )  # once opened: what the upstream says, if it says anything; at the end what it is
        self.largest = blob.largest  # bytes that are taken at most
        self.failure: PetridishError | None = None
        self.written = 0
        self.window: Window | None = None
        self.disk_end = 0  # once there is a window: where it begins to be needed
        self._descriptor: int | None = None
        self._pulse = asyncio.Event()  # set, and replaced, when followers are to look again
        self._taken = asyncio.Event()  # set when a follower has taken something from the window
        self._told = 0
        self._timer: asyncio.TimerHandle | None = None
        self._opened = self._verified = self._stored = self._ended = False
        self._seats: set[Seat] = set()
        self._boarding = 0
        self._wanted_at = self._boarded_at = monotonic()

    # What clients ask.

    @property
    def live(self) -> bool:
        """Whether it can be followed: it neither failed nor is in the store."""
        return self.failure is None and not self._stored

    @property
    def stored(self) -> bool:
        return self._stored

    @property
    def joinable(self) -> bool:
        """Whether one more can have it from its first byte on."""
        return self.window is None or self.window.start == self.disk_end

    async def opened(self, present: Present) -> None:
        """Returns when the bytes began to arrive; raises what went wrong before.

        `present`, here and below: whether the client is still connected.
        """
        await self._until(lambda: self._opened or self._stored, present)

    async def verified(self, present: Present) -> None:
        """Returns when all its bytes are here and right."""
        await self._until(lambda: self._done or self._passes_by, present)

    async def kept(self, present: Present) -> None:
        """Returns when the file is in the store, or will not be; raises what went wrong."""
        await self._until(lambda: self._stored or self._over or self._passes_by, present)

    def expect(self, blob: Blob) -> None:
        """A client that wants `blob` was told of it, and may follow soon; the largest of their limits holds."""
        self.largest = max(self.largest, blob.largest)
        self._boarding += 1
        self._boarded_at = monotonic()

    @contextmanager
    def follow(self, present: Present) -> "Iterator[Seat]":
        """A seat from the first byte on. To be entered without waiting after `live` was true."""
        seat = Seat(self, self._file(), present)
        self._seats.add(seat)
        self._boarding = max(0, self._boarding - 1)
        try:
            yield seat
        finally:
            self._seats.discard(seat)
            self._taken.set()
            if seat.file is not None:
                seat.file.close()

    def _file(self) -> BinaryIO | None:
        """Its draft, open once more; None: all of it is in the window."""
        if not self.joinable:
            raise UnavailableError(f"{self.blob.what} cannot be stored, and is under way already; try again.")
        if self._descriptor is not None:
            return os.fdopen(os.dup(self._descriptor), "rb", buffering=0)
        if self._on_disk:
            raise UnavailableError(f"{self.blob.what} could not be stored; try again.")
        return None

    async def ready(self, sent: int, present: Present) -> int:
        """Waits until more than `sent` bytes may leave, or the end is reached; how many may."""
        await self._until(lambda: self._done or self.written - HELD_BACK > sent, present)
        return self.written if self._done else self.written - HELD_BACK

    @property
    def _done(self) -> bool:
        return self._verified or self._stored

    @property
    def _on_disk(self) -> int:
        """How many of its bytes are, or were, in the draft."""
        return self.written if self.window is None else self.disk_end

    @property
    def _over(self) -> bool:
        """It was right, and yet not stored."""
        return self._ended and self.failure is None

    @property
    def _passes_by(self) -> bool:
        """It will never be here as a whole."""
        return self.window is not None and (self.length is None or self.length > HELD_BACK * 4)

    # What those say who bring it.

    @property
    def forsaken(self) -> float:
        """For how many seconds nobody has waited for it."""
        return 0.0 if self._seats else monotonic() - self._wanted_at

    @property
    def right(self) -> bool:
        """All of it is here and was verified, stored or not."""
        return self._verified

    @property
    def begun(self) -> bool:
        """Whether clients may have had bytes of it."""
        return self._opened

    @property
    def descriptor(self) -> int:
        """Of the draft that clients are given bytes of."""
        assert self._descriptor is not None  # noqa: S101 -- there is one once it began
        return self._descriptor

    def start(self, descriptor: int) -> None:
        """Where its bytes are read from. Raises when clients had bytes of another draft."""
        if self._descriptor is not None:
            if os.fstat(self._descriptor).st_ino == os.fstat(descriptor).st_ino:
                return
            if self._opened:
                raise UnavailableError(f"{self.blob.what} was given up by another process; try again.")
            os.close(self._descriptor)
            self.written = self._told = 0  # of another draft, which this one need not reach
        self._descriptor = os.dup(descriptor)

    def open(self, length: int | None) -> None:
        self.length = length if length is not None else self.length
        self._opened = True
        self._tell()

    def grow(self, written: int) -> None:
        """Followers are told at once of the first bytes and of many, and soon of a few."""
        if written <= self.written:
            return
        self.written = written
        if self._told <= HELD_BACK or written - self._told >= _STRIDE:
            self._tell()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_PAUSE, self._tell)

    def spill(self) -> None:
        """From here on nothing more is written to the disk."""
        self.disk_end = self.written
        self.window = Window(self.written)
        self._tell()

    async def pass_on(self, chunk: bytes) -> None:
        """Into the window; waits while that is full."""
        assert self.window is not None  # noqa: S101 -- `spill` came first
        self.window.add(chunk)
        self.grow(self.window.end)
        waits_since = monotonic()
        while not self._let_go(self.window, monotonic() - waits_since):
            self._tell()
            self._taken.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._taken.wait(), LOOK / 2)

    def _let_go(self, window: Window, waited: float) -> bool:
        """Of what everybody has had, or what somebody does not take. Whether there is room again."""
        if window.full and self._seats and not self._awaits_more:
            sent = [seat.sent for seat in self._seats]
            had = max(sent) if waited > _STALLED else min(sent)
            window.forget(min(had, window.end - HELD_BACK))
        return not window.full

    @property
    def _awaits_more(self) -> bool:
        """Whether a client was told of it just now and does not follow yet."""
        return self._boarding > 0 and monotonic() - self._boarded_at < _BOARDING

    def verify(self) -> None:
        self.length = self.written
        self._verified = True
        self._tell()

    def store(self) -> None:
        self._stored = True
        self._tell()

    def fail(self, error: PetridishError) -> None:
        self.failure = error
        self._tell()

    def end(self) -> None:
        """Nobody brings anything any more."""
        self._ended = True
        self._tell()
        if not self._over or self._stored:
            self._close()
        else:  # nothing was kept: who was told of it and does not follow yet has it from here or not at all
            asyncio.get_running_loop().call_later(_BOARDING, self._close)

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _tell(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._told = self.written
        pulse, self._pulse = self._pulse, asyncio.Event()
        pulse.set()

    def note_taken(self) -> None:
        self._taken.set()

    async def _until(self, reached: Callable[[], bool], present: Present) -> None:
        """Waits; and shows that somebody does. A client that hung up is noticed here: nothing is sent to it."""
        while not reached():
            if self.failure is not None:
                raise self.failure
            if not present():
                raise UnavailableError("The client hung up.")
            self._wanted_at = monotonic()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._pulse.wait(), LOOK)


class Seat:
    """A client that follows: how much it has, and what it may have next."""

    def __init__(self, flight: Flight, file: BinaryIO | None, present: Present) -> None:
        self.file = file
        self.sent = 0
        self._flight = flight
        self._present = present

    async def next(self) -> Part | memoryview | None:
        """What to send; None at the end. Raises before the end if the flight fails."""
        flight = self._flight
        ready = await flight.ready(self.sent, self._present)
        if ready <= self.sent:
            return None
        on_disk = ready if flight.window is None else flight.disk_end
        if self.sent < on_disk and self.file is not None:
            return Part(self.file, self.sent, min(ready, on_disk, self.sent + _PIECE) - self.sent)
        piece = flight.window.piece(self.sent, ready) if flight.window is not None else memoryview(b"")
        if not piece:
            raise UnavailableError(f"{flight.blob.what} cannot be stored, and its client is too slow.")
        return piece

    def sent_on(self, count: int) -> None:
        self.sent += count
        if self._flight.window is not None:
            self._flight.note_taken()
