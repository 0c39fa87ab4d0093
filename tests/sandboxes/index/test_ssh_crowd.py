"""Many who come by SSH at once: whoever says nothing keeps nobody from being seen."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import asyncssh
import pytest

from sandboxes.index import ssh_door
from sandboxes.lifecycle.models import Sandbox
from tests.sandboxes.index.conftest import Index
from tests.sandboxes.index.test_ssh import key_of, knock, planted, port, uses

__all__ = ["planted", "port"]
type Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def silent(port: int, address: str = "127.0.0.1") -> AsyncIterator[Streams]:
    """Greets, is greeted, and says nothing more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    writer.write(b"SSH-2.0-x\r\n")
    with suppress(ConnectionError):
        await reader.readline()
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


class _Hesitant(asyncssh.SSHClient):
    """Offers one key, and is never ready with the next."""

    def __init__(self) -> None:
        self.asked = 0
        self.refused = asyncio.Event()

    async def public_key_auth_requested(self) -> asyncssh.SSHKey | None:
        self.asked += 1
        if self.asked > 1:
            self.refused.set()
            await asyncio.Event().wait()
        return asyncssh.generate_private_key("ssh-ed25519")


@asynccontextmanager
async def hesitant(port: int) -> AsyncIterator[asyncio.Task[Any]]:
    client = _Hesitant()
    settings: dict[str, Any] = {"known_hosts": None, "config": None, "agent_path": None, "client_keys": None}
    opening = asyncssh.create_connection(lambda: client, "127.0.0.1", port, username="root", **settings)
    task = asyncio.ensure_future(opening)
    await client.refused.wait()
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, asyncssh.Error, OSError):
            await task


async def ended(reader: asyncio.StreamReader) -> None:
    async with asyncio.timeout(30):
        with suppress(ConnectionError):
            await reader.read(-1)


async def test_one_that_fills_the_door_does_not_close_it(
    index: Index, port: int, planted: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_door, "FIRST_KEY", 600)
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(silent(port)) for _ in range(ssh_door.MOST)]
        for reader, _ in streams[: -ssh_door.OF_ONE]:
            await ended(reader)
        await knock(port, "root", key_of(planted))
        assert [use["sandbox_id"] for use in await uses(index)] == [planted.pk]


async def test_many_that_fill_it_do_not_either(
    index: Index, port: int, planted: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is one of an address that has no other the first to go."""
    monkeypatch.setattr(ssh_door, "FIRST_KEY", 600)
    async with AsyncExitStack() as stack:
        alone, _ = await stack.enter_async_context(silent(port, "127.0.0.9"))
        addresses = [f"127.0.0.{number}" for number in range(2, 7) for _ in range(ssh_door.OF_ONE)]
        crowd = [await stack.enter_async_context(silent(port, address)) for address in addresses]
        await ended(crowd[0][0])
        await knock(port, "root", key_of(planted))
        assert [use["sandbox_id"] for use in await uses(index)] == [planted.pk]
        rest = asyncio.create_task(alone.read(-1))
        await asyncio.wait([rest], timeout=0.1)
        assert not rest.done(), "it was ended"
        rest.cancel()


async def test_who_offers_no_key_has_to_go(
    port: int, planted: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_door, "FIRST_KEY", 0.05)
    async with silent(port) as (reader, _):
        await ended(reader)


async def test_who_offered_one_stays_and_the_next_is_refused_and_that_is_told(
    port: int, planted: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ssh_door, "OF_ONE", 1)
    monkeypatch.setattr(ssh_door, "FIRST_KEY", 3)
    async with hesitant(port) as there:
        for _ in range(2):
            async with silent(port) as (reader, _):
                await ended(reader)
        await asyncio.wait([there], timeout=3.2)
        assert not there.done(), "its key was offered, so it may go on"
    told = [record.getMessage() for record in caplog.records if record.name == ssh_door.__name__]
    assert told == ["1 SSH connections were ended because there were too many, the last of 127.0.0.1"]
    async with asyncio.timeout(30):
        while True:
            with suppress(AssertionError, asyncssh.Error, OSError):
                await knock(port, "root", key_of(planted))
                break
