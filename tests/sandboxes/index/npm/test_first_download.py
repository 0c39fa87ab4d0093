"""A large tarball that nobody had before: sent while it arrives, its end when it was decided and recorded."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import BinaryIO

import aiohttp
import pytest

from sandboxes.index.config import Config
from sandboxes.index.npm import first
from sandboxes.index.storage import room
from sandboxes.lifecycle.phases import Phase
from tests.sandboxes.index.conftest import Index, SetPhase, serving
from tests.sandboxes.index.npm.conftest import answers
from tests.sandboxes.index.npm.registry_server import RegistryServer, Tarball, make_tarball
from tests.sandboxes.index.patience import read_until_cut, until

FILE = "big_1.0.0.tar.gz"
DENIED = """
INSERT INTO index_listentry (profile, ecosystem, kind, pattern, reason, source)
VALUES ('', 'npm', 'deny', 'big', '', '')"""
BLOCKED = (
    "INSERT INTO screening_verdict (sha256, state, reason, at) VALUES (%(sha256)s, 'blocked', '', now())"
)


async def installs(index: Index) -> list[str]:
    return [row["sha256"] for row in await index.rows("SELECT sha256 FROM usage_install")]


async def fetches(index: Index) -> list[tuple[str, str]]:
    rows = await index.rows("SELECT kind, refused FROM usage_fetch WHERE filename <> '' ORDER BY id")
    return [(row["kind"], row["refused"]) for row in rows]


@asynccontextmanager
async def half_way(
    index: Index, registry: RegistryServer, big: Tarball
) -> AsyncIterator[tuple[aiohttp.ClientResponse, asyncio.Event]]:
    """An answer that has begun, and what its other half waits for."""
    registry.pauses[FILE] = go_on = asyncio.Event()
    headers = {"Authorization": index.auth}
    async with index.session.get(f"{index.url}{big.path}", headers=headers) as answer:
        await answer.content.readexactly(200_000)
        yield answer, go_on


async def test_it_begins_before_it_is_here(index: Index, registry: RegistryServer, big: Tarball) -> None:
    async with half_way(index, registry, big) as (answer, go_on):
        assert await installs(index) == []
        go_on.set()
        rest = await answer.content.read()
        assert rest == big.data[200_000:]
        assert (answer.status, answer.headers["ETag"]) == (200, f'"{big.digest}"')
        assert await installs(index) == [big.sha256]
        assert await fetches(index) == [("file", "")]
        assert await index.rows("SELECT sha256, size FROM index_tarball") == [
            {"sha256": big.sha256, "size": len(big.data)}
        ]


async def test_all_that_want_it_follow_one_fetch(
    index: Index, registry: RegistryServer, big: Tarball, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it is hashed once for all of them."""
    hashed: list[int] = []
    sha256_of = first.sha256_of

    def counting(file: BinaryIO, size: int) -> "hashlib._Hash":
        hashed.append(1)
        return sha256_of(file, size)

    monkeypatch.setattr(first, "sha256_of", counting)
    async with half_way(index, registry, big) as (answer, go_on):
        others = [asyncio.create_task(index.ask(big.path)) for _ in range(8)]
        await until(lambda: many_asked(index, 9))
        go_on.set()
        assert {(await other).body for other in others} == {big.data}
        assert await answer.content.read() == big.data[200_000:]
        assert registry.asked[FILE] == 1
        assert hashed == [1]
        assert await installs(index) == [big.sha256]


async def many_asked(index: Index, number: int) -> bool:
    return len(await fetches(index)) >= number


async def test_a_bad_one_is_cut(index: Index, registry: RegistryServer, big: Tarball) -> None:
    registry.data[FILE] = big.data[:-1] + b"!"
    async with half_way(index, registry, big) as (answer, go_on):
        go_on.set()
        assert 200_000 + await read_until_cut(answer) < len(big.data)
        assert (index.stored, await installs(index)) == ([], [])
        assert await index.rows("SELECT 1 FROM index_tarball") == []


