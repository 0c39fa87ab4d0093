"""An API server's `exec`, as far as it goes: a WebSocket (RFC 6455) with channels, that really runs the command."""

import base64
import hashlib
import json
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_STDOUT, _ERROR = 1, 3

type Run = Callable[[list[str]], tuple[bytes, int]]


def really(command: list[str]) -> tuple[bytes, int]:
    """Its output and its exit code."""
    done = subprocess.run(command, capture_output=True, check=False)
    return done.stdout, done.returncode


class PodServer:
    """`asked` is the target and the headers of each request."""

    def __init__(self, run: Run, refuse: bytes = b"") -> None:
        self.asked: list[tuple[str, str]] = []
        self._run = run
        self._refuse = refuse
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]

    def serve(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            with client:
                self._answer(client)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _answer(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(65536)
        first, _, rest = head.decode().partition("\r\n")
        self.asked.append((first.split()[1], rest))
        if self._refuse:
            client.sendall(self._refuse)
            return
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in rest.split("\r\n"))
        }
        accept = base64.b64encode(
            hashlib.sha1(headers["sec-websocket-key"].encode() + _MAGIC, usedforsecurity=False).digest()
        ).decode()
        client.sendall(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n".encode()
        )
        output, code = self._run(parse_qs(urlsplit(self.asked[-1][0]).query)["command"])
        for start in range(0, len(output), 4096):
            client.sendall(_frame(_STDOUT, output[start : start + 4096]))
        status: dict[str, object] = {"status": "Success"}
        if code:
            causes = [{"reason": "ExitCode", "message": str(code)}]
            status = {"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": causes}}
        client.sendall(_frame(_ERROR, json.dumps(status).encode()) + struct.pack(">BBH", 0x88, 2, 1000))
        client.recv(65536)


def _frame(channel: int, data: bytes) -> bytes:
    payload = bytes([channel]) + data
    size = len(payload)
    return (struct.pack(">BB", 0x82, size) if size < 126 else struct.pack(">BBH", 0x82, 126, size)) + payload


@contextmanager
def serving(run: Run = really, refuse: bytes = b"") -> Iterator[PodServer]:
    server = PodServer(run, refuse)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join(5)
