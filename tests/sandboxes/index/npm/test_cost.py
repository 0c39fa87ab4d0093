"""A packument of thousands of versions: read, decided and rendered once, however many ask."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from sandboxes.index.config import Config
from sandboxes.index.npm import judge, render, upstream
from sandboxes.index.npm.packument import Packument
from sandboxes.index.npm.reading import parse
from sandboxes.index.npm.view import make_view
from tests.sandboxes.index.conftest import Index, serving
from tests.sandboxes.index.npm.conftest import SHORT, answers, expire
from tests.sandboxes.index.npm.registry_server import OLD, RegistryServer, make_tarball
from tests.sandboxes.index.patience import until

VERSIONS = 10_000
FULL = "application/json"


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each piece of work was done; it is done all the same."""
    counted: Counter[str] = Counter()

    def counting(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def counts(*arguments: Any) -> Any:
            counted[name] += 1
            return work(*arguments)

        return counts

    monkeypatch.setattr(upstream, "parse", counting("parsed", parse))
    monkeypatch.setattr(judge, "make_view", counting("decided", make_view))
    monkeypatch.setattr(render, "render", counting("rendered", render.render))
    monkeypatch.setattr(Packument, "load", counting("loaded", Packument.load))
    return counted


@pytest.fixture
def huge(registry: RegistryServer) -> None:
    """`huge` with 10,000 versions of one tarball, several MB."""
    publish(registry, VERSIONS)


def publish(registry: RegistryServer, count: int) -> None:
    tarball = make_tarball("huge")
    versions = {
        f"1.{number}.0": {
            "name": "huge",
            "version": f"1.{number}.0",
            "dependencies": {"leaf": "^1.0.0"},
            "description": "x" * 200,
            "dist": {"tarball": f"../files/huge-{number}.tgz", "integrity": tarball.integrity},
        }
        for number in range(count)
    }
    document = {
        "name": "huge",
        "dist-tags": {"latest": f"1.{count - 1}.0"},
        "versions": versions,
        "time": dict.fromkeys(versions, OLD),
    }
    registry.bodies["huge"] = json.dumps(document).encode()


async def ask_often(index: Index, *paths: str) -> None:
    asked = [(path, accept) for path in paths or ("/npm/huge",) for accept in (SHORT, FULL)]
    replies = await asyncio.gather(
        *(index.ask(path, Accept=accept, Accept_Encoding="gzip") for path, accept in asked * 5)
    )
    assert {reply.status for reply in replies} == {200}


async def test_each_piece_of_work_is_done_once(
    index: Index, registry: RegistryServer, huge: None, done: Counter[str]
) -> None:
    await ask_often(index)
    assert done == {"parsed": 1, "decided": 1, "rendered": 2}
    await ask_often(index, "/npm/huge", "/npm/huge/latest", "/npm/huge/1.7.0")
    await expire(index)
    await ask_often(index)  # the upstream says that nothing changed
    assert done == {"parsed": 1, "decided": 1, "rendered": 2}


async def test_again_when_policy_or_the_packument_changes(
    index: Index, registry: RegistryServer, huge: None, done: Counter[str]
) -> None:
    await ask_often(index)
    await index.rows(
        "INSERT INTO index_listentry (profile, ecosystem, kind, pattern, reason, source)"
        " VALUES ('', 'npm', 'deny', 'huge@1.7.0', '', '')"
    )
    await until(lambda: answers(index, "/npm/huge/1.7.0", 403))
    assert done["decided"] == 2
    await ask_often(index)
    assert done == {"parsed": 1, "decided": 2, "rendered": 4}
    publish(registry, VERSIONS + 1)
    await expire(index)
    await ask_often(index)
    assert done == {"parsed": 2, "decided": 3, "rendered": 6}


async def test_a_process_that_starts_reads_what_is_kept_once(
    index: Index, config: Config, registry: RegistryServer, huge: None, done: Counter[str]
) -> None:
    await ask_often(index)
    done.clear()
    async with serving(config) as other:
        await ask_often(other)
        await ask_often(other)
    assert done == {"loaded": 1, "decided": 1, "rendered": 2}
    assert registry.asked["huge"] == 1
