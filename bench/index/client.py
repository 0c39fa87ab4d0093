"""Many plain HTTP/1.1 connections from one thread, as cheap as Python allows: the server is what is measured."""

import selectors
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter

_BUFFER = memoryview(bytearray(1 << 20))


@dataclass(slots=True)
class Get:
    """One answer: seconds from the request to its first body byte and to its end."""

    first: float = 0.0
    end: float = 0.0
    size: int = 0


@dataclass(slots=True)
class _Connection:
    socket: socket.socket
    request: bytes
    left: int  # requests still to make, this one included
    started: float = 0.0
    head: bytes = b""
    length: int = -1
    got: Get = field(default_factory=Get)

    def ask(self) -> None:
        self.started, self.head, self.length, self.got = perf_counter(), b"", -1, Get()
        self.socket.sendall(self.request)

    def read(self) -> bool:
        """Whether the answer is complete."""
        count = self.socket.recv_into(_BUFFER)
        if count == 0:
            raise ConnectionError(f"cut after {self.got.size} bytes of {self.length}: {self.head[:200]!r}")
        if self.length < 0:
            count = self._read_head(count)
        if count and not self.got.size:
            self.got.first = perf_counter() - self.started
        self.got.size += count
        if self.length < 0 or self.got.size < self.length:
            return False
        self.got.end = perf_counter() - self.started
        return True

    def _read_head(self, count: int) -> int:
        """How many bytes of the body came with it."""
        data = self.head + bytes(_BUFFER[:count])
        self.head, end, body = data.partition(b"\r\n\r\n")
        if not end:
            self.head = data
            return 0
        if b" 200 " not in self.head[:20]:
            raise ConnectionError(_said(self.head))
        lines = self.head.lower().split(b"\r\n")
        lengths = [int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")]
        if not lengths:
            raise ConnectionError(f"no length: {_said(self.head)}")
        self.length = lengths[0]
        return len(body)


def _said(head: bytes) -> str:
    """Its first line, and then the others."""
    return head[:500].decode("latin-1").replace("\r\n", "\n")


def request_of(path: str, authorization: str = "", **headers: str) -> bytes:
    """Of headers, `_` stands for `-`."""
    given = ({"Authorization": authorization} if authorization else {}) | headers
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in given.items())
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\n{lines}\r\n".encode()


def run(port: int, requests: Sequence[bytes], times: int = 1) -> list[Get]:
    """Each request on a connection of its own, so often one after the other; all connections at once."""
    done: list[Get] = []
    with selectors.DefaultSelector() as selector:
        for request in requests:
            connected = socket.create_connection(("127.0.0.1", port))
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(connected, selectors.EVENT_READ, _Connection(connected, request, times))
        for key in list(selector.get_map().values()):
            key.data.ask()
        while selector.get_map():
            for key, _ in selector.select():
                if _advance(key.data, done):
                    selector.unregister(key.fileobj)
                    key.data.socket.close()
    return done


def _advance(connection: _Connection, done: list[Get]) -> bool:
    """Whether the connection has done all it should."""
    if not connection.read():
        return False
    done.append(connection.got)
    connection.left -= 1
    if connection.left:
        connection.ask()
    return not connection.left
