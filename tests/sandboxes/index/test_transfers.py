"""Downloads under way: nobody can take all of them, and none goes on for nothing."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from time import monotonic

import aiohttp
import pytest

from portal.accounts.models import User
from sandboxes.index import flight, store, transfers
from sandboxes.lifecycle.models import Sandbox
from tests.sandboxes.index.conftest import Index, committed, path_of
from tests.sandboxes.index.upstream_server import Fault, UpstreamServer
from tests.sandboxes.index.wheels import Package, make_wheel

SLOW = Fault(drip=0.2, piece=1)


def slow_wheels(upstream: UpstreamServer, many: int, project: str = "slow") -> list[Package]:
    """Wheels that arrive byte by byte."""
    wheels = [make_wheel(project, f"{n}.0") for n in range(many)]
    upstream.add(project, *wheels)
    upstream.faults |= {wheel.filename: SLOW for wheel in wheels}
    return wheels


async def eventually(reached: Callable[[], bool]) -> None:
    for _ in range(500):
        if reached():
            return
        await asyncio.sleep(0.01)
    pytest.fail("waited in vain")


def _make_bob() -> None:
    alices = Sandbox.objects.get()
    Sandbox.objects.create(
        name="bobs",
        namespace="bobs",
        cluster="simulated",
        owner=User.objects.create_user("bob"),
        profile="python",
        data_class="public",
        phase="ready",
        lease=alices.lease,
        expires_at=alices.expires_at,
        index_token_digest=hashlib.sha256(b"bobs-token").hexdigest(),
    )


@pytest.fixture
async def bob(index: Index) -> str:
    """Bob's credentials, of a ready sandbox of his own."""
    await asyncio.to_thread(committed, _make_bob)
    return aiohttp.encode_basic_auth("bobs", "bobs-token")


@pytest.fixture
async def alice_takes_all(
    index: Index, upstream: UpstreamServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[Package]]:
    """Alice's sandbox follows as many slow files as it may have; the list ends with one that it may not."""
    monkeypatch.setattr(transfers, "_MOST", 4)
    monkeypatch.setattr(transfers, "_SHARE", 1)
    monkeypatch.setattr(transfers, "_PATIENCE", 0.2)
    wheels = slow_wheels(upstream, 3)
    asking = [asyncio.create_task(index.ask(path_of(wheel, "slow"))) for wheel in wheels[:2]]
    await eventually(lambda: sum(path.startswith("/packages/") for path in upstream.asked) == 2)
    yield wheels
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)


async def test_a_sandbox_has_half_of_all_downloads_at_most(
    index: Index, alice_takes_all: list[Package], demo: Package, bob: str
) -> None:
    refused = await index.ask(path_of(alice_takes_all[2], "slow"))
    assert (refused.status, refused.headers["Retry-After"]) == (503, "2")
    assert refused.reason == "The sandbox is fetching 2 files at once; try again."
    assert (await index.ask(path_of(demo), Authorization=bob)).body == demo.data


async def test_beyond_that_it_waits_for_its_own(
    index: Index, upstream: UpstreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As uv does, which asks for fifty files at once."""
    monkeypatch.setattr(transfers, "_MOST", 4)
    monkeypatch.setattr(transfers, "_SHARE", 1)
    wheels = [make_wheel("many", f"{n}.0") for n in range(12)]
    upstream.add("many", *wheels)
    replies = await asyncio.gather(*(index.ask(path_of(wheel, "many")) for wheel in wheels))
    assert [reply.body for reply in replies] == [wheel.data for wheel in wheels]


@pytest.mark.parametrize("project", ["slow", "big"])
async def test_a_download_that_nobody_follows_ends(
    index: Index, upstream: UpstreamServer, big: Package, monkeypatch: pytest.MonkeyPatch, project: str
) -> None:
    """Whether its client hung up before the answer began, or after."""
    monkeypatch.setattr(flight, "_LOOK", 0.05)
    monkeypatch.setattr(flight, "_FORSAKEN", 0.2)
    monkeypatch.setattr(flight, "HELD_BACK", 0)
    upstream.faults[big.filename] = Fault(drip=0.2)
    wheel = slow_wheels(upstream, 1)[0] if project == "slow" else big
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(index.ask(path_of(wheel, project)), 0.5)
    assert index.drafts
    await eventually(lambda: not index.drafts)
    assert index.stored == []
    # Hanging up does not keep it off the record.
    [fetch] = await index.rows("SELECT filename FROM usage_fetch WHERE kind = 'file'")
    assert fetch["filename"] == wheel.filename


async def test_a_download_that_somebody_waits_for_goes_on(
    index: Index, upstream: UpstreamServer, big: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flight, "_LOOK", 0.02)
    monkeypatch.setattr(flight, "_FORSAKEN", 0.1)
    upstream.faults[big.filename] = Fault(drip=0.01)
    start = monotonic()
    assert (await index.ask(path_of(big, "big"))).body == big.data
    assert monotonic() - start > 0.3


async def test_a_drip_is_ended_though_it_is_followed(
    index: Index, upstream: UpstreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flight, "_LOOK", 0.05)
    monkeypatch.setattr(flight, "_START", 0.1)
    [wheel] = slow_wheels(upstream, 1)
    async with asyncio.timeout(5):
        reply = await index.ask(path_of(wheel, "slow"))
    assert (reply.status, reply.reason) == (502, f"The upstream sends {wheel.filename} too slowly.")
    assert index.drafts == []


async def test_a_disk_with_too_little_room_is_said_before_anything_is_fetched(
    index: Index, upstream: UpstreamServer, demo: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "FLOOR", 1 << 62)
    reply = await index.ask(path_of(demo))
    assert (reply.status, reply.headers["Retry-After"]) == (503, "2")
    assert reply.reason == "The index's disk has too little room left; an admin must make some."
    assert upstream.asked[f"/packages/{demo.filename}"] == 0


async def test_a_file_larger_than_the_disk_is_not_begun(
    index: Index, upstream: UpstreamServer, demo: Package
) -> None:
    upstream.extra[demo.filename] = {"size": 1 << 62}
    assert (await index.ask(path_of(demo))).status == 503
    assert upstream.asked[f"/packages/{demo.filename}"] == 0
