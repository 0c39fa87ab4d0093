"""One tunnel: bytes both ways, with back-pressure and half-closes, until both sides are done or it is cut.

Nothing here asks whether it may go on; `watch.py` does that for all tunnels at once, and cuts.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Final

from sandboxes.index.egress import hello
from sandboxes.index.egress.head import Authority
from sandboxes.index.egress.hello import HelloError

CHUNK: Final = 64 * 1024
HELLO_SECONDS: Final = 15.0
HTTPS: Final = 443  # where nothing but TLS goes
ENDED: Final = "Closed by its ends."
BROKEN: Final = "Broken off by one of its ends."
_CLOSE_SECONDS: Final = 5.0
_LINGER_SECONDS: Final = 1.0


@dataclass(frozen=True, eq=False)
class Stream:
    """One side of a tunnel."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def abort(self) -> None:
        self.writer.transport.abort()

    async def close(self) -> None:
        """Waits a little for what was written to leave; who takes nothing loses it."""
        self.writer.close()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self.writer.wait_closed()
        except OSError:  # a TimeoutError is one
            self.abort()

    async def linger(self) -> None:
        """After a refusal: closing with bytes unread would make the answer be lost (RFC 9112, 9.6)."""
        with suppress(OSError):
            self.writer.write_eof()
            async with asyncio.timeout(_LINGER_SECONDS):
                while await self.reader.read(CHUNK):
                    pass


class Tunnel:
    """`reason` says how it ended; `allowed` turns False when the hello asked for another host."""

    def __init__(self, number: int, to: Authority, client: Stream, server: Stream) -> None:
        self.number = number
        self.up = self.down = 0
        self.opened = self.touched = self.confirmed = monotonic()
        self.reason, self.allowed = "", True
        self._to, self._client, self._server = to, client, server

    def cut(self, reason: str) -> None:
        """At once, both sides; what is under way is lost."""
        self.reason = self.reason or reason
        self._client.abort()
        self._server.abort()

    async def run(self, first: bytes) -> None:
        """`first` are bytes that the client sent with its request. Returns once nothing can pass any more."""
        ways = [asyncio.create_task(self._upward(first)), asyncio.create_task(self._downward())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for way in ways:
                way.cancel()
            ends = await asyncio.gather(*ways, return_exceptions=True)
        errors = [end for end in ends if isinstance(end, Exception)]
        refused = next((error for error in errors if isinstance(error, HelloError)), None)
        if refused is not None:
            self.reason, self.allowed = str(refused), False
        elif unforeseen := [error for error in errors if not isinstance(error, OSError)]:
            raise unforeseen[0]
        self.reason = self.reason or (BROKEN if errors else ENDED)

    async def _upward(self, first: bytes) -> None:
        """The client's bytes to the server; the first only when the hello among them names the host."""
        try:
            async with asyncio.timeout(HELLO_SECONDS) as limit:
                begun = await self._begin(first, limit)
        except TimeoutError as error:
            raise HelloError("No whole TLS hello came in time.") from error
        except HelloError:
            self._client.writer.write(hello.UNRECOGNISED)
            raise
        await self._send(self._server.writer, begun, up=True)
        await self._pump(self._client.reader, self._server.writer, up=True)

    async def _begin(self, data: bytes, limit: asyncio.Timeout) -> bytes:
        """What may be sent on first. On the port of HTTPS that is a hello; elsewhere the server may speak first."""
        reader = self._client.reader
        if self._to.port != HTTPS and not data:
            limit.reschedule(None)
            data = await reader.read(CHUNK)
            limit.reschedule(asyncio.get_running_loop().time() + HELLO_SECONDS)
        if self._to.port != HTTPS and data[:1] != bytes([hello.HANDSHAKE]):
            return data
        while (name := hello.name_in(data)) is None:
            more = await reader.read(CHUNK)
            if not more and not data:
                return data
            if not more:
                raise HelloError("The connection ended before its TLS hello did.")
            data += more
            if len(data) > 2 * hello.LONGEST:
                raise HelloError("The TLS hello is too long.")
        if name != self._to.host:
            raise HelloError(f"The TLS hello asks for {name or 'no host'}, and {self._to.host} is allowed.")
        return data

    async def _downward(self) -> None:
        await self._pump(self._server.reader, self._client.writer, up=False)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool) -> None:
        while data := await reader.read(CHUNK):
            await self._send(writer, data, up=up)
        if writer.can_write_eof() and not writer.is_closing():
            writer.write_eof()

    async def _send(self, writer: asyncio.StreamWriter, data: bytes, *, up: bool) -> None:
        """Waits while the other side takes nothing: then we take nothing from this one either."""
        if up:
            self.up += len(data)
        else:
            self.down += len(data)
        self.touched = monotonic()
        writer.write(data)
        await writer.drain()
