"""Connections as a hostile client makes them: half a head, too many, nothing that can be read."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from sandboxes.index import connections
from sandboxes.index.app import make_app
from sandboxes.index.config import Config, source
from sandboxes.index.connections import Connections
from sandboxes.index.listening import listen
from sandboxes.index.outgoing import LEAST, Outgoing
from sandboxes.index.serving import Serving
from tests.sandboxes.index.conftest import Index, database_url, path_of
from tests.sandboxes.index.patience import until
from tests.sandboxes.index.upstream_server import Fault, UpstreamServer
from tests.sandboxes.index.wheels import Package, make_wheel

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


type Connect = Callable[..., Awaitable[Client]]


@pytest.fixture
async def connect(
    index: Index, upstream: UpstreamServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Connect]:
    """Served as `worker.py` does, with few connections and little patience."""
    monkeypatch.setattr(connections, "_LOOK", 0.05)
    async with served(index, upstream) as made:
        yield made


@asynccontextmanager
async def served(
    index: Index, upstream: UpstreamServer, many: Connections | None = None
) -> AsyncIterator[Connect]:
    sources = (source("INDEX_UPSTREAM", upstream.url),)
    app = await make_app(Config(database_url(), "127.0.0.1", 0, index.folder, sources))
    listening = listen("127.0.0.1", 0)
    address = listening.getsockname()
    serving = Serving(app, grace=0.2, connections=many or Connections(MOST, MOST))
    await serving.start(listening)
    writers: list[asyncio.StreamWriter] = []

    async def connect(source: str = "127.0.0.1") -> Client:
        reader, writer = await asyncio.open_connection(*address, local_addr=(source, 0))
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


async def deaf(connect: Connect, text: str) -> None:
    """A client that sends as much as is taken from it, and reads nothing."""
    client = await connect()
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.writer.write(text.encode())


@pytest.mark.parametrize("what", ["answers that nobody had to be for", "a page", "a file"])
async def test_who_takes_nothing_of_an_answer_does_not_stay(
    connect: Connect, index: Index, upstream: UpstreamServer, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    large = make_wheel("large", padding=bytes(range(256)) * 4096 * 16)
    upstream.add("large", large)
    packages = [{"filename": f"many-1.{n}-py3-none-any.whl", "url": "../x", "hashes": {"sha256": f"{n:064x}"}}
                for n in range(25_000)]  # fmt: skip
    page = {"meta": {"api-version": "1.1"}, "name": "many", "files": packages}
    upstream.projects["many"] = []
    upstream.page_faults["many"] = Fault(data=json.dumps(page).encode())
    paths = {"a page": "/simple/many/", "a file": path_of(large, "large")}
    if what in paths:  # stored and rendered, so that nothing but its client is waited for
        assert (await index.ask(paths[what], Accept_Encoding="identity")).status == 200
        text = head(paths[what], index.auth)
    else:
        text = head("/nothing") * 40_000
    monkeypatch.setattr(connections, "STALL_TIME", 0.5)
    monkeypatch.setattr(connections, "STALL_TIME_FULL", 0.5)
    for _ in range(MOST):
        await deaf(connect, text)
    await asyncio.sleep(0.3)  # so that they are at work
    assert await (await connect()).ask() == 200


async def test_little_by_little_is_progress_and_nothing_is_none() -> None:
    """What the client's side acknowledged counts, whatever this side's buffers hold; by steps of `LEAST`."""
    listening = listen("127.0.0.1", 0)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(listening.getsockname())
    client.setblocking(False)
    served, _ = listening.accept()
    _, writer = await asyncio.open_connection(sock=served)
    outgoing = Outgoing()
    outgoing.look(writer.transport, 1.0)
    assert not outgoing.stalled_since  # there is nothing to take
    writer.write(bytes(16 << 20))
    await asyncio.sleep(0.2)  # until the other side's buffer is full
    outgoing.look(writer.transport, 2.0)
    outgoing.look(writer.transport, 3.0)
    assert outgoing.stalled_since == 2.0
    now, taken = 3.0, 0

    async def takes() -> bool:
        nonlocal now, taken
        with suppress(BlockingIOError):
            taken += len(client.recv(64))
        now += 1.0
        outgoing.look(writer.transport, now)
        return outgoing.stalled_since == now

    await until(takes)
    assert taken <= 64 * LEAST
    writer.transport.abort()
    client.close()
    listening.close()


async def test_one_address_has_its_share_and_others_have_room(
    index: Index, upstream: UpstreamServer, big: Package
) -> None:
    go_on = asyncio.Event()
    upstream.faults[big.filename] = Fault(pause_at=1, go_on=go_on)
    async with served(index, upstream, Connections(4, 2)) as connect:
        first, second = [await connect() for _ in range(2)]
        assert [await client.ask() for client in (first, second)] == [200, 200]
        third = await connect()
        assert await third.ask() == 200
        assert await first.is_closed()  # idle, and longer than the other
        for client in (second, third):
            await client.send(head(path_of(big, "big"), index.auth))
            await client.reader.readexactly(1)
        assert await (await connect()).is_closed()
        assert await (await connect("127.0.0.2")).ask() == 200
        second.writer.transport.abort()
        go_on.set()
        await until(lambda: is_served(connect))


async def is_served(connect: Connect) -> bool:
    try:
        return await (await connect()).ask() == 200
    except (ConnectionError, asyncio.IncompleteReadError):
        return False


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
