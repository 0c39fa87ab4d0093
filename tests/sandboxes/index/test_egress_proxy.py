"""The egress proxy: exactly the hosts that were allowed, by name, while they are allowed, and all of it recorded."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from sandboxes.index.database import Database, Rows
from sandboxes.index.egress import addresses, head, hello, proxy, records, tunnel, watch
from sandboxes.index.egress.addresses import Addresses
from sandboxes.index.egress.proxy import Proxy
from sandboxes.index.egress.records import Records
from sandboxes.index.egress.watch import Watch
from sandboxes.index.errors import UnavailableError
from sandboxes.lifecycle.models import EgressException, Probe, Sandbox
from sandboxes.lifecycle.phases import Phase
from sandboxes.usage.models import Connection
from tests.sandboxes.index.conftest import NAME, TOKEN, committed, database_url
from tests.sandboxes.index.egress_world import HOST, Answer, Host, ask, certificate, close_all, connect_head

PORTAL = "https://petridish.example.com"
OTHER = "other.example.org"
SERVER, CLIENT = certificate(HOST, OTHER)


@dataclass
class World:
    """A proxy, one TLS host behind it that echoes, and a ready sandbox that may reach it under `HOST`."""

    port: int
    host: Host
    sandbox: Sandbox
    database: Database
    records: Records
    names: dict[str, tuple[str, ...]]
    asked: list[str]
    found: list[str]

    @property
    def target(self) -> str:
        return f"{HOST}:{self.host.port}"

    async def connect(self, target: str = "", *lines: str, name: str = NAME, token: str = TOKEN) -> Answer:
        return await ask(self.port, connect_head(target or self.target, name, token, *lines))

    async def rows(self, statement: str, **values: Any) -> Rows:
        return await self.database.rows(statement, values)

    async def seen(self) -> Rows:
        return await self.rows("SELECT * FROM usage_connection ORDER BY id")

    async def ended(self) -> dict[str, Any]:
        """The one row, once its end is written down."""
        async with asyncio.timeout(10):
            while True:
                [row] = await self.seen()
                if row["ended_at"] is not None:
                    return row
                await asyncio.sleep(0.02)

    async def idle(self) -> None:
        """Once no tunnel is open any more."""
        async with asyncio.timeout(10):
            while True:
                if not await self.rows("SELECT 1 FROM usage_connection WHERE ended_at IS NULL"):
                    return
                await asyncio.sleep(0.02)

    async def allow(self, host: str, port: int, **changes: Any) -> None:
        given = {"host": host, "port": port, "reason": "x", "until": timezone.now() + timedelta(hours=1)}
        await asyncio.to_thread(
            committed, lambda: EgressException.objects.create(sandbox=self.sandbox, **{**given, **changes})
        )


@pytest.fixture
def gone(sandbox: Sandbox) -> Iterator[None]:
    """What refers to the sandbox goes before it does."""
    yield

    def delete() -> None:
        for model in (Connection, EgressException, Probe):
            model._default_manager.all().delete()

    committed(delete)


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    host = Host(tls=SERVER)
    await host.start()
    yield host
    await host.stop()


@pytest.fixture
async def world(sandbox: Sandbox, gone: None, host: Host) -> AsyncIterator[World]:
    database = Database(database_url())
    await database.open()
    kept = Records(database)
    looking = Watch(kept, every=0.2)
    names: dict[str, tuple[str, ...]] = {HOST: ("127.0.0.1",), OTHER: ("127.0.0.1",)}
    asked: list[str] = []
    found: list[str] = []

    async def look_up(name: str, port: int) -> list[str]:
        asked.append(name)
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return list(found)

    made = Proxy(database, Addresses(names, look_up), looking, PORTAL)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    watching = asyncio.create_task(looking.run())
    port = server.sockets[0].getsockname()[1]
    here = World(port, host, sandbox, database, kept, names, asked, found)
    await here.allow(HOST, host.port)
    yield here
    await close_all()
    server.close()
    looking.cut_all()
    await made.rest(10)
    watching.cancel()
    await database.close()


# ---- what is allowed


async def test_an_allowed_host_is_reached_and_recorded(world: World) -> None:
    answer = await world.connect()
    assert (answer.status, answer.reason) == (200, "Connection established")
    [row] = await world.seen()  # written down before the tunnel opened
    assert (row["allowed"], row["host"], row["port"], row["address"]) == (
        True,
        HOST,
        world.host.port,
        "127.0.0.1",
    )
    assert row["sandbox_id"] == world.sandbox.pk
    assert row["ended_at"] is None
    await answer.tls(CLIENT, HOST)
    assert await answer.said(b"hello") == b"hello"
    answer.writer.close()
    row = await world.ended()
    assert row["bytes_up"] > 300  # the TLS hello is among them
    assert row["bytes_down"] > 300
    assert row["reason"] == tunnel.ENDED
    assert 0 <= row["seconds"] < 10


@pytest.mark.parametrize("target", ["API.Example.ORG", f"{HOST}."])
async def test_a_name_is_a_name_however_it_is_written(world: World, target: str) -> None:
    answer = await world.connect(f"{target}:{world.host.port}")
    assert answer.status == 200
    await answer.tls(CLIENT, HOST)
    assert await answer.said(b"hello") == b"hello"
    answer.close()


async def test_bytes_that_come_with_the_request_are_not_lost(world: World, host: Host) -> None:
    plain = Host()
    await plain.start()
    await world.allow(HOST, plain.port)
    answer = await ask(world.port, connect_head(f"{HOST}:{plain.port}", NAME, TOKEN) + b"with the request")
    assert await answer.said(b", and after it") == b"with the request"[:14]
    answer.writer.write_eof()
    assert await answer.over() == b"st, and after it"
    await plain.stop()


async def test_a_host_over_ipv6(world: World) -> None:
    there = Host(tls=SERVER, address="::1")
    await there.start()
    world.names["six.example.org"] = ("::1",)
    await world.allow("six.example.org", there.port)
    answer = await world.connect(f"six.example.org:{there.port}")
    assert answer.status == 200
    [row] = await world.seen()
    assert row["address"] == "::1"
    answer.close()
    await there.stop()


async def test_the_next_address_is_tried_and_written_down(world: World) -> None:
    world.names[HOST] = ("::1", "127.0.0.1")  # nobody listens at the first
    answer = await world.connect()
    assert answer.status == 200
    [row] = await world.seen()
    assert row["address"] == "127.0.0.1"
    answer.close()


# ---- what is not


@pytest.mark.parametrize(
    "target", [f"{OTHER}:443", f"{HOST}:22", "1.2.3.4:443", "[2001:db8::1]:443", "127.0.0.1:443"]
)
async def test_nothing_else_is_reached(world: World, target: str) -> None:
    answer = await world.connect(target)
    assert answer.status == 403
    page = f"{PORTAL}/sandboxes/{world.sandbox.pk}"
    assert answer.reason == f"The seal lets this sandbox reach no {target}; ask for it at {page}"
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.document == {
        "title": "Forbidden",
        "status": 403,
        "detail": answer.reason,
        "code": "egress_not_allowed",
        "ask": page,
    }
    [row] = await world.seen()
    assert (row["allowed"], row["host"], row["address"]) == (False, target.rpartition(":")[0], "")
    assert row["reason"] == answer.reason
    assert not world.host.met
    assert not world.asked  # its name was not even looked up


@pytest.mark.parametrize(
    ("name", "token"), [("", ""), (NAME, "wrong"), ("other", TOKEN), (NAME, ""), ("x" * 100, TOKEN)]
)
async def test_who_does_not_say_which_sandbox_gets_nothing(world: World, name: str, token: str) -> None:
    answer = await world.connect(name=name, token=token)
    assert answer.status == 407
    assert answer.headers["Proxy-Authenticate"].startswith("Basic realm=")
    assert answer.document["code"] == "unauthenticated"
    assert "sandbox" in answer.reason
    assert TOKEN not in answer.reason
    assert await world.seen() == []
    assert not world.host.met


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase != Phase.READY])
async def test_only_a_ready_sandbox_is_let_out(world: World, phase: Phase) -> None:
    await world.rows("UPDATE lifecycle_sandbox SET phase = %(phase)s", phase=phase.value)
    assert (await world.connect()).status == 407
    assert not world.host.met


@pytest.mark.parametrize(
    "change",
    ["phase = 'isolated'", "phase = 'hibernated'", "index_token_digest = ''", "expires_at = now()"],
)
async def test_it_is_asked_afresh_though_the_sandbox_was_known(world: World, change: str) -> None:
    (await world.connect()).close()
    await world.rows("UPDATE lifecycle_sandbox SET " + change)  # noqa: S608
    assert (await world.connect()).status == 407
    assert len(await world.seen()) == 1


@pytest.mark.parametrize(
    "change", ["ended_at = now()", "until = now()", "sandbox_id = %(other)s", "port = 1"]
)
async def test_a_way_out_that_is_over_or_anothers_does_not_count(world: World, change: str) -> None:
    def another() -> int:
        made = Sandbox.objects.create(
            cluster="simulated",
            owner=world.sandbox.owner,
            profile="python",
            data_class="public",
            lease=timedelta(hours=1),
        )
        return made.pk

    other = await asyncio.to_thread(committed, another)
    await world.rows("UPDATE lifecycle_egressexception SET " + change, other=other)  # noqa: S608
    assert (await world.connect()).status == 403


async def test_plain_http_is_refused_readably(world: World) -> None:
    request = f"GET http://{HOST}/ HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    answer = await ask(world.port, request)
    assert (answer.status, answer.headers["Allow"]) == (405, "CONNECT")
    assert "use https" in answer.reason
    assert answer.document["code"] == "plain_http"
    assert not world.host.met


async def test_health_and_nothing_else(world: World) -> None:
    statuses = {}
    for path in ("/healthz", "/readyz", "/"):
        answer = await ask(world.port, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        statuses[path] = answer.status
        answer.close()
    assert statuses == {"/healthz": 200, "/readyz": 200, "/": 404}


# ---- where a name leads


INSIDE = [
    ["127.0.0.1"],
    ["10.0.0.1"],
    ["169.254.169.254"],
    ["224.0.0.1"],
    ["::1"],
    ["fd00::1"],
    ["fe80::1%1"],
    ["::ffff:10.0.0.1"],
    ["64:ff9b::a00:1"],
    ["8.8.8.8", "192.168.1.1"],
]


@pytest.mark.parametrize("found", INSIDE, ids=str)
async def test_a_name_that_leads_inside_is_refused(world: World, found: list[str]) -> None:
    await world.allow("evil.example.org", 443)
    world.found[:] = found
    answer = await world.connect("evil.example.org:443")
    assert (answer.status, answer.document["code"]) == (403, "not_public")
    assert not any(address in answer.reason + str(answer.document) for address in found)
    [row] = await world.seen()
    assert (row["allowed"], row["address"]) == (False, found[-1])  # the one of them that is not public


@pytest.mark.parametrize("found", ["9.9.9.10", "::ffff:9.9.9.10"])
async def test_the_clusters_own_public_address_is_refused(world: World, found: str) -> None:
    def probe() -> None:
        attempt = {"target": "node", "host": "9.9.9.10", "port": 6443, "expected": "blocked"}
        Probe.objects.create(sandbox=world.sandbox, passed=True, simulated=True, attempts=[attempt])
        Probe.objects.create(
            sandbox=world.sandbox, passed=False, outcome="unusable", simulated=True, attempts=[]
        )

    await asyncio.to_thread(committed, probe)
    await world.allow("evil.example.org", 443)
    world.found[:] = [found]
    assert (await world.connect("evil.example.org:443")).document["code"] == "not_public"


async def test_a_name_is_looked_up_once_and_the_judged_address_connected_to(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: whatever the name would say next, nobody asks."""
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1")
    await world.allow("turns.example.org", world.host.port)
    world.found[:] = ["127.0.0.1"]
    answer = await world.connect(f"turns.example.org:{world.host.port}")
    world.found[:] = ["10.0.0.1"]
    assert answer.status == 200
    assert world.asked == ["turns.example.org"]
    answer.close()
    assert (await world.connect(f"turns.example.org:{world.host.port}")).status == 403


