"""A file that is being written, as `incoming/SHA256.part`: any process on the folder can find and follow it.

Its writer holds a lock on it. When that process dies, another takes the same file over: what is
already in it was given to clients, so what the upstream sends the second time must be equal to it.
"""

import os
from pathlib import Path

from sandboxes.index.errors import UpstreamError
from sandboxes.index.storage.disk import FullError, is_full, is_locked, lock, take_space, unavailable

_SUFFIX = ".part"


class Draft:
    """Held by this process until `close`. `inherited`: bytes that were there already."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor
        self.inherited = os.fstat(descriptor).st_size
        self._full = False

    @property
    def number(self) -> int:
        """Tells files apart, whatever their names."""
        return os.fstat(self.descriptor).st_ino

    def reserve(self, size: int) -> None:
        """Raises `FullError`, now rather than half-way."""
        try:
            take_space(self.descriptor, size)
        except FullError:
            self.close_to_more()
            raise

    def close_to_more(self) -> None:
        """Nothing more is written; what was is compared still."""
        self._full = True

    def write(self, offset: int, data: bytes) -> int:
        """How many bytes were taken: fewer than all when the disk is full. Blocks, so it is for a thread."""
        same = self._compare(offset, data)
        rest, offset = memoryview(data)[same:], offset + same
        try:
            while rest and not self._full:
                count = os.pwrite(self.descriptor, rest, offset)
                rest, offset = rest[count:], offset + count
        except OSError as error:
            if not is_full(error):
                raise unavailable(error) from error
            self._full = True
        return len(data) - len(rest)

    def _compare(self, offset: int, data: bytes) -> int:
        there = max(0, min(len(data), self.inherited - offset))
        if there and os.pread(self.descriptor, there, offset) != data[:there]:
            raise UpstreamError("The upstream sent other bytes the second time.")
        return there

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        os.close(self.descriptor)


class Drafts:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def take(self, sha256: str) -> Draft | None:
        """The file's draft, begun or left by a process that died; None: another process is writing it."""
        path = self.folder / f"{sha256}{_SUFFIX}"
        try:
            while True:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
                if not lock(descriptor):
                    os.close(descriptor)
                    return None
                if os.fstat(descriptor).st_nlink:
                    return Draft(path, descriptor)
                os.close(descriptor)  # a sweep came between
        except OSError as error:
            raise unavailable(error) from error

    def look(self, sha256: str) -> int | None:
        """A descriptor for reading what another process writes; None: there is no such draft."""
        try:
            return os.open(self.folder / f"{sha256}{_SUFFIX}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unavailable(error) from error

    def sweep(self) -> None:
        """Removes what killed processes left, also while others write."""
        for path in self.folder.iterdir():
            # Gone meanwhile: its writer, another process, has kept it.
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                if lock(descriptor):
                    path.unlink(missing_ok=True)
            finally:
                os.close(descriptor)


def is_abandoned(descriptor: int) -> bool:
    """Whether a draft that is looked at has lost its writer."""
    return not is_locked(descriptor)
