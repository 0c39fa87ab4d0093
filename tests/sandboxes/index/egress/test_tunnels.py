"""Bytes, both ways, for as long as a tunnel lives."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from sandboxes.index.egress import tunnel, watch
from tests.sandboxes.index.egress.conftest import World
from tests.sandboxes.index.egress_world import HOST, Answer, Host


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
