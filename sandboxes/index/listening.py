"""The socket that the index's processes share."""

import socket
from typing import Final

BACKLOG: Final = 1024
GRACE: Final = 5.0  # seconds that answers under way may still take when a process is told to end


def listen(host: str, port: int) -> socket.socket:
    """Raises `OSError`. The address may be of either family."""
    family, kind, proto, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listening = socket.socket(family, kind, proto)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening
