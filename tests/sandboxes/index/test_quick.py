"""Pages asked for again: the same answer, counted, and only as long as all that it rests on holds."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from aiohttp import web

from sandboxes.index.app import QUICK, make_app
from sandboxes.index.config import Config, source
from sandboxes.index.listening import listen
from sandboxes.index.models import ListEntry
from sandboxes.index.quick import Quick
from sandboxes.index.serving import Serving
from sandboxes.lifecycle.models import Sandbox
from sandboxes.usage.models import Fetch
from tests.sandboxes.index.conftest import Index, committed, database_url
from tests.sandboxes.index.patience import until
from tests.sandboxes.index.upstream_server import UpstreamServer
from tests.sandboxes.index.wheels import Package

PATIENCE = 30.0  # seconds
HEAD = (
    "GET /simple/demo/ HTTP/1.1\r\nHost: index\r\nAuthorization: {auth}\r\nUser-Agent: pip/26.3\r\n{more}\r\n"
)


class Client:
    """One connection, on which heads are written as they are."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, auth: str) -> None:
        self.reader, self.writer, self.auth = reader, writer, auth

    async def ask(self, more: str = "", *, pieces: int = 1) -> tuple[int, dict[str, str], bytes]:
        head = HEAD.format(auth=self.auth, more=more).encode()
        size = -(-len(head) // pieces)
        for start in range(0, len(head), size):
            self.writer.write(head[start : start + size])
            await self.writer.drain()
            await asyncio.sleep(0.02 if pieces > 1 else 0)
        return await self.answer()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(PATIENCE):
            status, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(status.split()[1]), headers, body


class Spy(Quick):
    """The real one, which tells how often it answered."""

    answered = 0

    def answer(self, head: bytes) -> bytes | None:
        found = super().answer(head)
        self.answered += found is not None
        return found


@pytest.fixture
async def serving(
    index: Index, upstream: UpstreamServer, demo: Package, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Client, Spy]]:
    """Served as `worker.py` does, on a socket."""
    monkeypatch.setattr("sandboxes.index.app.Quick", Spy)
    config = Config(
        database_url(),
        "127.0.0.1",
        0,
        index.folder,
        (source("INDEX_UPSTREAM", upstream.url),),
        public_url="http://p",
    )
    app = await make_app(config)
    spy = app[QUICK]
    assert isinstance(spy, Spy)
    listening = listen("127.0.0.1", 0)
    listening.setblocking(False)
    served = Serving(app, grace=0.2)
    await served.start(listening)
    reader, writer = await asyncio.open_connection(*listening.getsockname())
    yield Client(reader, writer, index.auth), spy
    writer.close()
    await served.stop()


async def counted(index: Index) -> int:
    """How often the page was given, by the rows."""
    rows = await index.rows(
        "SELECT coalesce(sum(repeats + 1), 0) AS times FROM usage_fetch WHERE kind = 'page'"
    )
    return int(rows[0]["times"])


async def counted_are(index: Index, number: int) -> bool:
    return await counted(index) == number


async def has(client: Client, text: bytes) -> bool:
    return text in (await client.ask())[2]


async def answers(client: Client, status: int) -> bool:
    return (await client.ask())[0] == status


async def is_quick(client: Client, spy: Spy) -> bool:
    before = spy.answered
    await client.ask()
    return spy.answered > before


async def test_the_same_bytes_for_the_same_bytes_and_each_is_counted(
    serving: tuple[Client, Spy], index: Index
) -> None:
    client, spy = serving
    replies = [await client.ask() for _ in range(20)]
    assert spy.answered >= 10  # the next may come before the ordinary way has quite finished
    assert len({(status, body) for status, _, body in replies}) == 1
    first, second = replies[0][1], replies[1][1]
    assert {name: first[name] for name in first if name not in ("date", "server")} == {
        name: second[name] for name in second if name not in ("date", "server")
    }
    await until(lambda: counted_are(index, 20))
    assert committed(lambda: Fetch.objects.filter(repeats__gt=0, client="pip 26.3").exists())


async def test_a_304_is_given_again_too(serving: tuple[Client, Spy]) -> None:
    client, spy = serving
    _, headers, _ = await client.ask()
    asked = f"If-None-Match: {headers['etag']}\r\n"
    replies = [await client.ask(asked) for _ in range(3)]
    assert [(status, body) for status, _, body in replies] == [(304, b"")] * 3
    assert spy.answered >= 1


