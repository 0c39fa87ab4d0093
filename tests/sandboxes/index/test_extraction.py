"""Metadata of wheels whose upstream has none: read from the wheel, stored, and only then advertised."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from sandboxes.index import wheel_origin
from sandboxes.index.config import source
from tests.sandboxes.index.conftest import Index, another_process, path_of
from tests.sandboxes.index.test_wheel_metadata import GOOD, NAME, zipped
from tests.sandboxes.index.upstream_server import Fault, UpstreamServer
from tests.sandboxes.index.wheels import Package, make_wheel

JSON = "application/vnd.pypi.simple.v1+json"
PATIENCE = 20.0  # seconds


@pytest.fixture
def bare(upstream: UpstreamServer) -> Package:
    """A project whose upstream has no metadata file."""
    package = make_wheel("bare", padding=bytes(range(256)) * 1024)
    upstream.add("bare", replace(package, metadata=None))
    return package


async def on_page(index: Index) -> dict[str, Any]:
    page = json.loads((await index.ask("/simple/bare/", Accept=JSON, Accept_Encoding="identity")).body)
    entry: dict[str, Any] = page["files"][0]
    return entry


async def until(found: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            if await found():
                return
            await asyncio.sleep(0.02)


async def test_it_is_read_by_ranges_and_then_advertised(
    index: Index, upstream: UpstreamServer, bare: Package
) -> None:
    assert "core-metadata" not in await on_page(index)

    async def advertised() -> bool:
        return "core-metadata" in await on_page(index)

    await until(advertised)
    entry = await on_page(index)
    assert entry["core-metadata"] == {"sha256": bare.metadata_sha256}
    assert index.stored == [bare.metadata_sha256]  # not the wheel
    reply = await index.ask(f"{path_of(bare, 'bare')}.metadata")
    assert (reply.status, reply.body) == (200, bare.metadata)
    assert upstream.asked[f"/packages/{bare.filename}.metadata"] == 0


async def test_it_stays_when_the_page_is_received_anew_and_is_read_again_when_evicted(
    index: Index, upstream: UpstreamServer, bare: Package
) -> None:
    async def advertised() -> bool:
        return "core-metadata" in await on_page(index)

    await on_page(index)
    await until(advertised)
    upstream.add("bare", replace(make_wheel("bare", "0.5"), metadata=None))
    await index.expire_pages()
    assert (await on_page(index))["core-metadata"] == {"sha256": bare.metadata_sha256}
    [stored] = list((index.folder / "files").rglob(bare.metadata_sha256))
    stored.unlink()
    assert (await index.ask(f"{path_of(bare, 'bare')}.metadata")).body == bare.metadata


async def test_without_ranges_it_is_read_once_the_wheel_is_stored(
    index: Index, upstream: UpstreamServer, bare: Package
) -> None:
    upstream.ranges = False
    await on_page(index)

    async def advertised() -> bool:
        assert (await index.ask(path_of(bare, "bare"))).body == bare.data
        return "core-metadata" in await on_page(index)

    await until(advertised)
    assert (await index.ask(f"{path_of(bare, 'bare')}.metadata")).body == bare.metadata


async def test_a_wheel_that_lies_has_no_metadata(index: Index, upstream: UpstreamServer) -> None:
    liar = Package("bare-1.0-py3-none-any.whl", zipped((NAME, GOOD)))  # METADATA of demo
    upstream.add("bare", liar)
    await on_page(index)

    async def looked() -> bool:
        return upstream.asked[f"/packages/{liar.filename}"] > 0

    await until(looked)
    assert (await index.ask(path_of(liar, "bare"))).body == liar.data
    assert (await index.ask(path_of(liar, "bare"))).status == 200
    assert "core-metadata" not in await on_page(index)
    assert (await index.ask(f"{path_of(liar, 'bare')}.metadata")).status == 404


PROMISED = [
    pytest.param(Fault(status=404), id="gone"),
    pytest.param(Fault(status=500), id="broken"),
    pytest.param(Fault(status=503), id="busy"),
    pytest.param(Fault(status=403), id="forbidden"),
    pytest.param(Fault(cut_at=10), id="cut"),
    pytest.param(Fault(data=b"Name: evil\n"), id="another"),
    pytest.param(Fault(data=b"x" * (3 << 20), chunked=True), id="endless"),
    pytest.param(Fault(redirect="http://127.0.0.1:9/x"), id="elsewhere"),
]


@pytest.mark.parametrize("fault", PROMISED)
async def test_what_the_upstream_promises_and_does_not_have_is_read_from_the_wheel(
    index: Index, upstream: UpstreamServer, demo: Package, fault: Fault
) -> None:
    upstream.faults[f"{demo.filename}.metadata"] = fault
    reply = await index.ask(f"{path_of(demo)}.metadata")
    assert (reply.status, reply.body) == (200, demo.metadata)
    assert index.stored == [demo.metadata_sha256]  # not the wheel
    assert upstream.asked[f"/packages/{demo.filename}.metadata"] > 0


async def test_so_it_is_without_ranges_by_the_whole_wheel(
    index: Index, upstream: UpstreamServer, demo: Package
) -> None:
    upstream.ranges = False
    upstream.faults[f"{demo.filename}.metadata"] = Fault(status=404)
    reply = await index.ask(f"{path_of(demo)}.metadata")
    assert (reply.status, reply.body) == (200, demo.metadata)
    assert index.stored == sorted([demo.sha256, demo.metadata_sha256])
    assert await index.rows("SELECT 1 FROM usage_install") == []


async def test_what_neither_has_is_said_of_the_metadata(
    index: Index, upstream: UpstreamServer, demo: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large wheel is not fetched for it; once it is stored it is read."""
    monkeypatch.setattr(wheel_origin, "_MOST", 10)
    upstream.ranges = False
    upstream.faults[f"{demo.filename}.metadata"] = Fault(status=404)
    path = f"{path_of(demo)}.metadata"
    reply = await index.ask(path)
    assert (reply.status, reply.reason) == (
        404,
        f"The upstream index no longer has {demo.filename}.metadata.",
    )
    assert index.stored == []
    assert (await index.ask(path_of(demo))).body == demo.data

    async def stored() -> bool:
        return demo.sha256 in index.stored

    await until(stored)
    assert (await index.ask(path)).body == demo.metadata


