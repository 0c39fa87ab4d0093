"""A client's connection: aiohttp's, which looks first whether what came was answered a moment ago (`quick.py`).

One that begins as SSH does is not HTTP at all: it belongs to `ssh_door.py`.
"""

import asyncio
import re
import socket
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from sandboxes.index.connections import Connections
from sandboxes.index.outgoing import Outgoing
from sandboxes.index.problems import unreadable
from sandboxes.index.quick import Quick
from sandboxes.index.ssh_door import GREETING, TIME, Door, Visit

_LONGEST_HEAD: Final = 4096
# What makes more of a connection than one head after the other: a body above all, whose bytes are no head.
_MORE = re.compile(rb"\n(?:content-length|transfer-encoding|upgrade|expect)[ \t]*:", re.IGNORECASE)
_END: Final = b"\r\n\r\n"


class Connection(RequestHandler):
    __slots__ = (
        *("_connections", "_door", "_first", "_last", "_outgoing", "_quick", "_simple", "_visit"),
        *("address", "head", "head_since"),
    )

    def __init__(
        self,
        quick: Quick,
        door: Door,
        connections: Connections,
        server: web.Server,
        address: str,
        **settings: Any,
    ) -> None:
        super().__init__(server, **settings)
        self.address = address
        self._outgoing = Outgoing()
        self._quick = quick
        self._door = door
        self._first = True  # until anything arrived
        self._visit: Visit | None = None
        self._connections = connections
        self._simple = True  # until something else than one whole head arrived at once
        self._last = 0.0  # on the loop's clock: when something arrived last
        self.head = b""  # of the request that the ordinary way has
        self.head_since: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._last = self.head_since = self._loop.time()
        super().connection_made(transport)
        self._connections.opened(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._connections.closed(self)
        if self._visit is not None:
            self._visit.lost(exc)
            self._visit = None

    def data_received(self, data: bytes) -> None:
        self._last = self._loop.time()
        if self._visit is not None or (self._first and data.startswith(GREETING)):
            self._speak_ssh(data)
            return
        self._first = False
        self._simple = self._simple and self._is_one_head(data)
        self.head = b""
        if self._simple and (transport := self._idle()) is not None:
            answer = self._quick.answer(data)
            if answer is not None:
                self.head_since = None
                transport.write(answer)
                return
            self.head = data  # until more arrives: then nobody could say whose head it is
        heads = self._request_count
        super().data_received(data)
        if self._request_count > heads or self._is_working:
            self.head_since = None
        elif self.head_since is None:
            self.head_since = self._last

    def _speak_ssh(self, data: bytes) -> None:
        transport = self.transport
        if self._visit is None and transport is not None:
            self._visit = self._door.enter(transport)
            self.head_since = self._last + TIME  # as if its head came then: it has so much longer
        if self._visit is None:
            self.end()
        else:
            self._visit.received(data)

    @property
    def waiting_since(self) -> float | None:
        return self._last if self._idle() is not None else None

    @property
    def stalled_since(self) -> float | None:
        return self._outgoing.stalled_since

    def look(self, now: float) -> None:
        if self.transport is not None:
            self._outgoing.look(self.transport, now)

    def end(self) -> None:
        """A transport that is closed would wait until its buffer is empty. A file that the kernel sends learns of
        the end by its socket alone: closed under it, the socket's number could be another's already."""
        transport = self.transport
        if transport is not None and transport.get_write_buffer_size():
            transport.abort()
        elif transport is not None and self._is_working:
            with suppress(OSError):
                transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        else:
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What aiohttp cannot read, or could not answer, as a problem document like every other error."""
        if request.writer.output_size > 0:
            raise ConnectionError("part of an answer has left already")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self.log_exception("a request could not be answered", exc_info=exc)
        response = unreadable(HTTPStatus(status))
        response.force_close()
        return response

    @staticmethod
    def _is_one_head(data: bytes) -> bool:
        return (
            len(data) <= _LONGEST_HEAD
            and data.startswith(b"GET /simple/")
            and data.endswith(_END)
            and data.count(_END) == 1
            and _MORE.search(data) is None
        )

    @property
    def _is_working(self) -> bool:
        return bool(self._messages) or self._current_request is not None or self._request_in_progress

    def _idle(self) -> asyncio.Transport | None:
        """The way to the client, if nothing of an earlier request is under way, in either direction."""
        transport = self.transport
        if self._is_working or self._close or self._force_close:
            return None
        if transport is None or transport.is_closing() or transport.get_write_buffer_size():
            return None
        return transport
