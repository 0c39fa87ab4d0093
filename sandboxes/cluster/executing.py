"""A command in a container, over a WebSocket: what it prints, within bounds."""

from time import monotonic
from typing import Any, Final

from kubernetes.stream.ws_client import WSClient, get_websocket_url
from websocket import WebSocketBadStatusException, WebSocketException, setdefaulttimeout

from sandboxes.errors import ClusterRefusedError, ClusterUnavailableError

_LOOK: Final = 1.0  # seconds
setdefaulttimeout(10)  # the client takes none, and a server that does not answer would be waited for


class HandshakeError(Exception):
    """The server's answer, where it opened no WebSocket."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


def output(configuration: Any, url: str, headers: dict[str, str], *, seconds: float, most: int) -> str:
    """Standard output, read to its end. Raises `HandshakeError`, ClusterRefusedError, ClusterUnavailableError."""
    try:
        address = get_websocket_url(url)  # type: ignore[no-untyped-call]
        client: Any = WSClient(configuration, address, headers, capture_all=False)  # type: ignore[no-untyped-call]
    except WebSocketBadStatusException as error:
        raise HandshakeError(error.status_code, error.resp_body or b"") from error
    except (WebSocketException, OSError) as error:
        raise ClusterUnavailableError(f"The command could not be started: {error}") from error
    try:
        text = _read(client, seconds, most)
        if client.returncode != 0:
            raise ClusterRefusedError("The command failed in the container.")
        return text
    except (WebSocketException, OSError, ValueError) as error:
        raise ClusterUnavailableError(f"The command was cut off: {error}") from error
    finally:
        client.close()
        client.sock.shutdown()  # which the former leaves open when the server ended it


def _read(client: Any, seconds: float, most: int) -> str:
    parts: list[str] = []
    size, until = 0, monotonic() + seconds
    while client.is_open():
        client.update(timeout=_LOOK)
        part = client.read_stdout() if client.peek_stdout() else ""
        parts.append(part)
        size += len(part)
        if size > most:
            raise ClusterRefusedError("The command printed more than it should.")
        if monotonic() > until:
            raise ClusterRefusedError("The command took longer than it should.")
    parts.append(client.read_stdout() if client.peek_stdout() else "")
    return "".join(parts)