OTHER = b"Metadata-Version: 2.1\nName: bare\nVersion: 1.0\nSummary: not what the wheel says\n"
FALSE = [
    pytest.param(Fault(status=404), "no longer has", id="gone"),
    pytest.param(Fault(data=OTHER), "another sha256", id="another"),
]


@pytest.mark.parametrize(("fault", "reason"), FALSE)
async def test_a_promise_that_the_wheel_does_not_keep_either_is_taken_off_the_page(
    index: Index, upstream: UpstreamServer, bare: Package, fault: Fault, reason: str
) -> None:
    """Who saw it is told to look again, in an answer that no client asks for twice; and so it stays."""
    path = f"{path_of(bare, 'bare')}.metadata"
    upstream.extra[bare.filename] = {"core-metadata": {"sha256": "0" * 64}}
    upstream.faults[f"{bare.filename}.metadata"] = fault
    assert (await on_page(index))["core-metadata"] == {"sha256": "0" * 64}
    reply = await index.ask(path)
    assert (reply.status, reason in reply.reason) == (424, True)
    assert reply.reason.endswith("Its page is mended; try again.")
    assert index.stored == [bare.metadata_sha256]
    upstream.add("bare", replace(make_wheel("bare", "0.5"), metadata=None))
    for _ in range(2):
        assert (await on_page(index))["core-metadata"] == {"sha256": bare.metadata_sha256}
        assert (await index.ask(path)).body == bare.metadata
        await index.expire_pages()
    assert len(upstream.projects["bare"]) == 2
    assert upstream.asked["/simple/bare/"] >= 2


async def test_what_one_process_mended_the_other_one_knows(
    index: Index, upstream: UpstreamServer, bare: Package
) -> None:
    """Also when it was asked before: what it found then holds no more."""
    path = f"{path_of(bare, 'bare')}.metadata"
    upstream.extra[bare.filename] = {"core-metadata": {"sha256": "0" * 64}}
    upstream.faults[f"{bare.filename}.metadata"] = Fault(status=404)
    upstream.faults[bare.filename] = Fault(status=404)  # so the wheel cannot be looked at
    async with another_process(index, source("INDEX_UPSTREAM", upstream.url)) as other:
        for asked in (index, other):
            assert (await asked.ask(path)).status == 404
        del upstream.faults[bare.filename]
        assert (await other.ask(path)).status == 424
        assert (await index.ask(path)).body == bare.metadata


async def test_a_promise_of_a_wheel_that_lies_stays_unkept(index: Index, upstream: UpstreamServer) -> None:
    liar = Package("bare-1.0-py3-none-any.whl", zipped((NAME, GOOD)), OTHER)  # METADATA of demo
    upstream.add("bare", liar)
    upstream.faults[f"{liar.filename}.metadata"] = Fault(data=b"Name: evil\n")
    reply = await index.ask(f"{path_of(liar, 'bare')}.metadata")
    assert (reply.status, reply.reason) == (
        424,
        f"The upstream's {liar.filename}.metadata has another sha256 than its page says.",
    )
    assert index.stored == []
