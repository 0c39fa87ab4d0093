"""Tarballs over HTTP: given as they are, or not at all."""

import asyncio

import pytest

from tests.sandboxes.index.conftest import Index
from tests.sandboxes.index.npm.conftest import expire
from tests.sandboxes.index.npm.registry_server import RegistryServer, Tarball


async def test_a_tarball_is_recorded_with_what_it_is(
    index: Index, registry: RegistryServer, demo: Tarball
) -> None:
    replies = await asyncio.gather(*(index.ask(demo.path) for _ in range(10)))
    assert {reply.body for reply in replies} == {demo.data}
    assert registry.asked["demo_1.0.0.tar.gz"] == 1
    assert index.stored == [demo.digest]
    [row] = await index.rows("SELECT * FROM usage_install")
    assert (row["ecosystem"], row["project"], row["version"]) == ("npm", "demo", "1.0.0")
    assert (row["filename"], row["sha256"], row["size"]) == ("demo-1.0.0.tgz", demo.sha256, len(demo.data))
    kinds = await index.rows("SELECT DISTINCT ecosystem, kind, project FROM usage_fetch")
    assert kinds == [{"ecosystem": "npm", "kind": "file", "project": "demo"}]


async def test_a_part_and_a_head_of_a_tarball(index: Index, demo: Tarball) -> None:
    head = await index.ask(demo.path, "HEAD")
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(demo.data)))
    assert await index.rows("SELECT 1 FROM usage_install") == []
    part = await index.ask(demo.path, Range="bytes=-5")
    assert (part.status, part.body) == (206, demo.data[-5:])


async def test_stored_tarballs_are_given_when_the_upstream_is_down(
    index: Index, registry: RegistryServer, demo: Tarball
) -> None:
    await index.ask(demo.path)
    await registry.stop()
    await expire(index)
    assert (await index.ask(demo.path)).body == demo.data


async def test_an_unpublished_version_is_given_no_more(
    index: Index, registry: RegistryServer, demo: Tarball
) -> None:
    await index.ask(demo.path)
    registry.packages["demo"].clear()
    await expire(index)
    assert (await index.ask(demo.path)).status == 404


@pytest.mark.parametrize("data", [b"something else", b""])
async def test_bytes_of_another_integrity_are_neither_given_nor_kept(
    index: Index, registry: RegistryServer, demo: Tarball, data: bytes
) -> None:
    registry.data["demo_1.0.0.tar.gz"] = data
    reply = await index.ask(demo.path)
    assert (reply.status, "another sha512" in reply.reason) == (424, True)
    assert index.stored == []
    assert await index.rows("SELECT 1 FROM index_tarball") == []
