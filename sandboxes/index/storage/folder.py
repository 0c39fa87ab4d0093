"""Verified files in a folder: `files/aa/bb/SHA256`. A name there is proof of whole and right content.

A draft moves to its place only when it is on the disk for good (fsync, rename, fsync of the folder),
whenever the power fails.
"""

import asyncio
import os
import uuid
from collections.abc import AsyncGenerator
from io import FileIO
from pathlib import Path
from time import time

from sandboxes.index.errors import UnavailableError
from sandboxes.index.ranges import Span
from sandboxes.index.storage.disk import GoneError, sync_folder, unavailable
from sandboxes.index.storage.draft import Draft

_TOUCHED = 3600.0  # seconds between two notes, in the file's times, that it is in use
_PIECE = 256 * 1024


class Folder:
    quick = True  # to ask whether a file is there costs next to nothing

    def __init__(self, root: Path) -> None:
        self.files = root / "files"
        self._files = str(self.files)
        self._identity = root / "identity"

    def open(self) -> None:
        self.files.mkdir(parents=True, exist_ok=True)
        if not self._identity.exists():
            draft = self._identity.with_name(f"identity-{uuid.uuid4().hex}")
            draft.write_text(uuid.uuid4().hex)
            try:
                os.link(draft, self._identity)  # the first of several processes says what it is
            except FileExistsError:
                pass
            finally:
                draft.unlink()

    def identity(self) -> str:
        """The same for all processes that share the folder, and for no others."""
        try:
            return self._identity.read_text()
        except OSError as error:
            raise unavailable(error) from error

    def place(self, sha256: str) -> Path:
        return Path(self._path(sha256))

    def _path(self, sha256: str) -> str:
        """Several times a request, and a `Path` costs more than what is asked of the disk with it."""
        return f"{self._files}/{sha256[:2]}/{sha256[2:4]}/{sha256}"

    async def size(self, sha256: str) -> int | None:
        try:
            return os.stat(self._path(sha256)).st_size  # noqa: PTH116 -- see there
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unavailable(error) from error

    async def read(self, sha256: str) -> bytes:
        return await asyncio.to_thread(self._read, sha256)

    def _read(self, sha256: str) -> bytes:
        try:
            return self.place(sha256).read_bytes()
        except FileNotFoundError as error:
            raise GoneError from error
        except OSError as error:
            raise unavailable(error) from error

    def file(self, sha256: str) -> FileIO:
        """The file, open; it can be read to its end also when it is removed meanwhile."""
        try:
            file = FileIO(self._path(sha256))
            touch(file.fileno())
        except FileNotFoundError as error:
            raise GoneError from error
        except OSError as error:
            raise UnavailableError("The index cannot read a file of its own; try again.") from error
        return file

    async def link(self, sha256: str) -> str | None:
        return None

    async def stream(self, sha256: str, span: Span) -> AsyncGenerator[bytes]:
        with self.file(sha256) as file:
            for start in range(span.start, span.stop, _PIECE):
                length = min(_PIECE, span.stop - start)
                try:
                    yield await asyncio.to_thread(os.pread, file.fileno(), length, start)
                except OSError as error:
                    raise unavailable(error) from error

    async def keep(self, draft: Draft, sha256: str) -> None:
        try:
            await asyncio.to_thread(self._move, draft, self.place(sha256))
        except OSError as error:
            raise unavailable(error) from error

    def _move(self, draft: Draft, place: Path) -> None:
        os.fsync(draft.descriptor)
        for folder in reversed([place.parent, place.parent.parent]):
            if not folder.is_dir():
                folder.mkdir(exist_ok=True)
                sync_folder(folder.parent)
        draft.path.replace(place)
        sync_folder(place.parent)


def touch(descriptor: int) -> None:
    """Notes that a file is in use, in its own times and at most once an hour: eviction goes by them."""
    if time() - os.fstat(descriptor).st_mtime > _TOUCHED:
        os.utime(descriptor)
