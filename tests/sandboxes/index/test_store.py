"""The store: nothing half-written counts, nothing left behind stays."""

import hashlib
import multiprocessing
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from sandboxes.index.errors import UnavailableError
from sandboxes.index.lru import Lru
from sandboxes.index.store import Store

DATA = b"x" * 100_000
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path)
    made.open()
    return made


async def test_a_kept_draft_is_in_its_place(store: Store, tmp_path: Path) -> None:
    with store.draft() as draft:
        draft.write(DATA)
        assert not store.has(SHA256)
        await draft.keep(SHA256)
    assert store.size(SHA256) == len(DATA)
    assert (tmp_path / "files" / SHA256[:2] / SHA256[2:4] / SHA256).read_bytes() == DATA
    assert list((tmp_path / "incoming").iterdir()) == []


def test_a_draft_that_is_not_kept_is_gone(store: Store, tmp_path: Path) -> None:
    with store.draft() as draft:
        draft.write(DATA)
    assert list((tmp_path / "incoming").iterdir()) == []


async def test_keeping_the_same_bytes_twice_is_fine(store: Store) -> None:
    for _ in range(2):
        with store.draft() as draft:
            draft.write(DATA)
            await draft.keep(SHA256)
    assert store.size(SHA256) == len(DATA)


def _write_and_wait(root: Path, written: Event) -> None:
    with Store(root).draft() as draft:
        draft.write(DATA)
        written.set()
        multiprocessing.Event().wait()


def test_sweep_spares_other_processes_and_clears_up_after_killed_ones(store: Store, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    written = context.Event()
    other = context.Process(target=_write_and_wait, args=(tmp_path, written))
    other.start()
    assert written.wait(20)
    store.sweep()
    assert len(list((tmp_path / "incoming").iterdir())) == 1
    other.kill()
    other.join()
    store.sweep()
    assert list((tmp_path / "incoming").iterdir()) == []


def test_a_store_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot store files"):
        Store(tmp_path / "nowhere").draft()


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
