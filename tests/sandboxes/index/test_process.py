"""The process itself: `python -m sandboxes.index`."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psutil
import pytest

from tests.sandboxes.index.conftest import Index, database_url, path_of
from tests.sandboxes.index.patience import until
from tests.sandboxes.index.processes import NOWHERE, PATIENCE, get, kill, start, when_up
from tests.sandboxes.index.upstream_server import Fault, UpstreamServer
from tests.sandboxes.index.wheels import Package
from tests.simulator import free_port


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
        kill(process)
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
        kill(process)
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
    assert b"Address already in use" in log
    assert b"Traceback" not in log


async def workers_of(process: asyncio.subprocess.Process, count: int) -> set[int]:
    """Those that serve, once there are so many."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = {child.pid for child in psutil.Process(process.pid).children()}
            if len(found) == count:
                return found
            await asyncio.sleep(0.05)


async def test_no_request_is_lost_over_a_graceful_restart(
    url: tuple[str, asyncio.subprocess.Process], index: Index, demo: Package
) -> None:
    """SIGHUP while clients ask without a pause, on connections that they keep."""
    base, process = url
    before = await workers_of(process, 2)
    asked, over = 0, asyncio.Event()

    async def ask() -> None:
        nonlocal asked
        connector = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(connector=connector, headers={"Authorization": index.auth}) as own:
            while not over.is_set():
                async with own.post(
                    f"{base}/simple/demo/"
                ) as refused:  # nobody sends a POST twice by himself
                    assert refused.status == 405
                async with own.get(f"{base}/simple/demo/") as answer:
                    assert answer.status == 200
                    assert demo.filename in await answer.text()
                asked += 1

    clients = [asyncio.create_task(ask()) for _ in range(4)]
    process.send_signal(signal.SIGHUP)
    await until(lambda: not before & {child.pid for child in psutil.Process(process.pid).children()})
    at_the_change = asked
    await until(lambda: asked > at_the_change + 20 or any(client.done() for client in clients))
    over.set()
    await asyncio.gather(*clients)
    assert len(await workers_of(process, 2)) == 2


async def test_workers_let_themselves_open_as_many_files_as_they_may(
    index: Index, upstream: UpstreamServer, tmp_path: Path
) -> None:
    few = ("sh", "-c", 'ulimit -S -n 128 && exec "$0" "$@"')
    process = await start(tmp_path / "second", upstream.url, database_url(), free_port(), *few)
    try:
        workers = [psutil.Process(number) for number in await workers_of(process, 2)]
        hard = psutil.Process(process.pid).rlimit(psutil.RLIMIT_NOFILE)[1]
        for worker in workers:
            await until(lambda one=worker: one.rlimit(psutil.RLIMIT_NOFILE) == (hard, hard))  # type: ignore[misc]
    finally:
        kill(process)
        await process.communicate()


async def is_other(process: asyncio.subprocess.Process, than: set[int]) -> bool:
    return await workers_of(process, 2) != than


async def test_a_worker_that_dies_is_replaced(
    url: tuple[str, asyncio.subprocess.Process], index: Index
) -> None:
    base, process = url
    assert process.stderr is not None
    async with asyncio.timeout(PATIENCE):
        while b"2 workers serve" not in await process.stderr.readline():  # before, it is a failure to start
            pass
    before = await workers_of(process, 2)
    os.kill(min(before), signal.SIGKILL)
    await until(lambda: is_other(process, before))
    assert (await when_up(base)).status == 200


async def test_workers_end_with_their_parent(
    url: tuple[str, asyncio.subprocess.Process], index: Index
) -> None:
    _, process = url
    workers = [psutil.Process(number) for number in await workers_of(process, 2)]
    process.kill()
    await asyncio.to_thread(psutil.wait_procs, workers, timeout=PATIENCE)
    assert not any(worker.is_running() for worker in workers)