async def test_a_name_without_an_address(world: World) -> None:
    await world.allow("nowhere.example.org", 443)
    answer = await world.connect("nowhere.example.org:443")
    assert (answer.status, answer.document["code"]) == (502, "no_address")


async def test_a_resolver_that_never_answers(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(name: str, port: int) -> list[str]:
        await asyncio.sleep(60)
        return []

    monkeypatch.setattr(addresses, "SECONDS", 0.1)
    slow = Addresses({}, never)
    with pytest.raises(head.ProxyError, match="no address"):
        await slow.of("slow.example.org", 443, {})


async def test_the_systems_resolver_is_asked_for_the_whole_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a dot at its end: search domains would lead inside."""
    asked: list[str] = []

    async def getaddrinfo(name: str, port: int, **kwargs: Any) -> list[Any]:
        asked.append(name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    assert await addresses.look_up("api.example.org", 443) == ["8.8.8.8"]
    assert asked == ["api.example.org."]


async def test_a_host_that_refuses_is_told_and_recorded(world: World) -> None:
    await world.host.stop()
    answer = await world.connect()
    assert (answer.status, answer.document["code"]) == (502, "unreachable")
    row = await world.ended()
    assert (row["allowed"], row["reason"]) == (True, answer.reason)


async def test_a_host_that_never_answers(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "CONNECT_SECONDS", 0.3)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):  # there is room for one
            await world.allow(HOST, port)
            answer = await world.connect(f"{HOST}:{port}")
    assert (answer.status, answer.document["code"]) == (502, "unreachable")


# ---- heads


async def test_a_head_that_comes_a_byte_at_a_time_is_given_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head, "SECONDS", 0.3)
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    for byte in connect_head(world.target, NAME, TOKEN)[:20]:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.02)
    async with asyncio.timeout(5):
        assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
    writer.close()


async def test_of_too_many_heads_the_slowest_makes_room(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy, "HEADS", 3)
    slow = [await asyncio.open_connection("127.0.0.1", world.port) for _ in range(5)]
    for _, writer in slow:
        writer.write(b"CONNECT ")
    assert (await world.connect()).status == 200
    async with asyncio.timeout(5):
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await slow[0][0].readexactly(1)
    for _, writer in slow:
        writer.transport.abort()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"CONNECT " + b"a" * 20_000, 431),
        (connect_head("api.example.org:443", NAME, TOKEN, *[f"X-{n}: {'x' * 500}" for n in range(100)]), 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
        (b"CONNECT api.example.org:443 HTTP/1.1\r\n\r\n", 400),  # no Host (RFC 9112, 3.2)
        (connect_head("api.example.org", NAME, TOKEN), 400),
        (connect_head("api.example.org:0", NAME, TOKEN), 400),
        (connect_head("api.example.org:99999", NAME, TOKEN), 400),
        (connect_head("http://api.example.org:443", NAME, TOKEN), 400),
        (connect_head("me@api.example.org:443", NAME, TOKEN), 400),
        (connect_head("api.example.org:443", NAME, TOKEN, "Proxy-Authorization: Basic eDp5"), 400),
        (connect_head("api.example.org:443", NAME, TOKEN, "Content-Length: 5"), 400),
        (connect_head("api.example.org:443", NAME, TOKEN, "Transfer-Encoding: chunked"), 400),
    ],
)
async def test_heads_that_are_not_taken(world: World, request_: bytes, status: int) -> None:
    answer = await ask(world.port, request_)
    assert answer.status == status
    assert not world.host.met
    assert await world.seen() == []


# ---- the name in the hello


@pytest.mark.parametrize("name", [OTHER, None])
async def test_a_hello_for_another_host_is_not_sent_on(world: World, name: str | None) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    answer = await world.connect()
    assert answer.status == 200
    with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized[ _]name"):
        await answer.tls(context, name or "")
    row = await world.ended()
    assert (row["allowed"], row["bytes_up"]) == (False, 0)
    assert row["reason"] == f"The TLS hello asks for {name or 'no host'}, and {HOST} is allowed."


async def test_on_the_port_of_https_nothing_but_tls_goes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel, "HTTPS", world.host.port)
    answer = await world.connect()
    answer.writer.write(b"SSH-2.0-x\r\n")
    assert await answer.over() == hello.UNRECOGNISED
    row = await world.ended()
    assert (row["allowed"], row["bytes_up"]) == (False, 0)


async def test_a_hello_that_does_not_come(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnel, "HTTPS", world.host.port)
    monkeypatch.setattr(tunnel, "HELLO_SECONDS", 0.2)
    answer = await world.connect()
    answer.writer.write(b"\x16\x03\x01")
    assert await answer.over() == b""
    assert "in time" in (await world.ended())["reason"]


def _hello(name: str, *, twice: bool = False) -> bytes:
    """What a real client sends first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def test_a_hello_in_any_pieces() -> None:
    data = _hello(HOST)
    assert hello.name_in(data) == HOST
    assert hello.name_in(data + b"more") == HOST
    for end in range(len(data)):
        assert hello.name_in(data[:end]) is None
    body = data[5:]
    records_ = b"".join(b"\x16\x03\x01\x00\x01" + body[n : n + 1] for n in range(len(body)))
    assert hello.name_in(records_) == HOST


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x02",
        b"\x17\x03\x01\x00\x05hello",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
        b"\x16\x03\x01\x00\x04\x01\xff\xff\xff",
        b"\x16\x03\x01\x00\x08\x01\x00\x00\x04\x03\x03\x00\x00",
    ],
)
def test_what_is_no_hello(data: bytes) -> None:
    with pytest.raises(hello.HelloError):
        hello.name_in(data)


