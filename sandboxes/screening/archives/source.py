"""The packed file, read at offsets. Closed when nobody holds it any more."""

import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sandboxes.screening.archives.errors import BrokenError
from sandboxes.screening.archives.unpacking import CHUNK

OPENING: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


class Source:
    def __init__(self, file: Path | int) -> None:
        """By its path, or by a handle that somebody else opened, and closes."""
        try:
            self._handle = os.dup(file) if isinstance(file, int) else os.open(file, OPENING)
        except OSError as error:
            raise BrokenError(f"it cannot be opened: {error.strerror}") from error
        self._end = weakref.finalize(self, os.close, self._handle)
        self.size = os.fstat(self._handle).st_size

    def close(self) -> None:
        self._end()

    def read(self, offset: int, size: int) -> bytes:
        """Shorter only at the end."""
        parts = []
        while size > 0 and 0 <= offset < self.size:
            part = self._read(offset, size)
            if not part:
                break
            parts.append(part)
            offset, size = offset + len(part), size - len(part)
        return b"".join(parts)

    def _read(self, offset: int, size: int) -> bytes:
        try:
            return os.pread(self._handle, size, offset)
        except OSError as error:  # a disk, or a folder in a file's place
            raise BrokenError(f"it cannot be read: {error.strerror}") from error

    def pieces(self, offset: int, size: int) -> Iterator[bytes]:
        end = offset + size
        while offset < end:
            piece = self.read(offset, min(CHUNK, end - offset))
            if not piece:
                return
            yield piece
            offset += len(piece)


class Held(Source):
    """One that is in memory: an archive that lies inside another."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def close(self) -> None:
        self._data = b""

    def read(self, offset: int, size: int) -> bytes:
        return self._data[offset : offset + size] if offset >= 0 else b""
