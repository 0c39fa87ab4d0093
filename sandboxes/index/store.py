"""The index's files, named by their sha256: those that are stored, and those on their way (drafts).

A file that can be seen here is whole, right, and there for good: see `storage/folder.py` and `storage/bucket.py`.
"""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import BinaryIO, Protocol

from sandboxes.index.eviction import Eviction
from sandboxes.index.ranges import Span
from sandboxes.index.storage.bucket import Bucket
from sandboxes.index.storage.draft import Draft, Drafts
from sandboxes.index.storage.folder import Folder
from sandboxes.index.storage.room import Room
from sandboxes.index.storage.turns import Turns


class Place(Protocol):
    """Where verified files stay. All of it raises `UnavailableError` when that cannot be reached.

    What reads a file raises `GoneError`, such an error too, for one that is not there (any more).
    """

    quick: bool  # asking for a size costs next to nothing

    def open(self) -> None: ...
    def identity(self) -> str: ...
    async def size(self, sha256: str) -> int | None: ...
    async def read(self, sha256: str) -> bytes: ...
    def file(self, sha256: str) -> BinaryIO | None: ...  # None: files here have no descriptors
    async def link(self, sha256: str) -> str | None: ...
    def stream(self, sha256: str, span: Span) -> AsyncGenerator[bytes]: ...
    async def keep(self, draft: Draft, sha256: str) -> None: ...


class Store:
    def __init__(
        self, root: Path, *, storage: str = "", redirect: bool = False, most: int | None = None
    ) -> None:
        """`storage`: a bucket's URL; "": a folder, which may hold `most` bytes."""
        self._root = root
        self.place: Place = Bucket(storage, redirect=redirect) if storage else Folder(root)
        self.drafts = Drafts(root / "incoming")
        self.turns = Turns(root / "turns")
        self.room = Room(self.drafts.folder, Eviction(root, most) if most is not None else None)

    def open(self) -> None:
        """Makes the folders and sweeps; blocks, so it is for start-up only."""
        self._root.mkdir(parents=True, exist_ok=True)
        self.place.open()
        self.drafts.open()
        self.turns.open()
        self.drafts.sweep()

    def close(self) -> None:
        self.turns.close()

    async def size(self, sha256: str) -> int | None:
        """The stored file's size in bytes; None: not stored."""
        return await self.place.size(sha256)

    async def has(self, sha256: str) -> bool:
        return await self.place.size(sha256) is not None

    async def read(self, sha256: str) -> bytes:
        """All of a stored file: for small ones."""
        return await self.place.read(sha256)
