"""Two index processes on one folder: one fetch for all their clients, and what happens when one of them dies."""

import asyncio
import hashlib
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil
import pytest

from sandboxes.index.flight import HELD_BACK
from tests.sandboxes.index.conftest import Index, database_url, path_of
from tests.sandboxes.index.patience import read_until_cut, until
from tests.sandboxes.index.processes import when_up
from tests.sandboxes.index.upstream_server import Fault, UpstreamServer
from tests.sandboxes.index.wheels import Package, make_wheel
from tests.simulator import free_port

PATIENCE = 60.0  # seconds


@dataclass
class Process:
    """A real index, and its sandbox's client."""

    url: str
    process: asyncio.subprocess.Process
    index: Index

    def get(self, package: Package) -> "aiohttp.client._RequestContextManager":
        path = path_of(package, package.filename.partition("-")[0])
        return self.index.session.get(f"{self.url}{path}", headers={"Authorization": self.index.auth})

    async def ask(self, package: Package) -> bytes:
        async with self.get(package) as answer:
            assert answer.status == 200, answer.reason
            return await answer.read()

    async def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()


@pytest.fixture
async def pair(
    index: Index, upstream: UpstreamServer, tmp_path: Path
) -> AsyncIterator[tuple[Process, Process]]:
    """Two processes with one data folder and one database; of the index in this process only the client is used."""
    started = [await _start(index, upstream, tmp_path / "shared") for _ in range(2)]
    await asyncio.gather(*(when_up(each.url) for each in started))
    yield started[0], started[1]
    for each in started:
        if each.process.returncode is None:
            os.killpg(each.process.pid, signal.SIGKILL)
        await each.process.communicate()


