"""An API server that answers whatever a test tells it to."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

type Answer = tuple[int, dict[str, str], bytes]
type Script = Callable[[str, str], Answer]


def status(code: int, message: str, **headers: str) -> Answer:
    body = {"kind": "Status", "code": code, "message": message}
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return code, names, json.dumps(body).encode()


def found(body: dict[str, Any]) -> Answer:
    return 200, {}, json.dumps(body).encode()


class Stub:
    """An API server that says what a test tells it to, and remembers what was asked."""

    def __init__(self) -> None:
        self.answer: Script = lambda method, path: status(500, "unset")
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.bodies: list[bytes] = []
        self.release = threading.Event()
        self.remembers = True


@contextmanager
def serving() -> Iterator[tuple[Stub, int]]:
    """A stub and the port where it answers."""
    stub = Stub()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if stub.remembers:
                stub.asked.append((self.command, self.path, dict(self.headers)))
                stub.bodies.append(body)
            code, headers, answer = stub.answer(self.command, self.path)
            if "Date" in headers:
                self.send_response_only(code)
            else:
                self.send_response(code)
            for name, value in {**headers, "Content-Length": str(len(answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield stub, server.server_port
    stub.release.set()
    server.shutdown()
    thread.join()
    server.server_close()
