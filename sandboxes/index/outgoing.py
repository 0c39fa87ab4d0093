"""Whether a client takes what is ready for it.

What a connection has written says little: the kernel takes megabytes at once, and files pass by this process
(sendfile). So the kernel is asked what the client's has acknowledged. A little each time is progress, however slow
the line; next to nothing is none, for a client that takes a byte now and then would stay as long as it likes.
"""

import asyncio
import socket
import struct
from typing import Final

# Bytes that have to arrive in one time of patience; of slow lines the slowest carries more.
LEAST: Final = 2048
_INFO: Final = getattr(socket, "TCP_INFO", None)
# Of Linux's struct tcp_info (linux/tcp.h): segments that are not acknowledged, bytes that were, bytes not sent yet.
_FIELDS: Final = struct.Struct("=24xI92xQ16xI")


class Outgoing:
    """Of one connection."""

    __slots__ = ("_had", "stalled_since")

    def __init__(self) -> None:
        self.stalled_since: float | None = None
        self._had = 0  # what the client had then, on a scale of its own

    def look(self, transport: asyncio.WriteTransport, now: float) -> None:
        under_way, had = _state(transport)
        if not under_way:
            self.stalled_since = None
        elif self.stalled_since is None or had - self._had >= LEAST:
            self.stalled_since, self._had = now, had


def _state(transport: asyncio.WriteTransport) -> tuple[bool, int]:
    """Whether something is on its way, and how much arrived."""
    unsent = transport.get_write_buffer_size()
    connection = transport.get_extra_info("socket")
    if _INFO is None or connection is None:
        return unsent > 0, -unsent
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, _INFO, _FIELDS.size)
    except OSError:  # it is being closed
        return unsent > 0, -unsent
    if len(info) < _FIELDS.size:  # another kernel than Linux's
        return unsent > 0, -unsent
    unacknowledged, acknowledged, waiting = _FIELDS.unpack(info)
    return bool(unsent or unacknowledged or waiting), acknowledged
