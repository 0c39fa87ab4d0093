"""Metadata of wheels whose upstream has none: read from the wheel, stored, and only then advertised."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.sandboxes.index.conftest import Index, path_of
from tests.sandboxes.index.test_wheel_metadata import GOOD, NAME, zipped
from tests.sandboxes.index.upstream_server import UpstreamServer
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
