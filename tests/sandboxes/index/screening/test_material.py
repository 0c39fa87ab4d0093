"""Bytes at hand: of a folder, and of a bucket, a real server of one on loopback."""

from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

from sandboxes.index.screening.material import Material, Scratch
from sandboxes.index.storage.bucket import Bucket
from sandboxes.index.storage.disk import GoneError
from sandboxes.index.storage.folder import Folder
from tests.sandboxes.index.test_storage_bucket import STORAGE, bucket, server

__all__ = ["bucket", "server"]  # fixtures

NAME = "a" * 64
DATA = bytes(range(256)) * 3000


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Scratch]:
    made = Scratch(tmp_path / "scratch")
    made.open()
    yield made
    made.close()
    assert not made.folder.exists()


async def test_of_a_folder(tmp_path: Path, scratch: Scratch) -> None:
    place = Folder(tmp_path)
    place.open()
    stored = place.place(NAME)
    stored.parent.mkdir(parents=True)
    stored.write_bytes(DATA)
    material = Material(place, scratch)
    assert await material.has(NAME)
    async with material.at_hand(NAME) as path:
        stored.unlink()  # evicted
        assert path.read_bytes() == DATA
    assert list(scratch.folder.iterdir()) == []
    assert not await material.has(NAME)
    with pytest.raises(GoneError):
        async with material.at_hand(NAME):
            pass


@pytest.mark.usefixtures("bucket")
async def test_of_a_bucket(scratch: Scratch) -> None:
    place = Bucket(STORAGE, redirect=False)
    material = Material(place, scratch)
    assert not await material.has(NAME)
    with pytest.raises(GoneError):
        async with material.at_hand(NAME):
            pass
    store = S3Store("dishes", prefix="wheels", client_options={"allow_http": True})
    await obstore.put_async(store, f"aa/aa/{NAME}", DATA)
    async with material.at_hand(NAME) as path:
        assert path.read_bytes() == DATA
    assert list(scratch.folder.iterdir()) == []
    await obstore.delete_async(store, f"aa/aa/{NAME}")
    with pytest.raises(GoneError):  # its size is remembered still
        async with material.at_hand(NAME):
            pass
    assert list(scratch.folder.iterdir()) == []
