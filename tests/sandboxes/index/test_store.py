"""The store: nothing half-written counts, nothing left behind stays, what a killed writer left goes on."""

import hashlib
import multiprocessing
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from sandboxes.index.errors import UnavailableError, UpstreamError
from sandboxes.index.lru import Lru
from sandboxes.index.ranges import Span
from sandboxes.index.storage.disk import FullError, GoneError
from sandboxes.index.storage.draft import Draft, is_abandoned
from sandboxes.index.store import Store

DATA = b"x" * 100_000
SHA256 = hashlib.sha256(DATA).hexdigest()
OLD = 1_000_000_000.0


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path)
    made.open()
    return made


@contextmanager
def writing(store: Store) -> Iterator[Draft]:
    draft = store.drafts.take(SHA256)
    assert draft is not None
    try:
        yield draft
    finally:
        draft.close()


def names(folder: Path) -> list[str]:
    return [path.name for path in (folder / "incoming").iterdir()]


async def test_a_kept_draft_is_in_its_place(store: Store, tmp_path: Path) -> None:
    with writing(store) as draft:
        assert draft.write(0, DATA) == len(DATA)
        assert not await store.has(SHA256)
        await store.place.keep(draft, SHA256)
    assert await store.size(SHA256) == len(DATA)
    assert await store.read(SHA256) == DATA
    assert (tmp_path / "files" / SHA256[:2] / SHA256[2:4] / SHA256).read_bytes() == DATA
    assert names(tmp_path) == []


async def test_a_file_has_its_name_only_when_it_is_on_the_disk_for_good(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bytes, then its name, then the folder that has the name; new folders the same way, from above."""
    done: list[tuple[str, str]] = []
    sync, rename = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        done.append(("sync", str(path.relative_to(tmp_path))))
        sync(descriptor)

    def renamed(old: Path, new: Path) -> None:
        done.append(("rename", str(new.relative_to(tmp_path))))
        rename(old, new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    with writing(store) as draft:
        draft.write(0, DATA)
        await store.place.keep(draft, SHA256)
    folder = f"files/{SHA256[:2]}/{SHA256[2:4]}"
    assert done == [
        ("sync", f"incoming/{SHA256}.part"),
        ("sync", "files"),
        ("sync", f"files/{SHA256[:2]}"),
        ("rename", f"{folder}/{SHA256}"),
        ("sync", folder),
    ]


def test_a_draft_has_one_writer_and_anybody_may_look(store: Store) -> None:
    with writing(store) as draft:
        draft.write(0, DATA)
        assert store.drafts.take(SHA256) is None
        seen = store.drafts.look(SHA256)
        assert seen is not None
        assert os.pread(seen, 10, 0) == DATA[:10]
        assert not is_abandoned(seen)
    assert is_abandoned(seen)
    os.close(seen)


def test_what_was_left_is_gone_on_with_and_must_be_the_same(store: Store) -> None:
    with writing(store) as first:
        first.write(0, DATA[:60_000])
    with writing(store) as second:
        assert second.inherited == 60_000
        assert (second.write(0, DATA[:50_000]), second.write(50_000, DATA[50_000:])) == (50_000, 50_000)
        assert os.pread(second.descriptor, 200_000, 0) == DATA
    with writing(store) as third, pytest.raises(UpstreamError, match="other bytes"):
        third.write(0, b"y" + DATA[1:])


def test_a_draft_takes_its_space_beforehand_and_keeps_its_length(store: Store) -> None:
    with writing(store) as draft:
        draft.reserve(1_000_000)
        status = os.fstat(draft.descriptor)
        assert (status.st_size, status.st_blocks * 512 >= 1_000_000) == (0, True)
        with pytest.raises(FullError):
            draft.reserve(1 << 60)
        assert draft.write(0, DATA) == 0


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file of this process can be longer than that: the system refuses, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (70_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_takes_what_it_can(store: Store) -> None:
    with writing(store) as draft:
        assert (draft.write(0, DATA), draft.write(70_000, b"more")) == (70_000, 0)


def _write_and_wait(root: Path, written: Event) -> None:
    with writing(Store(root)) as draft:
        draft.write(0, DATA)
        written.set()
        multiprocessing.Event().wait()


def test_sweep_spares_other_processes_and_clears_up_after_killed_ones(store: Store, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    written = context.Event()
    other = context.Process(target=_write_and_wait, args=(tmp_path, written))
    other.start()
    assert written.wait(60)
    store.drafts.sweep()
    assert names(tmp_path) == [f"{SHA256}.part"]
    other.kill()
    other.join()
    store.drafts.sweep()
    assert names(tmp_path) == []


async def test_use_is_noted_once_an_hour(store: Store, tmp_path: Path) -> None:
    with writing(store) as draft:
        draft.write(0, DATA)
        await store.place.keep(draft, SHA256)
    place = tmp_path / "files" / SHA256[:2] / SHA256[2:4] / SHA256
    for used, noted in ((OLD, True), (time.time() - 60, False)):
        os.utime(place, (used, used))
        file = store.place.file(SHA256)
        assert file is not None
        file.close()
        assert (place.stat().st_mtime != pytest.approx(used)) is noted


def test_processes_on_one_folder_know_that_they_share_it(store: Store, tmp_path: Path) -> None:
    beside, elsewhere = Store(tmp_path), Store(tmp_path / "other")
    beside.open()
    elsewhere.open()
    assert beside.place.identity() == store.place.identity() != elsewhere.place.identity()


def test_a_store_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot store files"):
        Store(tmp_path / "nowhere").drafts.take(SHA256)


def test_lru_forgets_the_least_used_by_weight() -> None:
    lru: Lru[str, int] = Lru(10)
    lru.put("a", 1, 4)
    lru.put("b", 2, 4)
    assert lru.get("a") == 1
    lru.put("c", 3, 4)
    assert (lru.get("a"), lru.get("b"), lru.get("c")) == (1, None, 3)
    lru.put("huge", 4, 11)
    assert lru.get("huge") is None
    lru.put("a", 5, 10)
    assert (lru.get("a"), lru.get("c")) == (5, None)


async def test_a_folders_files_can_be_streamed_and_say_when_they_are_gone(
    store: Store, tmp_path: Path
) -> None:
    draft = store.drafts.take(SHA256)
    assert draft is not None
    data = bytes(range(256)) * 3000
    draft.write(0, data)
    await store.place.keep(draft, SHA256)
    draft.close()
    stream = store.place.stream(SHA256, Span(10, len(data) - 10))
    pieces = [await anext(stream)]
    (tmp_path / "files" / SHA256[:2] / SHA256[2:4] / SHA256).unlink()
    pieces += [piece async for piece in stream]
    assert b"".join(pieces) == data[10:-10]
    assert len(pieces) > 1
    with pytest.raises(GoneError):
        store.place.file(SHA256)
    with pytest.raises(GoneError):
        await store.read(SHA256)
    with pytest.raises(GoneError):
        await anext(store.place.stream(SHA256, Span(0, 1)))
