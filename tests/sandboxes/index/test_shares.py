"""No sandbox takes everything: what it asks for beyond its share waits, and is then told to come back."""

import asyncio
from dataclasses import dataclass

import pytest

from sandboxes.index import shares
from tests.sandboxes.index.conftest import Index, Reply, path_of
from tests.sandboxes.index.patience import until
from tests.sandboxes.index.upstream_server import Fault, UpstreamServer
from tests.sandboxes.index.wheels import Package

WHY = "This sandbox asks for more than 2 things at once; try again."


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the index starts."""
    monkeypatch.setattr(shares, "AT_ONCE", 2)
    monkeypatch.setattr(shares, "_MOST_WAITING", 1)
    monkeypatch.setattr(shares, "_WAIT", 0.05)


@dataclass
class Work:
    asking: list[asyncio.Task[Reply]]
    go_on: asyncio.Event


@pytest.fixture
async def work(index: Index, upstream: UpstreamServer, demo: Package, big: Package) -> Work:
    """The sandbox has its whole share in work, until this goes on."""
    made = Work([], asyncio.Event())
    upstream.faults[big.filename] = Fault(pause_at=1, go_on=made.go_on)
    made.asking += [asyncio.create_task(index.ask(path_of(big, "big"))) for _ in range(2)]

    async def are_recorded() -> bool:  # so they are being answered
        return len(await index.rows("SELECT id FROM usage_fetch WHERE kind = 'file'")) == 2

    await until(are_recorded)
    return made


async def test_what_is_more_than_a_share_is_told_to_come_back_and_others_are_not(
    index: Index, neighbour: str, work: Work
) -> None:
    reply = await index.ask("/simple/demo/")
    assert (reply.status, reply.reason, reply.headers["Retry-After"]) == (503, WHY, "2")
    assert (await index.ask("/simple/demo/", Authorization=neighbour)).status == 200
    work.go_on.set()
    assert [(await task).status for task in work.asking] == [200, 200]
    assert (await index.ask("/simple/demo/")).status == 200


async def test_who_waits_has_the_next_place_and_only_so_many_wait(
    index: Index, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shares, "_WAIT", 60.0)
    asking = [asyncio.create_task(index.ask("/simple/demo/")) for _ in range(3)]
    await until(lambda: sum(task.done() for task in asking) == 2)
    work.go_on.set()
    assert sorted([(await task).status for task in asking]) == [200, 503, 503]


async def test_a_client_that_hangs_up_gives_its_place_back(
    index: Index, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shares, "_WAIT", 60.0)
    waits = asyncio.create_task(index.ask("/simple/demo/"))
    await until(lambda: is_turned_away(index))
    waits.cancel()
    work.go_on.set()
    for task in work.asking:
        await task
    assert (await index.ask("/simple/demo/")).status == 200


async def is_turned_away(index: Index) -> bool:
    """At once: somebody waits already."""
    try:
        async with asyncio.timeout(0.5):
            return (await index.ask("/simple/demo/")).status == 503
    except TimeoutError:
        return False
