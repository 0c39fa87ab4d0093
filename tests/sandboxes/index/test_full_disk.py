"""Downloads for which the disk has no room: they pass by unstored, with one fetch for all."""

import asyncio
import hashlib
import os
from functools import partial

import aiohttp
import pytest

from sandboxes.index import files, leading
from sandboxes.index.flight import Blob
from sandboxes.index.storage import room, window
from tests.sandboxes.index.conftest import Index, path_of
from tests.sandboxes.index.patience import until
from tests.sandboxes.index.upstream_server import Fault, UpstreamServer
from tests.sandboxes.index.wheels import Package, make_wheel


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the disk had less than what must stay free."""
    monkeypatch.setattr(room, "FLOOR", 1 << 62)


async def troubles(index: Index) -> list[str]:
    return [row["kind"] for row in await index.rows("SELECT kind FROM index_trouble WHERE untold")]


@pytest.mark.usefixtures("full_disk")
async def test_a_full_disk_passes_files_on_with_one_fetch_for_all(
    index: Index, upstream: UpstreamServer, demo: Package
) -> None:
    """A small one, and one that is several times the window; somebody is told."""
    huge = make_wheel("huge", padding=bytes(range(256)) * 20_000)
    upstream.add("huge", huge)
    for package, project in ((demo, "demo"), (huge, "huge")):
        await index.ask(f"/simple/{project}/")
        replies = await asyncio.gather(*(index.ask(path_of(package, project)) for _ in range(20)))
        assert {hashlib.sha256(reply.body).hexdigest() for reply in replies} == {package.sha256}
        assert upstream.asked[f"/packages/{package.filename}"] == 1
    assert (index.stored, index.drafts) == ([], [])
    assert await troubles(index) == ["index_full"]


@pytest.mark.usefixtures("full_disk")
async def test_what_passes_by_is_not_in_memory_as_a_whole(
    index: Index, upstream: UpstreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fastest waits for the slowest; who comes when the beginning is gone has a fetch of its own."""
    huge = make_wheel("huge", padding=bytes(range(256)) * 100_000)
    upstream.add("huge", huge)
    url, auth = index.url + path_of(huge, "huge"), {"Authorization": index.auth}
    widest = 0
    add = window.Window.add

    def watched(self: window.Window, chunk: bytes) -> None:
        nonlocal widest
        add(self, chunk)
        widest = max(widest, self.end - self.start)

    monkeypatch.setattr(window.Window, "add", watched)
    async with index.session.get(url, headers=auth) as slow:
        assert await slow.content.readexactly(12_000_000) == huge.data[:12_000_000]
        late = await index.ask(path_of(huge, "huge"))
        assert await slow.content.read() == huge.data[12_000_000:]
    assert late.body == huge.data
    assert upstream.asked[f"/packages/{huge.filename}"] == 2
    assert widest < 2 * window.ROOM


@pytest.mark.usefixtures("full_disk")
async def test_a_bad_file_that_passes_by_is_cut(index: Index, upstream: UpstreamServer, big: Package) -> None:
    upstream.faults[big.filename] = Fault(data=big.data[:-1] + b"!")
    with pytest.raises(aiohttp.ClientError):
        await index.ask(path_of(big, "big"))


@pytest.mark.usefixtures("full_disk")
async def test_parts_of_what_passes_by_are_the_whole(index: Index, big: Package) -> None:
    """A server may ignore Range (RFC 9110, 14.2); HEAD and 304 fetch nothing."""
    reply = await index.ask(path_of(big, "big"), Range="bytes=0-9")
    assert (reply.status, reply.body) == (200, big.data)
    head = await index.ask(path_of(big, "big"), "HEAD")
    assert int(head.headers["Content-Length"]) == len(big.data)


@pytest.mark.usefixtures("full_disk")
async def test_what_passes_by_without_a_length_is_known_from_a_cut_one(
    index: Index, upstream: UpstreamServer, big: Package
) -> None:
    upstream.extra[big.filename] = {"size": None}
    upstream.faults[big.filename] = Fault(chunked=True)
    reply = await index.ask(path_of(big, "big"))
    assert (reply.body, reply.headers["Transfer-Encoding"]) == (big.data, "chunked")
    upstream.faults[big.filename] = Fault(chunked=True, data=big.data[:-1] + b"!")
    with pytest.raises(aiohttp.ClientError):
        await index.ask(path_of(big, "big"))


async def test_metadata_is_stored_when_files_are_not_any_more(
    index: Index, upstream: UpstreamServer, demo: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Installs need it whole, and it is small: it may use what stays free of files, up to a point."""
    huge = make_wheel("huge", padding=bytes(range(256)) * 20_000)
    upstream.add("huge", huge)
    disk = os.statvfs(index.folder)
    monkeypatch.setattr(room, "FLOOR", disk.f_bavail * disk.f_frsize * 2)
    assert (await index.ask(f"{path_of(demo)}.metadata")).body == demo.metadata
    assert (await index.ask(path_of(huge, "huge"))).body == huge.data
    assert index.stored == [demo.metadata_sha256]
    monkeypatch.setattr(room, "FLOOR", 1 << 62)
    other = make_wheel("other")
    upstream.add("other", other)
    assert (await index.ask(f"{path_of(other, 'other')}.metadata")).status == 503


async def test_a_disk_that_others_fill_meanwhile_ends_what_reserved_nothing(
    index: Index, upstream: UpstreamServer, big: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of it is on the disk then; clients have it whole all the same, or are told to come back."""
    go_on = asyncio.Event()
    monkeypatch.setattr(leading, "LOOK", 0.02)
    upstream.extra[big.filename] = {"size": None}
    upstream.faults[big.filename] = Fault(chunked=True, pause_at=600_000, go_on=go_on)
    asking = [asyncio.create_task(index.ask(path_of(big, "big"))) for _ in range(3)]
    await until(lambda: any(draft.stat().st_size >= 600_000 for draft in index.drafts))
    monkeypatch.setattr(room, "FLOOR", 1 << 62)
    await asyncio.sleep(0.2)
    go_on.set()
    replies = await asyncio.gather(*asking)
    # Who comes to read when all of it has passed finds nothing kept, and is told so before any byte.
    late = [reply for reply in replies if reply.status == 503]
    assert {reply.headers["Retry-After"] for reply in late} <= {"2"}
    assert len(late) < 3
    assert {reply.body for reply in replies if reply not in late} == {big.data}
    assert (index.stored, index.drafts) == ([], [])
    assert upstream.asked[f"/packages/{big.filename}"] == 1


async def test_a_size_that_only_a_page_claims_takes_no_room(
    index: Index, upstream: UpstreamServer, demo: Package
) -> None:
    """Nor is anybody told that the disk is full."""
    upstream.extra[demo.filename] = {"size": 1 << 62}
    reply = await index.ask(path_of(demo))
    assert (reply.status, "bytes upstream, not" in reply.reason) == (424, True)
    assert await troubles(index) == []


async def test_a_file_larger_than_the_disk_is_not_written(
    index: Index, upstream: UpstreamServer, big: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is known from its length, before a byte of it is there."""
    monkeypatch.setattr(files, "Blob", partial(Blob, largest=1 << 62))
    upstream.extra[big.filename] = {"size": 1 << 61}
    upstream.faults[big.filename] = Fault(headers={"Content-Length": str(1 << 61)})
    with pytest.raises(aiohttp.ClientError):  # cut where the upstream ends
        await index.ask(path_of(big, "big"))
    await until(lambda: not index.drafts)
    assert index.stored == []
    assert await troubles(index) == ["index_full"]
