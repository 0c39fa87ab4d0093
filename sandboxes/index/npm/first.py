"""The answer with a tarball that nobody had before: it is sent while it arrives.

Verdicts and the record of installs go by sha256, which a packument does not name; it is known when the last
byte is here. So the last bytes leave when the file was verified, decided once more by what it is, and
recorded. Whoever is refused then has an incomplete one, and its connection is cut.
"""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable
from typing import BinaryIO, Final

from aiohttp import web

from sandboxes.index.file_answer import FileAnswer, follow, headers_of
from sandboxes.index.flight import Blob, Flight, Part, Seat
from sandboxes.index.npm.view import Stored

_BLOCK: Final = 1024 * 1024


class FirstAnswer:
    """`settle`: raises when it is not to be given; its argument tells what it is."""

    received: None = None  # recorded by `settle`
    withheld: None = None

    def __init__(
        self,
        blob: Blob,
        flight: Flight,
        settle: Callable[[Callable[[], Awaitable[Stored]]], Awaitable[None]],
        stored: Callable[[], Awaitable[FileAnswer]],
    ) -> None:
        """`stored`: the answer once the file is in the store, settled too."""
        self._blob = blob
        self._flight = flight
        self._settle = settle
        self._stored = stored
        self._passed_by: hashlib._Hash | None = None  # of what was not stored, from its first byte on

    async def send(self, request: web.Request) -> web.StreamResponse:
        if self._flight.failure is not None:
            raise self._flight.failure
        if not self._flight.live:
            return await (await self._stored()).send(request)
        return await follow(request, self._flight, headers_of(self._blob), self._before)

    async def _before(self, seat: Seat, piece: Part | memoryview) -> None:
        """Before a piece leaves."""
        length = piece.length if isinstance(piece, Part) else len(piece)
        if isinstance(piece, memoryview):
            if self._passed_by is None:
                self._passed_by = await self._on_disk(seat, seat.sent)
            self._passed_by.update(piece)
        if seat.sent + length >= self._flight.written:
            await self._settle(lambda: self._what_it_is(seat))

    async def _what_it_is(self, seat: Seat) -> Stored:
        size = self._flight.written
        digest = self._passed_by or await self._on_disk(seat, size)
        return Stored(digest.hexdigest(), size)

    async def _on_disk(self, seat: Seat, size: int) -> "hashlib._Hash":
        if seat.file is None:
            return hashlib.sha256()
        return await asyncio.to_thread(sha256_of, seat.file, size)


def sha256_of(file: BinaryIO, size: int) -> "hashlib._Hash":
    """Of its first bytes. The file may be closed meanwhile, by whoever does not want to know any more."""
    digest, offset = hashlib.sha256(), 0
    while offset < size and (block := os.pread(file.fileno(), min(_BLOCK, size - offset), offset)):
        digest.update(block)
        offset += len(block)
    return digest
