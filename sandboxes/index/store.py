"""Bytes on disk, named by their sha256: `files/aa/bb/SHA256` under the index's folder.

A file arrives as a draft in `incoming/` and moves to its place only when it was
verified and is on the disk for good (fsync, rename, fsync of the folder), so a
name in `files/` is proof of whole and right content, whenever the power fails.
Each draft is locked by its writer; drafts that nobody holds were left by a
process that was killed, and `sweep` removes them, also while others write.
"""

import asyncio
import fcntl
import os
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from sandboxes.index.errors import UnavailableError

FLOOR = 512 * 1024 * 1024  # bytes that stay free


class Store:
    def __init__(self, root: Path) -> None:
        self._files = root / "files"
        self._incoming = root / "incoming"

    def open(self) -> None:
        """Makes the folders and sweeps; blocks, so it is for start-up only."""
        self._files.mkdir(parents=True, exist_ok=True)
        self._incoming.mkdir(parents=True, exist_ok=True)
        self.sweep()

    def sweep(self) -> None:
        for path in self._incoming.iterdir():
            # Gone meanwhile: its writer, another process, has kept it.
            with suppress(FileNotFoundError), path.open("rb") as draft:
                if _lock(draft.fileno()):
                    path.unlink()

    def place(self, sha256: str) -> Path:
        return self._files / sha256[:2] / sha256[2:4] / sha256

    def size(self, sha256: str) -> int | None:
        """The stored file's size in bytes; None: not stored."""
        try:
            return self.place(sha256).stat().st_size
        except FileNotFoundError:
            return None

    def has(self, sha256: str) -> bool:
        return self.size(sha256) is not None

    def check_room(self, needed: int) -> None:
        """Raises `UnavailableError` when less than `FLOOR` would be free after `needed` more bytes.

        The database may be on the same disk, and a full one would stop it: then nothing can be recorded or served.
        """
        try:
            disk = os.statvfs(self._incoming)
        except OSError as error:
            raise _unavailable(error) from error
        if disk.f_bavail * disk.f_frsize - needed < FLOOR:
            raise UnavailableError("The index's disk has too little room left; an admin must make some.")

    def read(self, sha256: str) -> bytes:
        """All of a stored file: for small ones."""
        try:
            return self.place(sha256).read_bytes()
        except OSError as error:
            raise _unavailable(error) from error

    def draft(self) -> "Draft":
        return Draft(self._incoming, self)


class Draft:
    """A file being written. Leaving the `with` block without `keep` removes it."""

    def __init__(self, folder: Path, store: Store) -> None:
        self._store = store
        self._kept = False
        try:
            self._path, self.descriptor = _create(folder)
        except OSError as error:
            raise _unavailable(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._kept:
            self._path.unlink(missing_ok=True)
        os.close(self.descriptor)

    def write(self, data: bytes) -> None:
        """Into the page cache, so this does not wait for the disk."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self.descriptor, rest) :]
        except OSError as error:
            raise _unavailable(error) from error

    async def keep(self, sha256: str) -> None:
        """Moves the draft to its place, durably. The caller has verified it."""
        try:
            await asyncio.to_thread(self._move, self._store.place(sha256))
        except OSError as error:
            raise _unavailable(error) from error
        self._kept = True

    def _move(self, place: Path) -> None:
        os.fsync(self.descriptor)
        for folder in reversed([place.parent, place.parent.parent]):
            if not folder.is_dir():
                folder.mkdir(exist_ok=True)
                _sync_folder(folder.parent)
        self._path.replace(place)
        _sync_folder(place.parent)


def _create(folder: Path) -> tuple[Path, int]:
    """A new file, locked. A sweep may come between creating and locking: then the file is gone, and another is made."""
    while True:
        path = folder / uuid.uuid4().hex
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        if _lock(descriptor) and os.fstat(descriptor).st_nlink:
            return path, descriptor
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unavailable(error: OSError) -> UnavailableError:
    return UnavailableError(f"The index cannot store files: {error.strerror or type(error).__name__}.")