@pytest.mark.usefixtures("clear_screening")
async def test_one_whose_bytes_are_blocked_is_cut_and_then_explained(
    index: Index, registry: RegistryServer, demo: Tarball, big: Tarball
) -> None:
    await index.ask(demo.path)
    for sha256 in (demo.sha256, big.sha256):
        await index.rows(BLOCKED, sha256=sha256)
    await until(lambda: answers(index, demo.path, 403))
    await index.rows("DELETE FROM usage_fetch")
    async with half_way(index, registry, big) as (answer, go_on):
        go_on.set()
        assert 200_000 + await read_until_cut(answer) < len(big.data)
        assert big.sha256 not in await installs(index)
        assert ("file", "blocked") in await fetches(index)
        assert (await index.ask(big.path)).reason.startswith("[blocked] ")


async def test_policy_that_changes_meanwhile_holds(
    index: Index, registry: RegistryServer, demo: Tarball, big: Tarball
) -> None:
    async with half_way(index, registry, big) as (answer, go_on):
        await index.rows(DENIED)
        await until(lambda: answers(index, "/npm/big/1.0.0", 403))
        go_on.set()
        await read_until_cut(answer)
        assert await installs(index) == []


async def test_a_sandbox_that_ends_meanwhile_has_no_whole_one(
    index: Index, registry: RegistryServer, big: Tarball, set_phase: SetPhase
) -> None:
    """What is not recorded is not served."""
    async with half_way(index, registry, big) as (answer, go_on):
        await set_phase(Phase.ENDING)
        go_on.set()
        await read_until_cut(answer)
        assert await installs(index) == []


@pytest.mark.parametrize("lengths", [True, False])
async def test_a_full_disk_passes_it_on(
    index: Index, registry: RegistryServer, demo: Tarball, monkeypatch: pytest.MonkeyPatch, lengths: bool
) -> None:
    """Several times what memory holds of it; and small ones."""
    monkeypatch.setattr(room, "FLOOR", 1 << 62)
    registry.lengths = lengths
    huge = make_tarball("big", padding=bytes(range(256)) * 100, blob="x" * 1_000)
    huge = Tarball("big", "1.0.0", huge.data + bytes(9_000_000), huge.manifest)
    registry.add(huge)
    for tarball in (demo, huge):
        replies = await asyncio.gather(*(index.ask(tarball.path) for _ in range(5)))
        assert {reply.body for reply in replies} == {tarball.data}
        assert tarball.sha256 in await installs(index)
    assert index.stored == []
    assert (await index.ask(huge.path)).body == huge.data


async def test_it_is_no_larger_than_policy_allows(
    index: Index, registry: RegistryServer, demo: Tarball, big: Tarball
) -> None:
    """Whatever its packument says, and though it says no length: it ends when it is too large."""
    registry.manifests["big@1.0.0"] = {"dist": registry.document("big")["versions"]["1.0.0"]["dist"]}
    registry.manifests["big@1.0.0"]["dist"]["unpackedSize"] = 10
    registry.lengths = False
    await index.rows("UPDATE index_policysetting SET most_bytes = 500000")
    await until(lambda: limited(index, registry))
    reply = await index.ask(big.path)
    assert (reply.status, "is larger than" in reply.reason) == (424, True)
    assert big.digest not in index.stored
    assert big.sha256 not in await installs(index)


async def limited(index: Index, registry: RegistryServer) -> bool:
    large = make_tarball("large")
    registry.add(large)
    registry.manifests["large@1.0.0"] = {
        "dist": registry.document("large")["versions"]["1.0.0"]["dist"] | {"unpackedSize": 600_000}
    }
    return await answers(index, large.path, 403)


async def test_another_process_is_followed(
    index: Index, config: Config, registry: RegistryServer, big: Tarball
) -> None:
    """Or waited for: how long the file is, is known to the one that fetches it alone."""
    async with half_way(index, registry, big) as (answer, go_on):
        async with serving(config) as other:
            second = asyncio.create_task(other.ask(big.path))
            await asyncio.sleep(0.2)
            go_on.set()
            assert (await second).body == big.data
        assert await answer.content.read() == big.data[200_000:]
        assert registry.asked[FILE] == 1


async def test_a_tarball_that_was_evicted_is_sent_as_it_comes(
    index: Index, registry: RegistryServer, big: Tarball
) -> None:
    """What it is was found out before, so it is recorded at once."""
    await index.ask(big.path)
    for path in (index.folder / "files").rglob(big.digest):
        path.unlink()
    await index.rows("DELETE FROM usage_install")
    async with half_way(index, registry, big) as (answer, go_on):
        assert await installs(index) == [big.sha256]
        go_on.set()
        assert await answer.content.read() == big.data[200_000:]