@pytest.mark.parametrize("change", ["two names", "two extensions", "a tail", "no host name", "not ascii"])
def test_a_hello_that_two_readers_could_understand_differently(change: str) -> None:
    def vector(width: int, data: bytes) -> bytes:
        return len(data).to_bytes(width) + data

    name = b"\x00" + vector(2, b"api.example.org")
    other = b"\x00" + vector(2, b"other.example.org")
    listed = {"two names": name + other, "no host name": b"\x01" + name[1:]}.get(change, name)
    if change == "not ascii":
        listed = b"\x00" + vector(2, b"\xff.example.org")
    extension = b"\x00\x00" + vector(2, vector(2, listed))
    extensions = vector(2, extension * (2 if change == "two extensions" else 1))
    body = b"\x03\x03" + b"r" * 32 + b"\x00" + vector(2, b"\x13\x01") + vector(1, b"\x00") + extensions
    body += b"tail" if change == "a tail" else b""
    with pytest.raises(hello.HelloError):
        hello.name_in(b"\x16\x03\x01" + vector(2, b"\x01" + vector(3, body)))


# ---- bytes


async def _plain(world: World, handler: Callable[..., Awaitable[None]]) -> tuple[Host, Answer]:
    there = Host(handler=handler)
    await there.start()
    await world.allow(HOST, there.port)
    return there, await world.connect(f"{HOST}:{there.port}")


