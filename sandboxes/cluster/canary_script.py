"""Runs inside the canary: a neighbour that answers whoever reaches it. Standard library only, Python 3.8+.

TCP 8080 says a word and hangs up; port 53 answers every DNS query, over UDP and TCP,
with "there is no such name". A probe that gets nothing from here was stopped on its
way, provided that somebody else got an answer at the same time.
"""

from __future__ import annotations

import os
import selectors
import socket
import sys
from typing import Any

SECONDS = 0.5  # a connection that says nothing is closed, so that it keeps nobody waiting
MAX_QUERY = 512


def dns_answer(query: bytes) -> bytes:
    """The query's own header and question, as an answer with RCODE 3, NXDOMAIN (RFC 1035, 4.1.1)."""
    if len(query) < 12:
        return b""
    flags = bytes([query[2] | 0x80, (query[3] & 0x70) | 0x03])
    return query[:2] + flags + query[4:6] + bytes(6) + query[12:]


def serve_word(connection: socket.socket) -> None:
    """One word over TCP."""
    connection.sendall(b"canary\n")


def serve_dns(connection: socket.socket) -> None:
    """One query over TCP: two bytes of length, then the message (RFC 1035, 4.2.2)."""
    head = connection.recv(2)
    if len(head) == 2:
        answer = dns_answer(connection.recv(min(int.from_bytes(head, "big"), MAX_QUERY)))
        connection.sendall(len(answer).to_bytes(2, "big") + answer)


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
        found.listen(128)
    return found


def answer(listener: socket.socket, serve: Any) -> None:
    """One caller. Whatever it does wrong ends with it."""
    try:
        if listener.type == socket.SOCK_DGRAM:
            query, caller = listener.recvfrom(MAX_QUERY)
            listener.sendto(dns_answer(query), caller)
            return
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(SECONDS)
            serve(connection)
    except OSError:
        return


def main() -> int:
    """For ever."""
    dns = int(os.environ.get("PETRIDISH_CANARY_DNS_PORT", "53"))
    word = int(os.environ.get("PETRIDISH_CANARY_PORT", "8080"))
    waiting = selectors.DefaultSelector()
    waiting.register(listen(socket.SOCK_STREAM, word), selectors.EVENT_READ, serve_word)
    waiting.register(listen(socket.SOCK_STREAM, dns), selectors.EVENT_READ, serve_dns)
    waiting.register(listen(socket.SOCK_DGRAM, dns), selectors.EVENT_READ, None)
    while True:
        for key, _ in waiting.select():
            answer(key.fileobj, key.data)  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(main())
