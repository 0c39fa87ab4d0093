"""Downloads under way: nobody can take all of them, and none goes on for nothing."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic

import aiohttp
import pytest
from django.db.models.functions import Now

from portal import celery
from portal.accounts.models import User
from sandboxes.audit.models import Entry
from sandboxes.index import files, flight, leading, tasks, transfers
from sandboxes.index.config import source
from sandboxes.index.errors import UnavailableError
from sandboxes.index.flight import LARGEST, Blob, Flight, Part
from sandboxes.index.models import Trouble
from sandboxes.index.storage.leases import Leases
from sandboxes.index.store import Store
from sandboxes.index.transfers import Transfers
from sandboxes.index.troubles import Troubles
from sandboxes.index.upstreams import Upstreams
from sandboxes.lifecycle.models import Alarm, Sandbox
from tests.sandboxes.index.conftest import Index, committed, database_url, path_of
from tests.sandboxes.index.patience import until
from tests.sandboxes.index.upstream_server import Fault, UpstreamServer
from tests.sandboxes.index.wheels import Package, make_wheel

SLOW = Fault(drip=0.2, piece=1)


def slow_wheels(upstream: UpstreamServer, many: int, project: str = "slow") -> list[Package]:
    """Wheels that arrive byte by byte."""
    wheels = [make_wheel(project, f"{n}.0") for n in range(many)]
    upstream.add(project, *wheels)
    upstream.faults |= {wheel.filename: SLOW for wheel in wheels}
    return wheels


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
    await until(lambda: sum(path.startswith("/packages/") for path in upstream.asked) == 2)
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
    monkeypatch.setattr(flight, "LOOK", 0.05)
    monkeypatch.setattr(leading, "LOOK", 0.05)
    monkeypatch.setattr(leading, "_FORSAKEN", 0.2)
    monkeypatch.setattr(flight, "HELD_BACK", 0)
    upstream.faults[big.filename] = Fault(drip=0.2)
    wheel = slow_wheels(upstream, 1)[0] if project == "slow" else big
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(index.ask(path_of(wheel, project)), 0.5)
    assert index.drafts
    await until(lambda: not index.drafts)
    assert index.stored == []
    # Hanging up does not keep it off the record.
    [fetch] = await index.rows("SELECT filename FROM usage_fetch WHERE kind = 'file'")
    assert fetch["filename"] == wheel.filename


async def test_a_download_that_somebody_waits_for_goes_on(
    index: Index, upstream: UpstreamServer, big: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flight, "LOOK", 0.02)
    monkeypatch.setattr(leading, "LOOK", 0.02)
    monkeypatch.setattr(leading, "_FORSAKEN", 0.1)
    upstream.faults[big.filename] = Fault(drip=0.01)
    start = monotonic()
    assert (await index.ask(path_of(big, "big"))).body == big.data
    assert monotonic() - start > 0.3


async def test_a_drip_is_ended_though_it_is_followed(
    index: Index, upstream: UpstreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leading, "LOOK", 0.05)
    monkeypatch.setattr(leading, "_START", 0.1)
    [wheel] = slow_wheels(upstream, 1)
    async with asyncio.timeout(5):
        reply = await index.ask(path_of(wheel, "slow"))
    assert (reply.status, reply.reason) == (502, f"The upstream sends {wheel.filename} too slowly.")
    assert index.drafts == []


@pytest.mark.parametrize("chunked", [False, True])
async def test_no_file_is_larger_than_its_limit(
    index: Index, upstream: UpstreamServer, big: Package, monkeypatch: pytest.MonkeyPatch, chunked: bool
) -> None:
    """Whether its length says so, or only its bytes do, and no page said anything of its size."""
    upstream.extra[big.filename] = {"size": None}
    upstream.faults[big.filename] = Fault(chunked=chunked)
    monkeypatch.setattr(files, "Blob", partial(Blob, largest=600_000))
    with suppress(aiohttp.ClientError):  # cut, if its first bytes were on their way
        reply = await index.ask(path_of(big, "big"))
        assert (reply.status, "is larger than 600000 bytes" in reply.reason) == (424, True)
    await until(lambda: not index.drafts)
    assert index.stored == []


def test_what_names_no_limit_has_one() -> None:
    assert Flight(Blob("0" * 64, None, "", "")).largest == LARGEST


async def test_the_largest_limit_of_those_who_want_it_holds(
    index: Index, upstream: UpstreamServer, big: Package, tmp_path: Path
) -> None:
    go_on = asyncio.Event()
    upstream.extra[big.filename] = {"size": None}
    upstream.faults[big.filename] = Fault(chunked=True, pause_at=400_000, go_on=go_on)
    store = Store(tmp_path / "other")
    store.open()
    leases = Leases(database_url())
    leases.open("test")
    origin = Upstreams((source("INDEX_UPSTREAM", upstream.url),))
    made = Transfers(store, origin, leases, Troubles(index.database))
    url = upstream.url.replace("/simple/", f"/packages/{big.filename}")
    blob = Blob(big.sha256, None, url, big.filename, 500_000, "default")
    first = await made.join(blob, 1)
    assert first is not None
    await first.opened(lambda: True)
    assert await made.join(replace(blob, largest=2_000_000), 2) is first
    go_on.set()
    await first.kept(lambda: True)
    assert await store.has(big.sha256)
    await made.close()
    await leases.close()
    await origin.close()


async def test_a_database_that_does_not_answer_gives_no_lease(tmp_path: Path) -> None:
    leases = Leases("postgresql://nobody@127.0.0.1:9/none")
    leases.open("here")
    with pytest.raises(UnavailableError, match="database does not answer"):
        await leases.take("file")
    await leases.close()


async def test_one_holds_a_lease_until_it_is_dropped_or_its_process_is_gone(sandbox: Sandbox) -> None:
    first, second, elsewhere = Leases(database_url()), Leases(database_url()), Leases(database_url())
    for leases, scope in ((first, "here"), (second, "here"), (elsewhere, "there")):
        leases.open(scope)
    lease = await first.take("file")
    assert lease is not None
    assert await first.take("file") is None
    assert await second.take("file") is None
    assert await second.take("another") is not None
    assert await elsewhere.take("file") is not None
    await lease.drop()
    again = await second.take("file")
    await lease.drop()  # of what is another's now: nothing
    assert again is not None
    assert await first.take("file") is None
    await second.close()

    async def free() -> bool:
        return await first.take("file") is not None

    await until(free)  # PostgreSQL notices on its own
    await first.close()
    await elsewhere.close()


async def test_leases_outlive_a_broken_connection(sandbox: Sandbox, index: Index) -> None:
    first, second = Leases(database_url()), Leases(database_url())
    for leases in (first, second):
        leases.open("here")
    assert await first.take("file") is not None
    await index.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database = "
        "(SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    with pytest.raises(UnavailableError):
        await first.take("another")
    assert await first.take("another") is not None
    assert await second.take("file") is None
    await first.close()
    await second.close()


def test_troubles_become_alarms_and_end_when_nothing_is_heard_of_them(db: None) -> None:
    """Once for each time they are told; the ledger has the first."""
    Trouble.objects.create(kind="index_full", message="The disk is full.", last_at=Now(), untold=True)
    for _ in range(2):
        tasks.raise_alarms()
    [alarm] = Alarm.objects.all()
    assert (alarm.subject, alarm.message, alarm.count) == ("index", "The disk is full.", 1)
    Trouble.objects.update(untold=True)
    tasks.raise_alarms()
    alarm.refresh_from_db()
    assert (alarm.count, alarm.cleared_at) == (2, None)
    Trouble.objects.update(last_at=Now() - tasks.OVER * 2)
    tasks.raise_alarms()
    alarm.refresh_from_db()
    assert alarm.cleared_at is not None
    assert not Trouble.objects.exists()
    assert list(Entry.objects.values_list("action", flat=True)) == ["alarm.raised", "alarm.cleared"]


def test_beat_sends_the_task_by_its_name() -> None:
    names = {entry["task"] for entry in celery.app.conf.beat_schedule.values()}
    assert tasks.raise_alarms.name in names


async def test_who_was_told_of_a_file_that_was_right_and_not_stored_has_it(tmp_path: Path) -> None:
    """As when the bucket fails at the very end, while the answer is still being recorded."""
    (tmp_path / "draft").write_bytes(b"all of it")
    flight = Flight(Blob("0" * 64, 9, "", "demo"))
    with (tmp_path / "draft").open("rb") as draft:
        flight.start(draft.fileno())
    flight.open(9)
    flight.grow(9)
    flight.verify()
    flight.end()
    assert flight.live
    with flight.follow(lambda: True) as seat:
        part = await seat.next()
        assert isinstance(part, Part)
        assert os.pread(part.file.fileno(), part.length, part.start) == b"all of it"
