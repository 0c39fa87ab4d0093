"""Core metadata files (PEP 658): served only when they are of the file that they are asked of.

They are the one thing a sandbox gets without an install on record, so they must
not carry anything else. They are checked when they leave, not when they arrive:
the store knows bytes by their sha256 only, and the same ones may have come as a
file before.
"""

import asyncio

from packaging.metadata import parse_email
from packaging.version import Version

from sandboxes.index import budget
from sandboxes.index.errors import UnusableError
from sandboxes.index.lru import Lru
from sandboxes.index.names import normalise
from sandboxes.index.store import Store

LARGEST = 2 * 1024 * 1024  # bytes; long descriptions are some 100 kB
_CHECKS = 2  # threads at once

type _Key = tuple[str, str, str]


class MetadataCheck:
    """Raises `UnusableError` for stored bytes that are no metadata of a project's version."""

    def __init__(self, store: Store) -> None:
        """Needs a running loop."""
        self._store = store
        self._good: Lru[_Key, bool] = Lru(budget.REMEMBERED)
        self._checking = asyncio.Semaphore(_CHECKS)

    async def check(self, sha256: str, project: str, version: str, what: str) -> None:
        key = (sha256, project, version)
        if self._good.get(key):
            return
        if (await self._store.size(sha256) or 0) > LARGEST:
            raise UnusableError(f"{what} is larger than {LARGEST >> 20} MiB.")
        async with self._checking:
            data = await self._store.read(sha256)
            if not await asyncio.to_thread(is_metadata_of, data, project, version):
                raise UnusableError(f"{what} is no metadata of {project} {version}.")
        self._good.put(key, True)


def is_metadata_of(data: bytes, project: str, version: str) -> bool:
    """Whether `data` is core metadata whose name (normalised) and version are these, and nothing but text.

    The parser takes any bytes; what is a program as well as metadata must not come this way.
    """
    try:
        if "\0" in data.decode():  # UTF-8, as the specification has it
            return False
        fields, _ = parse_email(data)
        return normalise(fields["name"]) == project and Version(fields["version"]) == Version(version)
    except (LookupError, ValueError, AssertionError, RecursionError):
        return False
