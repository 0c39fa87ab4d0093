"""A file, or its metadata, as an answer: from the store with ranges, or following its download."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from aiohttp import web

from sandboxes.errors import PetridishError
from sandboxes.index.errors import UnavailableError
from sandboxes.index.flight import Blob, Flight
from sandboxes.index.ranges import Span, UnsatisfiableError, span_of
from sandboxes.index.recorder import Received
from sandboxes.index.store import Store

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FileAnswer:
    """Sends a blob. `flight` None: the blob is stored, or `size` alone answers (HEAD)."""

    blob: Blob
    size: int
    store: Store
    flight: Flight | None
    received: Received | None

    async def send(self, request: web.Request) -> web.StreamResponse:
        headers = {
            "Content-Type": "application/octet-stream",  # never by name: a .tar.gz is no encoded .tar
            "ETag": f'"{self.blob.sha256}"',
            "Accept-Ranges": "bytes",
            "Cache-Control": "max-age=0, must-revalidate",  # asked for each time: each time decided and recorded
        }
        if unchanged(request, self.blob):
            return web.Response(status=304, headers=headers)
        if self.flight is not None and self.flight.failure is not None:
            raise self.flight.failure
        if self.flight is not None and self.flight.live:
            return await _follow(request, self.flight, self.size, headers)
        return await self._send_stored(request, headers)

    async def _send_stored(self, request: web.Request, headers: dict[str, str]) -> web.StreamResponse:
        try:
            span = self._span(request)
        except UnsatisfiableError:
            headers["Content-Range"] = f"bytes */{self.size}"
            return web.Response(status=416, headers=headers)
        status = 200
        if span is not None:
            status = 206
            headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{self.size}"
        response = web.StreamResponse(status=status, headers=headers)
        return await self._send_span(request, response, span or Span(0, self.size))

    async def _send_span(
        self, request: web.Request, response: web.StreamResponse, span: Span
    ) -> web.StreamResponse:
        response.content_length = span.length
        if request.method == "HEAD" or span.length == 0:
            await response.prepare(request)
            return response
        try:
            file = self.store.place(self.blob.sha256).open("rb")
        except OSError as error:
            raise UnavailableError(f"The index cannot read {self.blob.what}.") from error
        with file, _cut_on_failure(request):
            await response.prepare(request)
            await _sendfile(request, file, span)
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


def unchanged(request: web.Request, blob: Blob) -> bool:
    """Whether the client says that it has these bytes (If-None-Match)."""
    return any(tag.value in (blob.sha256, "*") for tag in request.if_none_match or ())


async def _sendfile(request: web.Request, file: BinaryIO, span: Span) -> None:
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client hung up")
    await asyncio.get_running_loop().sendfile(transport, file, span.start, span.length)


async def _follow(
    request: web.Request, flight: Flight, size: int, headers: dict[str, str]
) -> web.StreamResponse:
    """The whole file as it arrives; when it fails, the connection is cut before the answer is complete."""
    response = web.StreamResponse(headers=headers)
    response.content_length = size
    with flight.follow(lambda: connected(request)) as chunks, _cut_on_failure(request):
        await response.prepare(request)
        async for chunk in chunks:
            await response.write(chunk)
        await response.write_eof()
    return response


@contextmanager
def _cut_on_failure(request: web.Request) -> Iterator[None]:
    """An answer that began and cannot end as promised ends with its connection, so nobody takes it for complete."""
    try:
        yield
    except (PetridishError, ConnectionError) as error:
        logger.info("%s cut: %s", request.path, error)
        _abort(request)
    except Exception:
        _abort(request)
        raise


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def connected(request: web.Request) -> bool:
    """Whether the client is still there; it may have hung up while nothing was sent to it."""
    return request.transport is not None and not request.transport.is_closing()
