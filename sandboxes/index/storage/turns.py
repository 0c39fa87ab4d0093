"""Whose turn it is, among the processes that share a folder, to ask an upstream for a name.

A lock on one byte of one file for each name: it costs no round trip, needs no file of its own, and ends with its
process. Processes elsewhere do not see it, and ask for themselves. It saves requests and guards nothing, so
whoever has waited too long goes on without it.
"""

import asyncio
import fcntl
import hashlib
import logging
import os
from pathlib import Path
from time import monotonic
from typing import Final

logger = logging.getLogger(__name__)

_LOOK: Final = 0.005  # seconds between two tries
_BYTES: Final = 1 << 62  # that the names are spread over; none of them is ever written


class Turns:
    def __init__(self, file: Path) -> None:
        self._file = file
        self._descriptor: int | None = None
        self._held: dict[str, int] = {}  # how often: this process's locks do not keep itself out

    def open(self) -> None:
        self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def take(self, name: str) -> bool:
        """False: another process has it."""
        if not self._locked(fcntl.LOCK_EX | fcntl.LOCK_NB, name):
            return False
        self._held[name] = self._held.get(name, 0) + 1
        return True

    async def wait(self, name: str, seconds: float) -> bool:
        """As `take`, as soon as it is free; False: it was not for so long."""
        until = monotonic() + seconds
        while not self.take(name):
            if monotonic() >= until:
                return False
            await asyncio.sleep(_LOOK)
        return True

    def give_back(self, name: str) -> None:
        left = self._held.pop(name) - 1
        if left:
            self._held[name] = left
        else:
            self._locked(fcntl.LOCK_UN, name)

    def _locked(self, how: int, name: str) -> bool:
        if self._descriptor is None:
            return True
        try:
            fcntl.lockf(self._descriptor, how, 1, _place(name))
        except (BlockingIOError, PermissionError):
            return False
        except OSError as error:  # a folder that knows no locks
            logger.info("no turns are taken: %s", error)
        return True


def _place(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % _BYTES
