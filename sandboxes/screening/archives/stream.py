"""The unpacked bytes of a compressed file, at any offset, without keeping them.

A tarball is one stream: to reach a member, all before it is unpacked. So the decompressor's state is
copied every few megabytes (gzip's is some 50 KB); going back starts at the nearest copy. Where a
format has no copies (bz2, xz) it starts at the beginning.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from sandboxes.screening.archives.errors import BrokenError, LimitError
from sandboxes.screening.archives.limits import MIB, Limits, said
from sandboxes.screening.archives.source import Source
from sandboxes.screening.archives.unpacking import CHUNK, Inflater, Unpacker, step

_APART: Final = 8 * MIB  # unpacked bytes between two copies


@dataclass(slots=True)
class _State:
    """Between two chunks."""

    unpacker: Unpacker
    packed: int  # what of the file it was given
    offset: int  # what it gave


class Stream:
    def __init__(self, source: Source, start: Callable[[], Unpacker], magic: bytes, limits: Limits) -> None:
        self._source = source
        self._start = start
        self._magic = magic  # another stream may follow the first one
        self._limits = limits
        self._now = _State(start(), 0, 0)
        self._copies: list[_State] = []
        self._chunk, self._at = b"", 0  # the last one, and its offset
        self.seen = 0  # unpacked bytes, so far
        self.rest = 0  # bytes of the file after the stream's end

    def read(self, offset: int, size: int) -> bytes:
        """Shorter only at the end. Raises `ArchiveError`."""
        parts = []
        while size > 0:
            if not self._go(offset):
                break
            part = self._chunk[offset - self._at : offset - self._at + size]
            parts.append(part)
            offset, size = offset + len(part), size - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _go(self, offset: int) -> bool:
        """Makes the chunk the one that has this offset; False: there is none."""
        if offset < self._at:
            self._back(offset)
        while offset >= self._at + len(self._chunk):
            chunk = self._next()
            if not chunk:
                return False
        return True

    def _back(self, offset: int) -> None:
        number = bisect_right(self._copies, offset, key=lambda state: state.offset) - 1
        if number < 0:
            self._now = _State(self._start(), 0, 0)
        else:
            state = self._copies[number]
            self._now = _State(_copied(state.unpacker), state.packed, state.offset)
        self._chunk, self._at = b"", self._now.offset

    def _next(self) -> bytes:
        now = self._now
        self._at, self._chunk = now.offset, b""
        while not self._chunk:
            data = b""
            if now.unpacker.eof and not self._follows():
                return b""
            if now.unpacker.needs_input:
                data = self._source.read(now.packed, CHUNK)
                now.packed += len(data)
                if not data:
                    raise BrokenError("it ends in the middle")
            self._chunk = step(now.unpacker, data, "it")
        now.offset += len(self._chunk)
        self._count(now)
        return self._chunk

    def _follows(self) -> bool:
        """Whether another stream comes right after this one, as `cat a.gz b.gz` makes it."""
        now = self._now
        place = now.packed - len(now.unpacker.unused_data)
        if self._source.read(place, len(self._magic)) != self._magic:
            self.rest = self._source.size - place
            return False
        now.unpacker, now.packed = self._start(), place
        return True

    def after(self) -> Iterator[bytes]:
        """What the file has after the stream's end, once that was reached."""
        return self._source.pieces(self._source.size - self.rest, self.rest)

    def _count(self, now: _State) -> None:
        if now.offset <= self.seen:
            return
        self.seen = now.offset
        limits = self._limits
        if self.seen > limits.total:
            raise LimitError(f"it unpacks to more than {said(limits.total)}")
        if self.seen > limits.floor and self.seen > limits.ratio * self._source.size:
            raise LimitError(f"it unpacks to more than {limits.ratio} times its size: a bomb")
        if isinstance(now.unpacker, Inflater) and now.offset - self._last() >= _APART:
            self._copies.append(_State(now.unpacker.copy(), now.packed, now.offset))

    def _last(self) -> int:
        return self._copies[-1].offset if self._copies else 0


class Plain:
    """The same of a file that is not compressed."""

    rest: Final = 0

    def __init__(self, source: Source) -> None:
        self.read = source.read

    def after(self) -> Iterator[bytes]:
        return iter(())


def _copied(unpacker: Unpacker) -> Unpacker:
    return unpacker.copy() if isinstance(unpacker, Inflater) else unpacker
