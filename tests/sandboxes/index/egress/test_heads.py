"""What is read before anything is sent on: the head of a request, and the name in the hello."""

import asyncio
import ssl

import pytest

from sandboxes.index.egress import head, hello, proxy, tunnel
from tests.sandboxes.index.conftest import NAME, TOKEN
from tests.sandboxes.index.egress.conftest import OTHER, World
from tests.sandboxes.index.egress_world import HOST, ask, connect_head

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