async def test_a_side_may_end_before_the_other_answers(world: World) -> None:
    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard = await reader.read()
        writer.write(b"%d bytes" % len(heard))
        await writer.drain()

    there, answer = await _plain(world, count)
    answer.writer.write(b"x" * 1000)
    answer.writer.write_eof()
    assert await answer.over() == b"1000 bytes"
    row = await world.ended()
    assert (row["bytes_up"], row["bytes_down"], row["reason"]) == (1000, 10, tunnel.ENDED)
    answer.close()
    await there.stop()


async def test_much_both_ways_at_once(world: World) -> None:
    size = 16 * 1024 * 1024

    async def both(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"d" * size)
        writer.write_eof()
        heard = 0
        while data := await reader.read(1 << 16):
            heard += len(data)
        assert heard == size

    there, answer = await _plain(world, both)
    answer.writer.write(b"u" * size)
    answer.writer.write_eof()
    received = 0
    async with asyncio.timeout(30):
        while data := await answer.reader.read(1 << 16):
            received += len(data)
    assert received == size
    row = await world.ended()
    assert (row["bytes_up"], row["bytes_down"]) == (size, size)
    answer.close()
    await there.stop()


async def test_who_takes_nothing_is_sent_nothing(world: World) -> None:
    """Back-pressure: what the host has to say waits at the host, not in the proxy."""
    sent = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        for _ in range(1000):
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    there, answer = await _plain(world, talk)
    answer.reader._transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.sleep(1)
    stalled = sent
    await asyncio.sleep(0.5)
    assert sent == stalled < 40 * 1024 * 1024
    answer.close()
    await there.stop()


