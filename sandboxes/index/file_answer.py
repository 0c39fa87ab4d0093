"""A file, or its metadata, as an answer: from the store with ranges, or following its flight.

A stored file may be evicted after its answer was made ready and before it is opened: then it is fetched
again.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, cast

from aiohttp import HttpVersion11, web

from sandboxes.errors import PetridishError
from sandboxes.index.errors import UnavailableError
from sandboxes.index.flight import Blob, Flight, Part, Seat
from sandboxes.index.problems import unsatisfiable
from sandboxes.index.ranges import Span, UnsatisfiableError, span_of
from sandboxes.index.recorder import Received
from sandboxes.index.storage.disk import GoneError
from sandboxes.index.store import Store
from sandboxes.index.withheld import Withheld

logger = logging.getLogger(__name__)

_AT_ONCE = 64 * 1024  # bytes that leave together with the answer's head
_PIECE = 8 * 1024 * 1024  # bytes given to the kernel at a time …
_TAKEN_IN = 300.0  # … and seconds in which the client has to take them
_READ = 256 * 1024
_REFETCHES = 2  # times

type Before = Callable[[Seat, Part | memoryview], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class FileAnswer:
    """Sends a blob. `flight` None: the blob is stored, or `size` alone answers (HEAD).

    `refetch`: a flight that brings it back into the store; None: it is there again. `check`: whether the file
    may (still) be given then; raises for what is refused by now.
    """

    blob: Blob
    size: int
    store: Store
    flight: Flight | None
    received: Received | None
    refetch: Callable[[], Awaitable[Flight | None]] | None = None
    check: Callable[[], Awaitable[bool]] | None = None

    @property
    def withheld(self) -> Withheld | None:
        return None

    async def send(self, request: web.Request) -> web.StreamResponse:
        headers = headers_of(self.blob)
        if unchanged(request, self.blob):
            return web.Response(status=304, headers=headers)
        if self.flight is not None and self.flight.failure is not None:
            raise self.flight.failure
        if self.flight is not None and self.flight.live and request.method != "HEAD":
            return await follow(request, self.flight, headers)
        return await self._send_stored(request, headers)

    async def _send_stored(self, request: web.Request, headers: dict[str, str]) -> web.StreamResponse:
        try:
            span = self._span(request)
        except UnsatisfiableError:
            return unsatisfiable(self.blob.what, self.size)
        status = 200
        if span is not None:
            status = 206
            headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{self.size}"
        for _ in range(_REFETCHES):
            with suppress(GoneError):
                return await self._send_span(request, status, headers, span or Span(0, self.size))
            await self._bring_back(request)
        return await self._send_span(request, status, headers, span or Span(0, self.size))

    async def _bring_back(self, request: web.Request) -> None:
        """Nothing of the answer has left yet, so what goes wrong is a readable error."""
        flight = await self.refetch() if self.refetch is not None else None
        if flight is not None:
            await flight.kept(partial(connected, request))
        if self.check is not None and not await self.check():
            raise UnavailableError(f"{self.blob.what} is being screened; try again.")

    async def _send_span(
        self, request: web.Request, status: int, headers: dict[str, str], span: Span
    ) -> web.StreamResponse:
        if request.method == "HEAD" or span.length == 0:
            response = web.StreamResponse(status=status, headers=headers)
            response.content_length = span.length
            await response.prepare(request)
            return response
        file = self.store.place.file(self.blob.sha256)
        if file is not None:
            with file:
                return await _send_file(request, status, headers, file, span)
        link = await self.store.place.link(self.blob.sha256)
        if link is not None:
            return web.Response(status=302, headers={"Location": link, "Cache-Control": "no-store"})
        return await self._relay(request, status, headers, span)

    async def _relay(
        self, request: web.Request, status: int, headers: dict[str, str], span: Span
    ) -> web.StreamResponse:
        """From elsewhere. Its first bytes must be here before the answer begins: else it is a readable error."""
        response = web.StreamResponse(status=status, headers=headers)
        response.content_length = span.length
        async with aclosing(self.store.place.stream(self.blob.sha256, span)) as pieces:
            piece, left = await anext(pieces, b""), span.length
            with _cut_on_failure(request):
                await response.prepare(request)
                while piece:
                    left -= len(piece)
                    await _write(response, piece)
                    piece = await anext(pieces, b"")
                if left:
                    raise UnavailableError(f"The index's storage has another {self.blob.what}.")
                await response.write_eof()
        return response

    def _span(self, request: web.Request) -> Span | None:
        """RFC 9110, 13.1.5: If-Range must be our (strong) etag; a date never is, and gives the whole file."""
        validator = request.headers.get("If-Range")
        if request.method != "GET" or (
            validator is not None and validator.strip() != f'"{self.blob.sha256}"'
        ):
            return None
        return span_of(request.headers.get("Range"), self.size)


def headers_of(blob: Blob) -> dict[str, str]:
    return {
        "Content-Type": "application/octet-stream",  # never by name: a .tar.gz is no encoded .tar
        "ETag": f'"{blob.sha256}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "max-age=0, must-revalidate",  # asked for each time: each time decided and recorded
    }


def unchanged(request: web.Request, blob: Blob) -> bool:
    """Whether the client says that it has these bytes (If-None-Match)."""
    return any(tag.value in (blob.sha256, "*") for tag in request.if_none_match or ())


def connected(request: web.Request) -> bool:
    """Whether the client is still there; it may have hung up while nothing was sent to it."""
    return request.transport is not None and not request.transport.is_closing()


async def _send_file(
    request: web.Request, status: int, headers: dict[str, str], file: BinaryIO, span: Span
) -> web.StreamResponse:
    if span.length <= _AT_ONCE:
        data = os.pread(file.fileno(), span.length, span.start)
        return web.Response(status=status, headers=headers, body=data)
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = span.length
    with _cut_on_failure(request):
        await response.prepare(request)
        for start in range(span.start, span.stop, _PIECE):
            await _sendfile(request, Part(file, start, min(_PIECE, span.stop - start)))
        await response.write_eof()
    return response


async def follow(
    request: web.Request, flight: Flight, headers: dict[str, str], before: Before | None = None
) -> web.StreamResponse:
    """The whole file as it arrives; when it fails, the connection is cut before the answer is complete.

    `before`: awaited before each piece leaves; what it raises is a failure too.
    """
    response = web.StreamResponse(headers=headers)
    if flight.length is not None:
        response.content_length = flight.length
    elif request.version >= HttpVersion11:
        response.enable_chunked_encoding()  # only so is a cut one known from a complete one
    else:
        raise UnavailableError("The index does not know the file's size yet; try again.")
    with flight.follow(partial(connected, request)) as seat, _cut_on_failure(request):
        await response.prepare(request)
        while (piece := await seat.next()) is not None:
            if before is not None:
                await before(seat, piece)
            seat.sent_on(await _send(request, response, piece))
        await response.write_eof()
    return response


async def _send(request: web.Request, response: web.StreamResponse, piece: Part | memoryview) -> int:
    """How many bytes left."""
    if isinstance(piece, memoryview):
        await _write(response, piece)
        return len(piece)
    if not response.chunked:
        await _sendfile(request, piece)
        return piece.length
    data = os.pread(piece.file.fileno(), min(piece.length, _READ), piece.start)
    if not data:
        raise UnavailableError("The file ends before its time; try again.")
    await _write(response, data)
    return len(data)


async def _write(response: web.StreamResponse, data: bytes | memoryview) -> None:
    async with asyncio.timeout(_TAKEN_IN):
        await response.write(data)


async def _sendfile(request: web.Request, part: Part) -> None:
    """From the page cache to the socket, by the kernel: no byte of it passes through this process.

    That is why the loop is asyncio's own: uvloop knows no sendfile.
    """
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client hung up")
    sent = _sent_at_once(cast("asyncio.WriteTransport", transport), part)
    if sent < part.length:
        async with asyncio.timeout(_TAKEN_IN):
            sent += await asyncio.get_running_loop().sendfile(
                cast("asyncio.WriteTransport", transport), part.file, part.start + sent, part.length - sent
            )
    if sent != part.length:
        raise UnavailableError("A file became shorter while it was sent.")


def _sent_at_once(transport: asyncio.WriteTransport, part: Part) -> int:
    """What the socket takes by itself: mostly all, and then the loop's own ways, which cost more, are not needed."""
    if transport.get_write_buffer_size():  # the head did not leave yet
        return 0
    connection: socket.socket = transport.get_extra_info("socket")
    try:
        return os.sendfile(connection.fileno(), part.file.fileno(), part.start, part.length)
    except BlockingIOError:
        return 0


@contextmanager
def _cut_on_failure(request: web.Request) -> Iterator[None]:
    """An answer that began and cannot end as promised ends with its connection, so nobody takes it for complete."""
    try:
        yield
    except (PetridishError, ConnectionError, TimeoutError) as error:
        logger.info("%s cut: %s", request.path, error)
        _abort(request)
    except Exception:
        _abort(request)
        raise


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
