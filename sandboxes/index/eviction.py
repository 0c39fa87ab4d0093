"""Keeps the stored files below a size: those used longest ago go first, before a new one is fetched.

What is used is in the files' own times, noted at most once an hour (`storage/folder.py`), so all
processes that share the folder see it, and it survives restarts. How much there is, drafts with their
reserved space included, is counted on the disk: now and then, and each time the limit comes near. A file
that is being served while it goes is read to its end; its row stays, so the next who asks has it fetched again.
"""

import asyncio
import fcntl
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

logger = logging.getLogger(__name__)

_BLOCK = 512  # bytes: the unit of st_blocks
_RECOUNT = 600.0  # seconds
_RECOUNT_NEAR = 30.0  # seconds, when the limit is near: other processes store files too
_NEAR = 0.9  # of the limit
_DOWN_TO = 0.95  # of the limit: so that not each new file counts and evicts again
_SHARE = 0.5  # of the limit, that one file may have at most: it is not to drive out everybody else's


@dataclass(frozen=True, slots=True)
class _Stored:
    path: Path
    size: int
    used_at: float


class Eviction:
    def __init__(self, root: Path, most: int) -> None:
        self._files = root / "files"
        self._incoming = root / "incoming"
        self._lock = root / "evicting"
        self._most = most
        self._used = 0
        self._counted_at = float("-inf")
        self._turn = asyncio.Lock()

    async def make_room(self, size: int, held: int = 0) -> bool:
        """Whether a file of `size` bytes fits, after what may go has gone; `held` of it are counted already."""
        if size > self._most * _SHARE:
            return False
        needed = size - held
        async with self._turn:
            if self._must_count(needed):
                await asyncio.to_thread(self._count)
            if self._used + needed > self._most:
                await asyncio.to_thread(self._evict, needed)
            if self._used + needed > self._most:
                return False
            self._used += needed
            return True

    def give_back(self, size: int) -> None:
        """So many bytes that room was made for will not be stored."""
        self._used = max(self._used - size, 0)

    def _must_count(self, needed: int) -> bool:
        near = self._used + needed > self._most * _NEAR
        return monotonic() - self._counted_at > (_RECOUNT_NEAR if near else _RECOUNT)

    def _count(self) -> None:
        self._used = sum(stored.size for stored in _all(self._files)) + self._arriving()
        self._counted_at = monotonic()

    def _arriving(self) -> int:
        return sum(stored.size for stored in _all(self._incoming))

    def _evict(self, needed: int) -> None:
        """One process at a time: the second finds that there is room."""
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            stored = sorted(_all(self._files), key=lambda each: each.used_at)
            self._used = sum(each.size for each in stored) + self._arriving()
            self._counted_at = monotonic()
            if self._used + needed > self._most:
                self._remove(stored, self._used + needed - int(self._most * _DOWN_TO))
        finally:
            os.close(descriptor)

    def _remove(self, stored: list[_Stored], excess: int) -> None:
        gone = 0
        for each in stored:
            if excess <= 0:
                break
            each.path.unlink(missing_ok=True)
            excess -= each.size
            self._used -= each.size
            gone += 1
        logger.info("evicted %d files", gone)


def _all(folder: Path) -> Iterator[_Stored]:
    """The files below a folder; those that go meanwhile are left out."""
    for where, _, names in os.walk(folder):
        for name in names:
            path = Path(where, name)
            try:
                found = path.stat()
            except FileNotFoundError:
                continue
            yield _Stored(path, found.st_blocks * _BLOCK, found.st_mtime)
