"""Runs inside the canary: a neighbour that answers whoever reaches it. Standard library only, Python 3.8+.

TCP 8080 says a word and hangs up; port 53 answers every DNS query, over UDP and TCP,
with "there is no such name". A probe that gets nothing from here was stopped on its
way, provided that somebody else got an answer at the same time.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

SECONDS = 0.5  # a connection that says nothing is closed, so that it costs no more than that
MAX_QUERY = 512
MOST_OPEN = 200  # of connections that have not asked yet; the oldest goes first


def dns_answer(query: bytes) -> bytes:
    """The query's own header and question, as an answer with RCODE 3, NXDOMAIN (RFC 1035, 4.1.1)."""
    if len(query) < 12:
        return b""
    flags = bytes([query[2] | 0x80, (query[3] & 0x70) | 0x03])
    return query[:2] + flags + query[4:6] + bytes(6) + query[12:]


def dns_over_tcp(received: bytes) -> bytes:
    """The answer to a whole query: two bytes of length, then the message (RFC 1035, 4.2.2); b"" if it is none."""
    size = int.from_bytes(received[:2], "big")
    if len(received) < 2 or len(received) - 2 < size:
        return b""
    answer = dns_answer(received[2 : 2 + min(size, MAX_QUERY)])
    return len(answer).to_bytes(2, "big") + answer


def listen(kind: int, port: int) -> socket.socket:
    """A socket for both families if there are two."""
    if socket.has_dualstack_ipv6():
        found = socket.socket(socket.AF_INET6, kind)
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        address: Any = ("::", port)
    else:
        found = socket.socket(socket.AF_INET, kind)
        address = ("0.0.0.0", port)  # noqa: S104 -- to be found by everybody is what a canary is for
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind(address)
    if kind == socket.SOCK_STREAM:
        found.listen(1024)
    found.setblocking(False)
    return found


class Canary:
    """One thread that never waits for anybody: who connects and says nothing must not silence it for others."""

    def __init__(self, word: int, dns: int) -> None:
        self.selector = selectors.DefaultSelector()
        self.open: dict[socket.socket, float] = {}  # who has not asked yet, and when that began; oldest first
        for kind, port, serve in (
            (socket.SOCK_DGRAM, dns, self.serve_datagrams),
            (socket.SOCK_STREAM, word, self.say_the_word),
            (socket.SOCK_STREAM, dns, self.take_in),
        ):
            self.selector.register(listen(kind, port), selectors.EVENT_READ, serve)

    def turn(self) -> None:
        """Serves whoever is there now, and closes who has been silent for too long."""
        for key, _ in self.selector.select(SECONDS):
            try:
                key.data(key.fileobj)
            except OSError:  # whatever a caller does wrong ends with them
                self.drop(key.fileobj)
        for connection, since in list(self.open.items()):
            if time.monotonic() - since < SECONDS:
                break
            self.drop(connection)

    def serve_datagrams(self, listener: socket.socket) -> None:
        """Every query that has come."""
        while True:
            try:
                query, caller = listener.recvfrom(MAX_QUERY)
            except BlockingIOError:
                return
            with contextlib.suppress(OSError):
                listener.sendto(dns_answer(query), caller)

    def say_the_word(self, listener: socket.socket) -> None:
        """Everybody who has come."""
        for connection in accepted(listener):
            with connection, contextlib.suppress(OSError):
                connection.send(b"canary\n")

    def take_in(self, listener: socket.socket) -> None:
        """They have to ask first."""
        for connection in accepted(listener):
            self.open[connection] = time.monotonic()
            self.selector.register(connection, selectors.EVENT_READ, self.hear)
            if len(self.open) > MOST_OPEN:
                self.drop(next(iter(self.open)))

    def hear(self, connection: socket.socket) -> None:
        """A query that fits one packet, as every honest one does."""
        with contextlib.suppress(OSError):
            connection.send(dns_over_tcp(connection.recv(MAX_QUERY + 2)))
        self.drop(connection)

    def drop(self, connection: Any) -> None:
        """Only callers are ever dropped."""
        if self.open.pop(connection, None) is not None:
            self.selector.unregister(connection)
            connection.close()


def accepted(listener: socket.socket) -> Iterator[socket.socket]:
    """Everybody in the queue, none of whom is waited for."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # nobody more, or no room for them at the moment
            return
        connection.setblocking(False)
        yield connection


def main() -> int:
    """For ever."""
    dns = int(os.environ.get("PETRIDISH_CANARY_DNS_PORT", "53"))
    canary = Canary(int(os.environ.get("PETRIDISH_CANARY_PORT", "8080")), dns)
    while True:
        canary.turn()


if __name__ == "__main__":
    sys.exit(main())
