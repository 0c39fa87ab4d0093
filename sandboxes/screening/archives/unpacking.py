"""Decompressors of one shape, which give no more at once than they are asked for."""

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from sandboxes.screening.archives.errors import BrokenError
from sandboxes.screening.archives.limits import KIB, MIB

CHUNK: Final = 64 * KIB  # bytes at once, packed or unpacked
_XZ_MEMORY: Final = 128 * MIB  # for its dictionary: what `xz -9` needs, and half as much again
_FAULTS: Final = (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError)


class Unpacker(Protocol):
    """As `bz2.BZ2Decompressor` is."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class Inflater:
    """zlib's, in that shape, and with copies: what was a state once can be gone back to."""

    def __init__(self, state: "zlib._Decompress", full: bool = False) -> None:
        self._state = state
        self._full = full  # the last answer was as long as it might be: there may be more

    @property
    def eof(self) -> bool:
        return self._state.eof

    @property
    def needs_input(self) -> bool:
        return not (self._state.eof or self._full or self._state.unconsumed_tail)

    @property
    def unused_data(self) -> bytes:
        return self._state.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        out = self._state.decompress(self._state.unconsumed_tail + data, max(max_length, 0))
        self._full = len(out) == max_length
        return out

    def copy(self) -> "Inflater":
        return Inflater(self._state.copy(), self._full)


def gzip() -> Inflater:
    return Inflater(zlib.decompressobj(16 + zlib.MAX_WBITS))


def deflate() -> Inflater:
    return Inflater(zlib.decompressobj(-zlib.MAX_WBITS))


def bzip2() -> bz2.BZ2Decompressor:
    return bz2.BZ2Decompressor()


def xz() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)


class ZipLzma:
    """A zip's LZMA has a header of its own before the properties (APPNOTE 5.8.8)."""

    def __init__(self, size: int, marked: bool) -> None:
        self.needs_input = True
        self.eof = False
        self.unused_data = b""
        self._size = -1 if marked else size  # marked: the end is told by a mark in the data
        self._head: bytes = b""
        self._inner: lzma.LZMADecompressor | None = None

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        if self._inner is None:
            self._head += data
            if len(self._head) < 4:
                return b""
            (length,) = struct.unpack_from("<H", self._head, 2)
            if length != 5:
                raise lzma.LZMAError("properties of a wrong length")
            if len(self._head) < 9:
                return b""
            self._inner = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_XZ_MEMORY)
            data = self._head[4:9] + struct.pack("<q", self._size) + self._head[9:]
        out = self._inner.decompress(data, max_length)
        self.needs_input, self.eof = self._inner.needs_input, self._inner.eof
        self.unused_data = self._inner.unused_data
        return out


def step(unpacker: Unpacker, data: bytes, what: str) -> bytes:
    """At most a chunk; `data` is b"" unless it needs some. Raises `BrokenError`."""
    try:
        return unpacker.decompress(data, CHUNK)
    except _FAULTS as error:
        raise BrokenError(f"{what} cannot be unpacked ({error})") from error


def unpacked(pieces: Iterator[bytes], start: Callable[[], Unpacker], what: str) -> Iterator[bytes]:
    """One compressed stream, which has to end where the pieces do."""
    unpacker = start()
    for piece in pieces:
        if unpacker.eof:
            raise BrokenError(f"{what} goes on after the end of its data")
        data = piece
        while True:
            out = step(unpacker, data, what)
            data = b""
            if out:
                yield out
            if _waits(unpacker):
                break
    if not unpacker.eof:
        raise BrokenError(f"{what} ends in the middle")
    if unpacker.unused_data:
        raise BrokenError(f"{what} goes on after the end of its data")


def _waits(unpacker: Unpacker) -> bool:
    """It has given all there is for what it was given."""
    return unpacker.eof or unpacker.needs_input
