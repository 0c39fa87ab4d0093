"""Fills the store with what a lock file of npm pins, by asking the index for it as npm does.

npm itself is not needed: a lock file names every tarball there is to fetch, those for other platforms too.
"""

import asyncio
import hashlib
from typing import Final

import aiohttp

from sandboxes.index.config import Config
from sandboxes.index.flight import ALGORITHMS
from sandboxes.index.npm.lock_file import LockFile, Pinned
from sandboxes.index.npm.render import tarball_url
from sandboxes.index.prefetch import Loopback, Report

_AT_ONCE: Final = 8
_CHUNK: Final = 256 * 1024


async def prefetch_npm(config: Config, lock: LockFile) -> Report:
    async with Loopback(config) as index, aiohttp.ClientSession(index.origin) as session:
        places = asyncio.Semaphore(_AT_ONCE)

        async def fetch(pinned: Pinned) -> None:
            async with places:
                if why := await _fetched(session, pinned):
                    index.report.failures[str(pinned)] = why

        await asyncio.gather(*map(fetch, lock.pinned))
        return index.report


async def _fetched(session: aiohttp.ClientSession, pinned: Pinned) -> str:
    """Why not; "" for success."""
    wanted = hashlib.new(ALGORITHMS[len(pinned.digest)]) if pinned.digest else None
    try:
        async with session.get(tarball_url("", pinned.name, pinned.version)) as answer:
            if answer.status != 200:
                return answer.reason or str(answer.status)
            async for chunk in answer.content.iter_chunked(_CHUNK):
                if wanted is not None:
                    wanted.update(chunk)
    except aiohttp.ClientError:
        return "what the upstream sends is not what its packument says, or was refused at its end"
    if wanted is not None and wanted.hexdigest() != pinned.digest:
        return "its integrity is not the one in the lock file"
    return ""
