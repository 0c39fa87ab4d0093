"""Stored files as paths that stay readable while they are scanned, whatever becomes of them in the storage.

Of a folder's file it is another name (a hard link): eviction takes the first one. A bucket's is fetched into a
temporary file. Both are in a folder of this process, which the next process to start removes if this one was killed.
"""

import asyncio
import fcntl
import os
import shutil
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sandboxes.index.errors import UnavailableError
from sandboxes.index.ranges import Span
from sandboxes.index.storage.bucket import Bucket
from sandboxes.index.storage.disk import GoneError, lock, unavailable
from sandboxes.index.storage.folder import Folder


class Scratch:
    """This process's folder below `root`. Locked: a locked one belongs to somebody who lives."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.folder = root / uuid.uuid4().hex
        self._descriptor: int | None = None

    def open(self) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        alone = os.open(self._root, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(alone, fcntl.LOCK_EX)  # nobody sweeps between a folder's making and its lock
            for each in self._root.iterdir():
                self._sweep(each)
            self.folder.mkdir(mode=0o700)
            self._descriptor = os.open(self.folder, os.O_RDONLY | os.O_CLOEXEC)
            lock(self._descriptor)
        finally:
            os.close(alone)

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @staticmethod
    def _sweep(folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if lock(descriptor):
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(descriptor)


class Material:
    def __init__(self, place: Folder | Bucket, scratch: Scratch) -> None:
        self._place = place
        self._scratch = scratch

    async def has(self, name: str) -> bool:
        """Raises `UnavailableError`."""
        return await self._place.size(name) is not None

    @asynccontextmanager
    async def at_hand(self, name: str) -> AsyncIterator[Path]:
        """Raises `GoneError` for a file that is not there (any more), `UnavailableError` when nobody can tell."""
        path = self._scratch.folder / uuid.uuid4().hex
        try:
            await self._bring(name, path)
            yield path
        finally:
            path.unlink(missing_ok=True)

    async def _bring(self, name: str, path: Path) -> None:
        try:
            if isinstance(self._place, Folder):
                os.link(self._place.place(name), path)
            else:
                await self._fetch(self._place, name, path)
        except FileNotFoundError as error:
            raise GoneError from error
        except OSError as error:
            raise unavailable(error) from error

    @staticmethod
    async def _fetch(bucket: Bucket, name: str, path: Path) -> None:
        size = await bucket.size(name)
        if size is None:
            raise GoneError
        with path.open("wb") as file:
            had = 0
            async for piece in bucket.stream(name, Span(0, size)):
                had += await asyncio.to_thread(file.write, piece)
        if had != size:
            raise UnavailableError("The index's storage gave a part of a file only.")
