"""A proxy between the driver and a cluster's API that misbehaves on purpose, and reproducibly.

Which fault a request meets depends on the seed, on what the request is about (its
namespace) and on how many requests about that came before. So a run repeats itself
whatever the threads do, and 500 sandboxes at the same time are 500 seeded runs.
"""

import asyncio
import contextlib
import json
import random
import re
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Final, Self

type Fault = str

# What a busy or broken API server does. "lost" is the worst: written, and nobody is told.
FAULTS: Final = ("429", "409", "410", "500", "503", "cut", "cut in the answer", "stall", "lost")
_NAMESPACE: Final = re.compile(r"/namespaces/([^/?]+)")
_RETRY_AFTER: Final = frozenset(("429", "503"))


@dataclass(frozen=True)
class Request:
    """One request as it came in."""

    method: str
    target: str
    raw: bytes

    @cached_property
    def about(self) -> str:
        """The namespace, also that which it makes."""
        match = _NAMESPACE.search(self.target)
        if match is None and self.method == "POST" and "/namespaces" in self.target:
            return str(json.loads(self.raw.partition(b"\r\n\r\n")[2])["metadata"]["name"])
        return match[1] if match else "the cluster"

    @property
    def is_listing(self) -> bool:
        return self.method == "GET" and "limit=" in self.target


type Choice = Callable[[Request, int], Fault | None]


def seeded(seed: int, *, share: float, most: int = 40) -> Choice:
    """Each request meets a fault with that probability, until `most` happened about the same thing."""
    seen: Counter[str] = Counter()

    def choose(request: Request, number: int) -> Fault | None:
        dice = random.Random(f"{seed}/{request.about}/{number}")
        if dice.random() >= share or seen[request.about] >= most:
            return None
        fault = dice.choice(FAULTS)
        if fault == "410" and not request.is_listing:  # only a listing can expire
            fault = "500"
        seen[request.about] += 1
        return fault

    return choose


class FaultProxy:
    """Runs in a thread of its own. `url` is where the driver should go; `met` counts the faults."""

    def __init__(self, upstream_port: int, choose: Choice, *, stall_seconds: float = 30.0) -> None:
        self.choose = choose
        self.met: Counter[Fault] = Counter()
        self.port = 0
        self._upstream = upstream_port
        self._stall = stall_seconds
        self._numbers: Counter[str] = Counter()
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}  # by who waits for its end
        self._serving: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._connected, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        try:
            self._loop.run_forever()
        finally:
            server.close()
            self._loop.run_until_complete(self._close_all())
            self._loop.close()

    async def _close_all(self) -> None:
        """Whatever is under way, and every connection on both sides, also one that is closing but not yet closed."""
        tasks = asyncio.all_tasks() - {asyncio.current_task(), *self._open}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in self._open.values():
            writer.transport.abort()
        await asyncio.gather(*self._open)
        await asyncio.sleep(0)  # a socket is closed in the loop's next turn

    def _keep(self, writer: asyncio.StreamWriter) -> None:
        """Until it is closed."""

        async def wait() -> None:
            with contextlib.suppress(OSError):
                await writer.wait_closed()

        task = self._loop.create_task(wait())
        self._open[task] = writer
        task.add_done_callback(self._open.pop)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._keep(writer)
        task = self._loop.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, with one of its own to the cluster. A fault on the wire ends both."""
        upstream = _Upstream(self._upstream, self._keep)
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.suppress(OSError, asyncio.IncompleteReadError))
            stack.callback(writer.close)
            stack.callback(upstream.close)
            while True:
                request = await _read(reader)
                number = self._numbers[request.about]
                self._numbers[request.about] += 1
                fault = self.choose(request, number)
                if fault is not None:
                    self.met[fault] += 1
                if not await self._answer(fault, request, writer, upstream):
                    break

    async def _answer(
        self, fault: Fault | None, request: Request, writer: asyncio.StreamWriter, upstream: "_Upstream"
    ) -> bool:
        """Whether the connection is still good afterwards."""
        if fault == "cut":
            return False
        if fault == "stall":
            await asyncio.sleep(self._stall)
            return False
        if fault is not None and fault.isdecimal():
            writer.write(_refusal(int(fault)))
            await writer.drain()
            return True
        answer = await upstream.ask(request)
        if fault == "lost":
            return False
        writer.write(answer[: len(answer) // 2] if fault == "cut in the answer" else answer)
        await writer.drain()
        return fault is None and not upstream.ended


class _Upstream:
    """A connection to the cluster, opened when it is needed."""

    def __init__(self, port: int, opened: Callable[[asyncio.StreamWriter], None]) -> None:
        self.ended = False  # the last answer was told to be the last one of its connection
        self._port = port
        self._opened = opened
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: Request) -> bytes:
        """The whole answer, as it came."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=2**26)
            self._opened(self._streams[1])
        reader, writer = self._streams
        writer.write(request.raw)
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        headers = _headers(head)
        self.ended = headers.get("connection", "").lower() == "close"
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return head + await _chunks(reader)
        if "content-length" in headers:
            return head + await reader.readexactly(int(headers["content-length"]))
        self.ended = True
        return head + await reader.read(-1)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    """A chunked body as it came; nobody here sends trailers (RFC 9112, 7.1)."""
    read = b""
    while True:
        size = await reader.readuntil(b"\r\n")
        read += size + await reader.readexactly(int(size, 16) + 2)
        if int(size, 16) == 0:
            return read


async def _read(reader: asyncio.StreamReader) -> Request:
    head = await reader.readuntil(b"\r\n\r\n")
    method, target, _ = head.decode("latin-1").split(" ", 2)
    body = await reader.readexactly(int(_headers(head).get("content-length", 0)))
    return Request(method, target, head + body)


def _headers(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:-2]
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _refusal(status: int) -> bytes:
    """As the API server says it; 0 seconds, so that a test need not wait."""
    message = {409: "the object has been modified", 410: "the provided continue parameter is too old"}
    body = json.dumps(
        {"kind": "Status", "status": "Failure", "code": status, "message": message.get(status, "injected")}
    ).encode()
    after = "Retry-After: 0\r\n" if str(status) in _RETRY_AFTER else ""
    head = f"HTTP/1.1 {status} Injected\r\nContent-Type: application/json\r\n{after}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
