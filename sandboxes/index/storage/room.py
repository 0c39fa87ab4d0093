"""Whether a file that is to be fetched fits: on the disk, and into what INDEX_STORAGE_MAX allows.

The database may be on the same disk, and a full one would stop it: then nothing can be recorded or
served. So some of it stays free. Small files are let in longer than others: what is metadata, installs need whole.
"""

import os
from pathlib import Path
from typing import Final

from sandboxes.index.eviction import Eviction
from sandboxes.index.storage.disk import unavailable

FLOOR = 512 * 1024 * 1024  # bytes that stay free
_SMALL: Final = 2 * 1024 * 1024  # bytes; metadata files are no larger
_SMALL_FLOOR: Final = 4  # times less stays free of those


class Room:
    def __init__(self, folder: Path, eviction: Eviction | None) -> None:
        self._folder = folder
        self._eviction = eviction

    def short(self, needed: int = 0, size: int = 0) -> bool:
        """Whether too little of the disk would be free after `needed` more bytes, of a file of `size`."""
        try:
            disk = os.statvfs(self._folder)
        except OSError as error:
            raise unavailable(error) from error
        floor = FLOOR // _SMALL_FLOOR if 0 < size <= _SMALL else FLOOR
        return disk.f_bavail * disk.f_frsize - needed < floor

    async def make(self, size: int, held: int = 0) -> str:
        """Makes room for a file, as far as is allowed. Why there is too little; "" when there is enough.

        `held`: for how much of it room was made before.
        """
        if self.short(size - held, size):
            return "The index’s disk has too little room left: files that are not stored yet are passed on unstored."
        if self._eviction is not None and not await self._eviction.make_room(size, held):
            return (
                "A file is larger than half of INDEX_STORAGE_MAX, or that is full of what is under way: "
                "it is passed on unstored."
            )
        return ""

    def give_back(self, size: int) -> None:
        """What room was made for is not stored after all."""
        if self._eviction is not None:
            self._eviction.give_back(size)