async def test_the_server_may_speak_first(world: World) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        writer.write(await reader.readline())
        await writer.drain()

    there, answer = await _plain(world, greet)
    async with asyncio.timeout(5):
        assert await answer.reader.readline() == b"220 ready\r\n"
    answer.writer.write(b"EHLO\r\n")
    assert await answer.over() == b"EHLO\r\n"
    await there.stop()


async def test_a_host_that_says_nothing_is_left_after_a_while(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "IDLE", 0.3)
    answer = await world.connect()
    assert await answer.over() == b""
    assert (await world.ended())["reason"].startswith("Nothing passed")


async def test_no_tunnel_is_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "TOTAL", 0.3)
    answer = await world.connect()
    assert await answer.over() == b""
    assert (await world.ended())["reason"].startswith("It was open for")


# ---- when it ends


@pytest.mark.parametrize(
    "change",
    [
        "lifecycle_egressexception SET ended_at = now()",
        "lifecycle_egressexception SET until = now()",
        "lifecycle_sandbox SET phase = 'isolated'",
        "lifecycle_sandbox SET phase = 'hibernated'",
        "lifecycle_sandbox SET phase = 'ending', index_token_digest = ''",
        "lifecycle_sandbox SET expires_at = now()",
    ],
)
async def test_an_open_tunnel_is_cut_when_it_is_not_allowed_any_more(world: World, change: str) -> None:
    answer = await world.connect()
    await answer.tls(CLIENT, HOST)
    assert await answer.said(b"hello") == b"hello"
    await world.rows(f"UPDATE {change}")
    assert await answer.over(5) == b""
    row = await world.ended()
    assert (row["reason"], row["allowed"]) == (watch.NOT_ALLOWED, True)
    assert (await world.connect()).status in (403, 407)