@pytest.mark.parametrize("pieces", [2, 7])
async def test_a_head_that_comes_in_pieces_goes_the_ordinary_way(
    serving: tuple[Client, Spy], pieces: int
) -> None:
    client, spy = serving
    for _ in range(3):
        assert (await client.ask(pieces=pieces))[0] == 200
    assert spy.answered == 0
    assert (await client.ask())[0] == 200  # nothing of the pieces is left over


async def test_many_at_once_on_one_connection_are_answered_in_order(serving: tuple[Client, Spy]) -> None:
    client, _ = serving
    await client.ask()
    plain, nothing = HEAD.format(auth=client.auth, more=""), HEAD.format(auth=client.auth, more="X: y\r\n")
    client.writer.write((plain + nothing.replace("demo", "other") + plain).encode())
    assert [(await client.answer())[0] for _ in range(3)] == [200, 404, 200]
    client.writer.write(nothing.replace("demo", "other").encode())
    client.writer.write(plain.encode())
    assert [(await client.answer())[0] for _ in range(2)] == [404, 200]
    # And nobody took one's answer for the other's.
    assert [(await client.ask("X: y\r\n"))[0], (await client.ask())[0]] == [200, 200]


async def test_a_body_is_not_taken_for_the_next_request(serving: tuple[Client, Spy]) -> None:
    client, spy = serving
    for _ in range(2):
        client.writer.write(HEAD.format(auth=client.auth, more="Content-Length: 5\r\n").encode())
        await asyncio.sleep(0.05)
        client.writer.write(b"12345")
        assert (await client.answer())[0] == 200
    assert spy.answered == 0


async def test_a_body_that_looks_like_a_head_is_not_answered(serving: tuple[Client, Spy]) -> None:
    """Behind a proxy that shares connections, a second answer would be somebody else's."""
    client, spy = serving
    await until(lambda: is_quick(client, spy))
    body = HEAD.format(auth=client.auth, more="").encode()
    before = spy.answered
    client.writer.write(HEAD.format(auth=client.auth, more=f"content-LENGTH: {len(body)}\r\n").encode())
    assert (await client.answer())[0] == 200
    client.writer.write(body)
    with pytest.raises((TimeoutError, asyncio.IncompleteReadError)):
        await asyncio.wait_for(client.reader.readexactly(1), 1.0)
    assert spy.answered == before


async def test_an_ended_sandbox_and_a_changed_policy_are_noticed(
    serving: tuple[Client, Spy], index: Index, sandbox: Sandbox
) -> None:
    client, spy = serving
    assert b"[denied]" not in (await client.ask())[2]
    await until(lambda: is_quick(client, spy))
    committed(lambda: ListEntry.objects.create(ecosystem="pypi", kind="deny", pattern="demo", reason="no"))
    await until(lambda: has(client, b"[denied]"))
    past = datetime.now(UTC) - timedelta(seconds=1)
    committed(lambda: Sandbox.objects.filter(pk=sandbox.pk).update(expires_at=past))
    await until(lambda: answers(client, 401))


async def test_what_cannot_be_counted_is_not_given(
    serving: tuple[Client, Spy], index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table is locked: rows cannot be written, and before long nothing is given on credit."""
    client, spy = serving
    await client.ask()
    locked = await index.database._pool.getconn()
    try:
        await locked.set_autocommit(False)
        await locked.execute("LOCK TABLE usage_fetch IN EXCLUSIVE MODE")
        async with asyncio.timeout(PATIENCE):
            while True:
                before = spy.answered
                waiting = asyncio.create_task(client.ask())
                await asyncio.wait([waiting], timeout=0.3)
                if spy.answered == before:
                    break
                await waiting
        assert not waiting.done()
    finally:
        await locked.rollback()
        await locked.set_autocommit(True)
        await index.database._pool.putconn(locked)
    assert (await waiting)[0] == 200


async def test_told_to_end_it_says_so_in_its_last_answer(serving: tuple[Client, Spy], index: Index) -> None:
    client, spy = serving
    await client.ask()
    spy.close()
    status, _, _ = await client.ask()
    assert status == 200
    assert spy.answered == 0


def test_aiohttps_connection_still_has_what_is_asked_of_it() -> None:
    """They are not part of its promises; a newer one without them must fail here."""
    slots = {name for each in web.RequestHandler.__mro__ for name in getattr(each, "__slots__", ())}
    assert {"_current_request", "_messages", "_close", "_force_close", "transport"} <= slots
    assert aiohttp.__version__
