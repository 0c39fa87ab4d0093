"""Connections as a hostile client makes them: half a head, too many, nothing that can be read."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from sandboxes.index import connections
from sandboxes.index.app import make_app
from sandboxes.index.config import Config, source
from sandboxes.index.connections import Connections
from sandboxes.index.listening import listen
from sandboxes.index.serving import Serving
from tests.sandboxes.index.conftest import Index, database_url, path_of
from tests.sandboxes.index.patience import until
from tests.sandboxes.index.upstream_server import Fault, UpstreamServer
from tests.sandboxes.index.wheels import Package

PATIENCE = 30.0  # seconds
MOST = 3  # connections


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, text: str) -> None:
        self.writer.write(text.encode("latin-1"))
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(PATIENCE):
            status, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(status.split()[1]), headers, body

    async def ask(self, path: str = "/healthz", auth: str = "") -> int:
        await self.send(head(path, auth))
        return (await self.answer())[0]

    async def is_closed(self) -> bool:
        """Waits for it, and for nothing else: a byte fails the test."""
        async with asyncio.timeout(PATIENCE):
            with suppress(ConnectionResetError):
                assert await self.reader.read(1) == b""
        return True


def head(path: str, auth: str = "") -> str:
    return f"GET {path} HTTP/1.1\r\nHost: index\r\n" + (f"Authorization: {auth}\r\n" if auth else "") + "\r\n"


type Connect = Callable[[], Awaitable[Client]]


@pytest.fixture
async def connect(
    index: Index, upstream: UpstreamServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Connect]:
    """Served as `worker.py` does, with few connections and little patience."""
    monkeypatch.setattr(connections, "_LOOK", 0.05)
    async with served(index, upstream) as made:
        yield made


@asynccontextmanager
async def served(index: Index, upstream: UpstreamServer) -> AsyncIterator[Connect]:
    sources = (source("INDEX_UPSTREAM", upstream.url),)
    app = await make_app(Config(database_url(), "127.0.0.1", 0, index.folder, sources))
    listening = listen("127.0.0.1", 0)
    address = listening.getsockname()
    serving = Serving(app, grace=0.2, connections=Connections(MOST))
    await serving.start(listening)
    writers: list[asyncio.StreamWriter] = []

    async def connect() -> Client:
        reader, writer = await asyncio.open_connection(*address)
        writers.append(writer)
        return Client(reader, writer)

    yield connect
    for writer in writers:
        writer.close()
    await serving.stop()


@pytest.mark.parametrize("sent", ["", "GET /hea", "GET /healthz HTTP/1.1\r\nHost: index\r\n"])
async def test_a_head_that_does_not_become_whole_ends_its_connection(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, sent: str
) -> None:
    patient = await connect()
    assert await patient.ask() == 200
    monkeypatch.setattr(connections, "HEAD_TIME", 0.2)
    slow = await connect()
    await slow.send(sent)
    assert await slow.is_closed()
    assert await patient.ask() == 200  # it was idle all the time, which is no half head


async def test_each_byte_in_time_is_not_in_time(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slowloris: a head that goes on for ever, also after one that was whole."""
    monkeypatch.setattr(connections, "HEAD_TIME", 0.2)
    slow = await connect()
    assert await slow.ask() == 200

    async def drip() -> None:
        await slow.send("GET /healthz HTTP/1.1\r\nX: ")
        while True:
            await slow.send("y")
            await asyncio.sleep(0.02)

    dripping = asyncio.create_task(drip())
    assert await slow.is_closed()
    dripping.cancel()
    await asyncio.gather(dripping, return_exceptions=True)


async def test_a_request_that_takes_long_is_no_slow_head(
    connect: Connect, index: Index, upstream: UpstreamServer, big: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_TIME", 0.05)
    upstream.faults[big.filename] = Fault(drip=0.05, piece=256 * 1024)
    client = await connect()
    await client.send(head(path_of(big, "big"), index.auth))
    status, _, body = await client.answer()
    assert (status, body) == (200, big.data)


async def test_idle_connections_make_room_the_oldest_first(connect: Connect) -> None:
    clients = [await connect() for _ in range(MOST)]
    for client in clients:
        assert await client.ask() == 200
    assert await clients[0].ask() == 200
    assert await (await connect()).ask() == 200
    assert await clients[1].is_closed()
    assert [await clients[n].ask() for n in (0, 2)] == [200, 200]


async def test_half_heads_make_room_too(connect: Connect) -> None:
    for _ in range(MOST * 2):
        await (await connect()).send("GET /hea")
    assert await (await connect()).ask() == 200


async def test_when_all_are_at_work_who_comes_waits_and_is_served(
    connect: Connect, index: Index, upstream: UpstreamServer, big: Package
) -> None:
    go_on = asyncio.Event()
    upstream.faults[big.filename] = Fault(pause_at=1, go_on=go_on)
    busy = [await connect() for _ in range(MOST)]
    for client in busy:
        await client.send(head(path_of(big, "big"), index.auth))
    await until(lambda: upstream.asked[f"/packages/{big.filename}"] == 1)
    for client in busy:  # their answers have begun
        await client.reader.readexactly(1)
    waits = asyncio.create_task((await connect()).ask())
    done, _ = await asyncio.wait([waits], timeout=0.3)
    assert not done
    go_on.set()
    assert await waits == 200


UNREADABLE = {
    "no HTTP": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "a header without a colon": "GET /healthz HTTP/1.1\r\nHost index\r\n\r\n",
    "a line that is too long": f"GET /{'x' * 20_000} HTTP/1.1\r\nHost: index\r\n\r\n",
    "two lengths": "GET /healthz HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
}


@pytest.mark.parametrize("sent", UNREADABLE.values(), ids=UNREADABLE.keys())
async def test_what_cannot_be_read_is_a_problem_like_any_other(connect: Connect, sent: str) -> None:
    client = await connect()
    await client.send(sent)
    status, headers, body = await client.answer()
    assert (status, headers["content-type"]) == (400, "application/problem+json")
    assert json.loads(body) == {
        "title": "Bad Request",
        "status": 400,
        "detail": "This is no request that can be read.",
        "code": "bad_request",
    }
    assert await client.is_closed()
