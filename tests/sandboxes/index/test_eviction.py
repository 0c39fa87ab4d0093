"""INDEX_STORAGE_MAX: room is made before a file is fetched, at the cost of what was used longest ago."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from time import time
from typing import BinaryIO

import pytest
from aiohttp import web

from sandboxes.index import eviction
from sandboxes.index.app import make_app
from sandboxes.index.config import Config, source
from sandboxes.index.eviction import Eviction
from sandboxes.index.storage.folder import Folder
from sandboxes.index.storage.leases import Lease
from sandboxes.index.store import Store
from tests.sandboxes.index.conftest import Index, database_url, path_of
from tests.sandboxes.index.patience import until
from tests.sandboxes.index.upstream_server import Fault, UpstreamServer
from tests.sandboxes.index.wheels import Package, make_wheel

KB = 1024
LIMIT = 10 * 64 * KB


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path, most=LIMIT)
    made.open()
    return made


async def put(store: Store, name: str, used_at: float) -> str:
    """A stored file of 64 KiB."""
    data = name.encode() * (64 * KB // len(name.encode()))
    sha256 = hashlib.sha256(data).hexdigest()
    draft = store.drafts.take(sha256)
    assert draft is not None
    draft.write(0, data)
    await store.place.keep(draft, sha256)
    os.utime(draft.descriptor, (used_at, used_at))
    draft.close()
    return sha256


type Limited = Callable[[int], Awaitable[Index]]


@pytest.fixture
async def limited(index: Index, upstream: UpstreamServer) -> AsyncIterator[Limited]:
    """Starts indexes whose folder, which they share, may hold so many bytes."""
    runners: list[web.AppRunner] = []

    async def started(most: int) -> Index:
        config = Config(
            *(database_url(), "127.0.0.1", 0, index.folder, (source("INDEX_UPSTREAM", upstream.url),)),
            storage_max=most,
        )
        runners.append(web.AppRunner(await make_app(config), access_log=None, shutdown_timeout=0.2))
        await runners[-1].setup()
        await web.TCPSite(runners[-1], "127.0.0.1", 0).start()
        return replace(index, url=f"http://127.0.0.1:{runners[-1].addresses[0][1]}")

    yield started
    for runner in runners:
        await runner.cleanup()


async def stored(store: Store, names: list[str]) -> list[bool]:
    return [await store.has(name) for name in names]


async def test_what_was_used_longest_ago_goes_and_no_more_than_must(store: Store) -> None:
    names = [await put(store, chr(ord("a") + n), 1000.0 + n) for n in range(10)]
    used = store.place.file(names[0])  # in use again
    assert used is not None
    assert await store.room.make(64 * KB) == ""
    assert await stored(store, names) == [True, False, False, *[True] * 7]
    used.close()


async def test_nothing_goes_while_there_is_room(store: Store) -> None:
    names = [await put(store, chr(ord("a") + n), 1000.0 + n) for n in range(9)]
    assert await store.room.make(64 * KB) == ""
    assert all(await stored(store, names))


async def test_a_file_that_is_served_is_read_to_its_end(store: Store) -> None:
    [name] = [await put(store, "a", 1000.0)]
    file = store.place.file(name)
    assert file is not None
    for number in range(5):
        await put(store, f"other {number}", time() + 1000.0)
    assert await store.room.make(LIMIT // 2) == ""
    assert not await store.has(name)
    with file:
        assert file.read() == b"a" * 64 * KB


async def test_space_that_drafts_reserved_counts(store: Store, tmp_path: Path) -> None:
    """Also another process's: it is seen on the disk."""
    names = [await put(store, chr(ord("a") + n), 1000.0 + n) for n in range(4)]
    other = Store(tmp_path, most=LIMIT).drafts.take("0" * 64)
    assert other is not None
    other.reserve(LIMIT // 2)
    assert await store.room.make(2 * 64 * KB) == ""
    assert await stored(store, names) == [False, False, True, True]
    other.close()


async def test_what_other_processes_stored_is_counted_when_the_limit_is_near(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eviction, "_RECOUNT_NEAR", 0.0)
    for _ in range(2):
        assert await store.room.make(4 * 64 * KB) == ""
    names = [await put(Store(tmp_path), chr(ord("a") + n), 1000.0 + n) for n in range(10)]
    assert await store.room.make(2 * 64 * KB) == ""
    assert await stored(store, names) == [*[False] * 3, *[True] * 7]


async def test_what_is_larger_than_half_of_it_has_no_room_and_costs_nothing(store: Store) -> None:
    """One file drives out no more than that of everybody else's, also when room is made for it bit by bit."""
    names = [await put(store, chr(ord("a") + n), 1000.0 + n) for n in range(10)]
    assert "INDEX_STORAGE_MAX" in await store.room.make(LIMIT // 2 + 1)
    assert all(await stored(store, names))
    held = 0
    for size in range(64 * KB, LIMIT // 2 + 1, 64 * KB):
        assert await store.room.make(size, held) == ""
        held = size
    assert "INDEX_STORAGE_MAX" in await store.room.make(held + 1, held)


async def test_room_that_was_not_used_is_given_back(store: Store) -> None:
    names = [await put(store, chr(ord("a") + n), 1000.0 + n) for n in range(4)]
    for _ in range(20):
        assert await store.room.make(4 * 64 * KB) == ""
        store.room.give_back(4 * 64 * KB)
    assert all(await stored(store, names))


async def test_what_a_page_claims_of_a_size_drives_nothing_out(
    limited: Limited, upstream: UpstreamServer
) -> None:
    """Only what the upstream is about to send does."""
    kept = make_wheel("kept", padding=bytes(range(256)) * 512)
    liar = make_wheel("liar")
    large = make_wheel("large", padding=bytes(range(256)) * 800)
    for project, package in (("kept", kept), ("liar", liar), ("large", large)):
        upstream.add(project, package)
    upstream.extra[liar.filename] = {"size": 450_000}
    index = await limited(500_000)
    assert (await index.ask(path_of(kept, "kept"))).body == kept.data
    await until(lambda: index.stored == [kept.sha256])
    reply = await index.ask(path_of(liar, "liar"))
    assert (reply.status, "not 450000 as its page says" in reply.reason) == (424, True)
    assert index.stored == [kept.sha256]
    # Not more than half of all for one, announced or not.
    for fault in (Fault(), Fault(chunked=True)):
        upstream.faults[large.filename] = fault
        small = await limited(400_000)
        assert (await small.ask(path_of(large, "large"))).body == large.data
        assert index.stored == [kept.sha256]
    upstream.faults.clear()
    assert (await index.ask(path_of(large, "large"))).body == large.data
    await until(lambda: large.sha256 in index.stored)


@pytest.mark.parametrize("metadata", [False, True])
async def test_a_file_that_goes_after_it_was_found_is_fetched_again(
    index: Index, upstream: UpstreamServer, demo: Package, monkeypatch: pytest.MonkeyPatch, metadata: bool
) -> None:
    """Between the record and the first byte; who asks does not notice."""
    path = f"{path_of(demo)}.metadata" if metadata else path_of(demo)
    assert (await index.ask(path)).status == 200
    await until(lambda: len(index.stored) == 1 and not index.drafts)
    opened = Folder.file
    evicted: list[str] = []

    def evicting(self: Folder, sha256: str) -> BinaryIO:
        if not evicted:
            evicted.append(sha256)
            self.place(sha256).unlink()
        return opened(self, sha256)

    monkeypatch.setattr(Folder, "file", evicting)
    reply = await index.ask(path, Range="bytes=0-99")
    whole = demo.metadata if metadata else demo.data
    assert whole is not None
    assert (reply.status, reply.body) == (206, whole[:100])
    assert len(evicted) == 1
    assert upstream.asked[f"/packages/{path.rpartition('/')[2]}"] == 2


async def test_a_file_that_goes_while_its_flight_is_put_away_is_fetched_again(
    index: Index, upstream: UpstreamServer, demo: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stored, and its flight not ended: who asks then gets neither that flight nor an error."""
    reached, go = asyncio.Event(), asyncio.Event()
    drop = Lease.drop

    async def slow(self: Lease) -> None:
        reached.set()
        await go.wait()
        await drop(self)

    monkeypatch.setattr(Lease, "drop", slow)
    assert (await index.ask(path_of(demo))).status == 200
    await asyncio.wait_for(reached.wait(), 10)
    await until(lambda: len(index.stored) == 1)
    Folder(index.folder).place(demo.sha256).unlink()
    asking = asyncio.create_task(index.ask(path_of(demo)))
    await asyncio.sleep(0.2)
    go.set()
    reply = await asking
    assert (reply.status, reply.body) == (200, demo.data)
    assert upstream.asked[f"/packages/{demo.filename}"] == 2


async def test_a_file_that_goes_and_cannot_be_fetched_again_is_a_readable_error(
    index: Index, upstream: UpstreamServer, demo: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await index.ask(path_of(demo))).status == 200
    await until(lambda: len(index.stored) == 1 and not index.drafts)
    opened = Folder.file

    def evicting(self: Folder, sha256: str) -> BinaryIO:
        self.place(sha256).unlink(missing_ok=True)
        return opened(self, sha256)

    monkeypatch.setattr(Folder, "file", evicting)
    reply = await index.ask(path_of(demo))
    assert (reply.status, reply.headers.get("Retry-After")) == (503, "2"), reply.reason


async def test_a_file_that_goes_while_it_is_counted_is_left_out(store: Store, tmp_path: Path) -> None:
    name = await put(store, "a", 1000.0)
    (tmp_path / "files" / name[:2] / name[2:4] / "dangling").symlink_to(tmp_path / "nowhere")
    assert await Eviction(tmp_path, LIMIT).make_room(LIMIT // 2)
    assert await store.has(name)
