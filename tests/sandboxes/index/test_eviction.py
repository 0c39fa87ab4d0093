"""INDEX_STORAGE_MAX: room is made before a file is fetched, at the cost of what was used longest ago."""

import hashlib
import os
from pathlib import Path

import pytest

from sandboxes.index import eviction
from sandboxes.index.eviction import Eviction
from sandboxes.index.store import Store

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
    assert await store.room.make(LIMIT) == ""
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
    assert await store.room.make(8 * 64 * KB) == ""
    names = [await put(Store(tmp_path), chr(ord("a") + n), 1000.0 + n) for n in range(10)]
    assert await store.room.make(2 * 64 * KB) == ""
    assert await stored(store, names) == [*[False] * 3, *[True] * 7]


async def test_what_is_larger_than_all_of_it_has_no_room_and_costs_nothing(store: Store) -> None:
    name = await put(store, "a", 1000.0)
    assert "INDEX_STORAGE_MAX" in await store.room.make(LIMIT + 1)
    assert await store.has(name)


async def test_a_file_that_goes_while_it_is_counted_is_left_out(store: Store, tmp_path: Path) -> None:
    name = await put(store, "a", 1000.0)
    (tmp_path / "files" / name[:2] / name[2:4] / "dangling").symlink_to(tmp_path / "nowhere")
    assert await Eviction(tmp_path, LIMIT).make_room(LIMIT - 64 * KB)
    assert await store.has(name)