async def test_a_tunnel_goes_on_while_any_exception_allows_it(world: World) -> None:
    await world.allow(HOST, world.host.port)
    answer = await world.connect()
    await answer.tls(CLIENT, HOST)
    await world.rows(
        "UPDATE lifecycle_egressexception SET ended_at = now()"
        " WHERE id = (SELECT min(id) FROM lifecycle_egressexception)"
    )
    await asyncio.sleep(0.6)
    assert await answer.said(b"still here") == b"still here"
    answer.close()


async def test_what_cannot_be_confirmed_is_cut(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unavailable(numbers: object) -> set[int]:
        raise UnavailableError("The index's database does not answer; try again.")

    answer = await world.connect()
    monkeypatch.setattr(watch, "UNSURE", 0.5)
    monkeypatch.setattr(Records, "still_allowed", lambda self, numbers: unavailable(numbers))
    assert await answer.over(5) == b""
    assert "could say" in (await world.ended())["reason"]


async def test_an_end_that_cannot_be_written_down_is_written_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = await world.connect()
    await world.rows("ALTER TABLE usage_connection ADD CONSTRAINT test_shut CHECK (ended_at IS NULL)")
    try:
        answer.close()
        await asyncio.sleep(0.6)
        [row] = await world.seen()
        assert row["ended_at"] is None
    finally:
        await world.rows("ALTER TABLE usage_connection DROP CONSTRAINT test_shut")
    assert (await world.ended())["reason"]


async def test_what_a_killed_proxy_left_open_is_closed(world: World) -> None:
    (await world.connect()).close()
    await world.ended()
    await world.rows("UPDATE usage_connection SET ended_at = NULL, reason = '', seen_at = now()")
    await world.records.close_lost()
    [row] = await world.seen()
    assert row["ended_at"] is None  # it may be another proxy's, and alive
    await world.rows("UPDATE usage_connection SET seen_at = now() - interval '3 minutes'")
    await world.records.close_lost()
    [row] = await world.seen()
    assert (row["ended_at"], row["reason"]) == (row["seen_at"], watch.STOPPED)


async def test_open_ones_are_heard_of(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_PROGRESS_TURNS", 1)
    answer = await world.connect()
    await answer.tls(CLIENT, HOST)
    await answer.said(b"hello")
    await asyncio.sleep(0.6)
    [row] = await world.seen()
    assert row["ended_at"] is None
    assert row["bytes_up"] > 300
    answer.close()


async def test_what_passes_keeps_the_sandbox_awake(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_PROGRESS_TURNS", 1)
    answer = await world.connect()
    slept = "UPDATE lifecycle_sandbox SET last_active_at = now() - interval '2 minutes'"
    awake = "SELECT 1 FROM lifecycle_sandbox WHERE last_active_at > now() - interval '1 minute'"
    assert await world.rows(awake)
    await asyncio.sleep(0.3)
    await world.rows(slept)
    await asyncio.sleep(0.6)
    assert not await world.rows(awake)  # an open tunnel in which nothing happens
    await answer.tls(CLIENT, HOST)
    await asyncio.sleep(0.6)
    assert await world.rows(awake)


# ---- recorded, or not at all; and bounded


async def test_what_cannot_be_recorded_is_not_connected(world: World) -> None:
    await world.rows("ALTER TABLE usage_connection ADD CONSTRAINT test_full CHECK (id < 0) NOT VALID")
    try:
        allowed, refused = await world.connect(), await world.connect(f"{OTHER}:443")
    finally:
        await world.rows("ALTER TABLE usage_connection DROP CONSTRAINT test_full")
    for answer in (allowed, refused):
        assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    assert not world.host.met
    assert await world.seen() == []


async def test_a_loop_of_refused_attempts_counts_instead_of_filling(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "REFUSED_ROWS", 3)
    for _ in range(8):
        assert (await world.connect(f"{OTHER}:443")).status == 403
    rows = await world.seen()
    assert [row["repeats"] for row in rows] == [0, 0, 5]
    (await world.connect()).close()  # an allowed one has its row all the same
    assert len(await world.seen()) == 4


async def test_a_sandbox_has_its_share_and_no_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "TUNNELS", 1)
    first = await world.connect()
    second = await world.connect()
    assert (second.status, second.headers["Retry-After"], second.document["code"]) == (429, "5", "too_many")
    first.close()
    await world.idle()
    again = await world.connect()
    assert again.status == 200
    monkeypatch.setattr(proxy, "OPENINGS", 2)
    assert (await world.connect()).status == 429


async def test_of_too_many_connections_the_next_is_closed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await world.connect()
    monkeypatch.setattr(proxy, "CONNECTIONS", 1)
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    async with asyncio.timeout(5):
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
    writer.close()
    await first.tls(CLIENT, HOST)
    first.close()
