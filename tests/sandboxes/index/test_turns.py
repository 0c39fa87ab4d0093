"""Whose turn it is to ask, among processes that share a folder."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandboxes.index import projects as module
from sandboxes.index.storage.turns import Turns
from tests.sandboxes.index.conftest import Index
from tests.sandboxes.index.patience import until
from tests.sandboxes.index.test_storage_processes import Process, pair
from tests.sandboxes.index.upstream_server import Fault, UpstreamServer
from tests.sandboxes.index.wheels import Package

__all__ = ["pair"]

HOLD = """
import sys
from pathlib import Path
from sandboxes.index.storage.turns import Turns
turns = Turns(Path(sys.argv[1]))
turns.open()
print(turns.take(sys.argv[2]), flush=True)
sys.stdin.read()
"""


@contextmanager
def held_elsewhere(file: Path, name: str) -> Iterator[bool]:
    """Another process takes the turn, and has it until the end; whether it could."""
    command = [sys.executable, "-c", HOLD, str(file), name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        yield other.stdout.readline() == "True\n"
        other.kill()


@pytest.fixture
def turns(tmp_path: Path) -> Iterator[Turns]:
    made = Turns(tmp_path / "turns")
    made.open()
    yield made
    made.close()


async def test_one_process_has_the_turn_until_it_ends(turns: Turns, tmp_path: Path) -> None:
    with held_elsewhere(tmp_path / "turns", "demo") as taken:
        assert taken
        assert not turns.take("demo")
        assert not await turns.wait("demo", 0.05)
        assert turns.take("other")
        waiting = asyncio.create_task(turns.wait("demo", 30))
        await asyncio.sleep(0.05)
        assert not waiting.done()
    assert await waiting


async def test_a_turn_that_is_given_back_is_another_s(turns: Turns, tmp_path: Path) -> None:
    """Once all who have it in this process gave it back."""
    assert turns.take("demo")
    assert turns.take("demo")
    turns.give_back("demo")
    with held_elsewhere(tmp_path / "turns", "demo") as taken:
        assert not taken
    turns.give_back("demo")
    with held_elsewhere(tmp_path / "turns", "demo") as taken:
        assert taken


async def test_two_processes_ask_once_for_a_page(
    pair: tuple[Process, Process], upstream: UpstreamServer, demo: Package
) -> None:
    upstream.page_faults["demo"] = Fault(drip=0.3)

    async def ask(each: Process) -> int:
        headers = {"Authorization": each.index.auth}
        async with each.index.session.get(f"{each.url}/simple/demo/", headers=headers) as answer:
            await answer.read()
            return answer.status

    assert set(await asyncio.gather(*(ask(pair[n % 2]) for n in range(10)))) == {200}
    assert upstream.asked["/simple/demo/"] == 1


async def test_who_waited_long_enough_asks_all_the_same(
    index: Index, upstream: UpstreamServer, demo: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_OTHERS", 0.2)
    with held_elsewhere(index.folder / "turns", "demo") as taken:
        assert taken
        assert (await index.ask("/simple/demo/")).status == 200
    assert upstream.asked["/simple/demo/"] == 1


async def test_a_turn_is_given_back_whatever_came_of_it(index: Index, upstream: UpstreamServer) -> None:
    assert (await index.ask("/simple/missing/")).status == 404
    with held_elsewhere(index.folder / "turns", "missing") as taken:
        assert taken


async def test_a_turn_is_given_back_once_the_page_is_written_down(index: Index, demo: Package) -> None:
    assert (await index.ask("/simple/demo/")).status == 200

    def free() -> bool:
        with held_elsewhere(index.folder / "turns", "demo") as taken:
            return taken

    await until(free)