async def _start(index: Index, upstream: UpstreamServer, folder: Path) -> Process:
    port = free_port()
    environ = {
        "DATABASE_URL": database_url(),
        "INDEX_UPSTREAM": upstream.url,
        "INDEX_PORT": str(port),
        "DATA_DIR": str(folder),
        "INDEX_PROCESSES": "1",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "sandboxes.index",
        env=os.environ | environ,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    return Process(f"http://127.0.0.1:{port}", process, index)


@pytest.fixture
def wheel(upstream: UpstreamServer) -> Package:
    """5 MB."""
    made = make_wheel("huge", padding=bytes(range(256)) * 20_000)
    upstream.add("huge", made)
    return made


def fetches(upstream: UpstreamServer, package: Package) -> int:
    return upstream.asked[f"/packages/{package.filename}"]


async def test_fifty_clients_of_two_processes_are_one_fetch(
    pair: tuple[Process, Process], upstream: UpstreamServer, wheel: Package, tmp_path: Path
) -> None:
    upstream.faults[wheel.filename] = Fault(drip=0.002)
    async with asyncio.timeout(PATIENCE):
        bodies = await asyncio.gather(*(pair[n % 2].ask(wheel) for n in range(50)))
    assert {hashlib.sha256(body).hexdigest() for body in bodies} == {wheel.sha256}
    assert fetches(upstream, wheel) == 1
    incoming = tmp_path / "shared" / "index" / "incoming"
    await until(lambda: not list(incoming.iterdir()))


async def test_clients_of_two_processes_have_a_small_file_alike(
    pair: tuple[Process, Process], upstream: UpstreamServer
) -> None:
    """It is verified before it begins to leave, also by the process that does not fetch it."""
    go_on = asyncio.Event()
    small = make_wheel("small", padding=bytes(30_000))
    upstream.add("small", small)
    upstream.faults[small.filename] = Fault(pause_at=10_000, go_on=go_on)
    async with asyncio.timeout(PATIENCE):
        asked = [asyncio.create_task(pair[n % 2].ask(small)) for n in range(10)]
        await until(lambda: fetches(upstream, small) == 1)
        await asyncio.sleep(1)  # the other process has come to follow it by then
        go_on.set()
        assert set(await asyncio.gather(*asked)) == {small.data}
    assert fetches(upstream, small) == 1


async def test_the_other_process_streams_what_is_there(
    pair: tuple[Process, Process], upstream: UpstreamServer, wheel: Package
) -> None:
    """Its clients need not wait until the file is stored."""
    go_on = asyncio.Event()
    upstream.faults[wheel.filename] = Fault(pause_at=2_000_000, go_on=go_on)
    async with asyncio.timeout(PATIENCE), pair[0].get(wheel) as first:
        await first.content.readexactly(1000)
        async with pair[1].get(wheel) as second:
            assert await second.content.readexactly(1_900_000) == wheel.data[:1_900_000]
            go_on.set()
            assert await second.content.read() == wheel.data[1_900_000:]
        assert await first.content.read() == wheel.data[1000:]
    assert fetches(upstream, wheel) == 1


async def test_a_leader_that_is_killed_is_taken_over_from(
    pair: tuple[Process, Process], upstream: UpstreamServer, wheel: Package
) -> None:
    """Clients of the other process, with a part already, and one without, have the right file whole."""
    upstream.faults[wheel.filename] = Fault(pause_at=2_000_000, go_on=asyncio.Event())
    async with asyncio.timeout(PATIENCE), pair[0].get(wheel) as first:
        await first.content.readexactly(1000)
        async with pair[1].get(wheel) as second:
            assert await second.content.readexactly(1_900_000) == wheel.data[:1_900_000]
            upstream.faults[wheel.filename] = Fault()
            await pair[0].kill()
            late = asyncio.create_task(pair[1].ask(wheel))
            assert await second.content.read() == wheel.data[1_900_000:]
            assert await late == wheel.data
        with pytest.raises(aiohttp.ClientError):
            await first.content.read()
    assert fetches(upstream, wheel) == 2


async def test_what_the_dead_leader_gave_must_be_of_the_file(
    pair: tuple[Process, Process], upstream: UpstreamServer, wheel: Package
) -> None:
    """The first fetch brought a bad beginning, the second the right file: together they are no file."""
    bad = b"!" + wheel.data[1:]
    upstream.faults[wheel.filename] = Fault(data=bad, pause_at=2_000_000, go_on=asyncio.Event())
    async with asyncio.timeout(PATIENCE), pair[0].get(wheel) as first:
        await first.content.readexactly(1000)
        async with pair[1].get(wheel) as second:
            assert await second.content.readexactly(1000) == bad[:1000]
            upstream.faults[wheel.filename] = Fault()
            await pair[0].kill()
            with pytest.raises(aiohttp.ClientError):
                await second.content.read()
        assert await pair[1].ask(wheel) == wheel.data


async def test_a_leader_whose_fetch_fails_cuts_the_others_clients_too(
    pair: tuple[Process, Process], upstream: UpstreamServer, wheel: Package
) -> None:
    go_on = asyncio.Event()
    bad = wheel.data[:-1] + b"!"
    upstream.faults[wheel.filename] = Fault(data=bad, pause_at=2_000_000, go_on=go_on)
    async with asyncio.timeout(PATIENCE), pair[0].get(wheel) as first:
        await first.content.readexactly(1000)
        async with pair[1].get(wheel) as second:
            await second.content.readexactly(1000)
            go_on.set()
            for answer in (first, second):
                assert 1000 + await read_until_cut(answer) <= len(bad) - HELD_BACK


@pytest.mark.parametrize("begun", [True, False])
async def test_a_disk_that_refuses_more_passes_the_file_on(
    pair: tuple[Process, Process], upstream: UpstreamServer, wheel: Package, tmp_path: Path, begun: bool
) -> None:
    """The system itself refuses, before the fetch begins or in the middle of it; clients have the file whole."""
    process, go_on = pair[0], asyncio.Event()
    upstream.faults[wheel.filename] = Fault(pause_at=2_000_000 if begun else 0, go_on=go_on)
    asking = [asyncio.create_task(process.ask(wheel)) for _ in range(5)] if begun else []
    incoming = tmp_path / "shared" / "index" / "incoming"
    async with asyncio.timeout(PATIENCE):
        await until(lambda: not begun or any(path.stat().st_size >= 2_000_000 for path in incoming.iterdir()))
        (worker,) = psutil.Process(process.process.pid).children()
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (2_500_000, 2_500_000))
        asking = asking or [asyncio.create_task(process.ask(wheel)) for _ in range(5)]
        await until(lambda: fetches(upstream, wheel) > 0)
        go_on.set()
        bodies = await asyncio.gather(*asking)
    assert {hashlib.sha256(body).hexdigest() for body in bodies} == {wheel.sha256}
    assert fetches(upstream, wheel) == 1
    assert list(incoming.iterdir()) == []
    assert not any(path.is_file() for path in (tmp_path / "shared" / "index" / "files").rglob("*"))
    [trouble] = await process.index.rows("SELECT kind FROM index_trouble")
    assert trouble["kind"] == "index_full"
