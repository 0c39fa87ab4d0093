"""The process itself: `python -m sandboxes.index`."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.sandboxes.index.conftest import Index, Reply, database_url, path_of
from tests.sandboxes.index.upstream_server import Fault, UpstreamServer
from tests.sandboxes.index.wheels import Package

PATIENCE = 20.0  # seconds
NOWHERE = "postgresql://nobody@127.0.0.1:9/none"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def start(folder: Path, upstream: str, database: str, port: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "sandboxes.index",
        env=os.environ
        | {
            "DATABASE_URL": database,
            "INDEX_UPSTREAM": upstream,
            "INDEX_PORT": str(port),
            "DATA_DIR": str(folder),
        },
        stderr=asyncio.subprocess.PIPE,
    )


async def get(url: str, **headers: str) -> Reply:
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        return Reply(answer.status, answer.reason or "", answer.headers, await answer.read())


async def when_up(url: str) -> Reply:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await get(f"{url}/healthz")
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.05)


@pytest.fixture
async def url(
    upstream: UpstreamServer, index: Index, tmp_path: Path
) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """A second index, a real process, beside the one in this process; they share the database only."""
    port = free_port()
    process = await start(tmp_path / "second", upstream.url, database_url(), port)
    await when_up(f"http://127.0.0.1:{port}")
    yield f"http://127.0.0.1:{port}", process
    if process.returncode is None:
        process.kill()
    await process.communicate()


async def test_lives_serves_and_lets_an_answer_end_after_sigterm(
    url: tuple[str, asyncio.subprocess.Process], index: Index, upstream: UpstreamServer, big: Package
) -> None:
    base, process = url
    assert (await get(f"{base}/healthz")).status == 200
    assert (await get(f"{base}/readyz")).status == 200
    upstream.faults[big.filename] = Fault(drip=0.01)
    async with index.session.get(base + path_of(big, "big"), headers={"Authorization": index.auth}) as answer:
        await answer.content.readexactly(1)
        process.send_signal(signal.SIGTERM)
        assert await answer.content.read() == big.data[1:]
    _, log = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode == 0, log.decode()
    assert b"Traceback" not in log


async def test_killed_while_storing_leaves_nothing_that_counts(
    url: tuple[str, asyncio.subprocess.Process],
    index: Index,
    upstream: UpstreamServer,
    big: Package,
    tmp_path: Path,
) -> None:
    base, process = url
    folder = tmp_path / "second" / "index"
    upstream.faults[big.filename] = Fault(drip=0.05)
    async with index.session.get(base + path_of(big, "big"), headers={"Authorization": index.auth}) as answer:
        await answer.content.readexactly(1)
        process.kill()
        with pytest.raises(aiohttp.ClientError):
            await answer.content.read()
    await process.wait()
    assert len(list((folder / "incoming").iterdir())) == 1
    upstream.faults.clear()
    port = free_port()
    again = await start(tmp_path / "second", upstream.url, database_url(), port)
    await when_up(f"http://127.0.0.1:{port}")
    assert list((folder / "incoming").iterdir()) == []
    reply = await get(f"http://127.0.0.1:{port}{path_of(big, 'big')}", Authorization=index.auth)
    assert reply.body == big.data
    again.terminate()
    await again.communicate()


async def test_without_a_database_it_lives_and_refuses(
    index: Index, upstream: UpstreamServer, tmp_path: Path
) -> None:
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    process = await start(tmp_path / "second", upstream.url, NOWHERE, port)
    assert (await when_up(base)).status == 200
    replies = await asyncio.gather(
        get(f"{base}/readyz"), get(f"{base}/simple/demo/", Authorization=index.auth)
    )
    for reply in replies:
        assert (reply.status, reply.headers["Retry-After"]) == (503, "2")
        assert reply.reason == "The index's database cannot be reached; try again."
    process.terminate()
    await asyncio.wait_for(process.communicate(), PATIENCE)
    assert not upstream.asked


async def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = await start(tmp_path, "http://127.0.0.1:9/", NOWHERE, taken.getsockname()[1])
        _, log = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode == 1
    assert b"The index cannot start" in log
    assert b"address already in use" in log
    assert b"Traceback" not in log
