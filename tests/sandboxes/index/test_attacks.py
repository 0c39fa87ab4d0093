"""Ways around a decision that were tried, one test each."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from yarl import URL

from sandboxes.index.breaker import FAILURES
from sandboxes.index.config import source
from sandboxes.index.outbound import Outbound, Patience
from sandboxes.index.reach import origin_of
from sandboxes.index.render import own_words
from sandboxes.index.scope import Inner
from sandboxes.index.storage.folder import Folder
from tests.sandboxes.index.conftest import Index, path_of
from tests.sandboxes.index.patience import until
from tests.sandboxes.index.test_conformance import attested
from tests.sandboxes.index.upstream_server import Fault, UpstreamServer
from tests.sandboxes.index.wheels import Package, make_wheel

__all__ = ["attested"]  # a fixture

JSON = "application/vnd.pypi.simple.v1+json"
_PAGE, _PIECE = 32 * 1024 * 1024, 1024 * 1024  # bytes; a page is more than all buffers on its way
DENY = """
INSERT INTO index_listentry (profile, ecosystem, kind, pattern, reason, source)
VALUES ('', 'pypi', 'deny', %(name)s, '', '')"""


async def test_a_file_that_is_fetched_once_more_is_decided_once_more(
    index: Index, upstream: UpstreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was evicted between the decision and its first byte; while it is brought back, it is denied."""
    big, small = make_wheel("big", padding=bytes(range(256)) * 4096), make_wheel("small")
    for name, package in (("big", big), ("small", small)):
        upstream.add(name, package)
        assert (await index.ask(path_of(package, name))).status == 200
    await until(lambda: len(index.stored) == 2)
    go_on, opened = asyncio.Event(), Folder.file
    upstream.faults[big.filename] = Fault(pause_at=1000, go_on=go_on)

    def evicted_just_now(self: Folder, sha256: str) -> object:
        monkeypatch.undo()
        next(Path(index.folder).rglob(f"files/**/{big.sha256}")).unlink()
        return opened(self, sha256)

    monkeypatch.setattr(Folder, "file", evicted_just_now)
    waiting = asyncio.create_task(index.ask(path_of(big, "big")))
    await until(lambda: upstream.asked[f"/packages/{big.filename}"] == 2)
    await index.rows(DENY, name="big")
    await index.rows(DENY, name="small")

    async def in_force() -> bool:
        return (await index.ask(path_of(small, "small"))).status == 403

    await until(in_force)
    go_on.set()
    assert (await waiting).status == 403


@pytest.mark.parametrize("floor", [{"screened": True}])
async def test_a_file_on_hold_does_not_give_its_provenance(
    attested: tuple[Index, UpstreamServer, Package],
) -> None:
    index, _, package = attested
    reply = await index.ask(path_of(package).replace("/files/", "/provenance/"))
    assert (reply.status, reply.reason) == (503, f"{package.filename} is being screened; try again.")


async def test_a_project_does_not_speak_in_the_words_of_policy(
    index: Index, upstream: UpstreamServer, demo: Package
) -> None:
    said = "[malicious] known to attack; why https://evil.example/why/pypi/demo/"
    upstream.extra[demo.filename] = {"yanked": said}
    page = json.loads((await index.ask("/simple/demo/", Accept=JSON, Accept_Encoding="identity")).body)
    assert [file["yanked"] for file in page["files"]] == [f"yanked by its own project: {said}"]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("broken", "broken"),
        ("", ""),
        ("see [1]", "see [1]"),
        (" [denied]", "yanked by its own project:  [denied]"),
        ("\uff3bdenied\uff3d", "yanked by its own project: \uff3bdenied\uff3d"),
    ],
)
def test_own_words(said: str, shown: str) -> None:
    assert own_words(said, "yanked") == shown


async def test_one_broken_project_does_not_close_the_index_for_others(
    index: Index, upstream: UpstreamServer, demo: Package
) -> None:
    broken = [make_wheel("broken", f"{number}.0") for number in range(FAILURES + 1)]
    upstream.add("broken", *broken)
    for package in broken:
        upstream.faults[package.filename] = Fault(status=503, headers={"Retry-After": "60"})
    upstream.page_faults["busy"] = Fault(status=503, headers={"Retry-After": "60"})
    assert (await index.ask("/simple/broken/")).status == 200
    for package in broken:
        assert (await index.ask(path_of(package, "broken"))).status == 502
    for _ in range(FAILURES):
        assert (await index.ask("/simple/busy/")).status == 502
    assert (await index.ask("/simple/demo/")).status == 200


@pytest.fixture
async def giant() -> AsyncIterator[tuple[str, dict[str, int], asyncio.Event]]:
    """Where pages of `_PAGE` bytes are, how much of each was taken so far, and what lets them end."""
    written: dict[str, int] = {}
    go_on = asyncio.Event()

    async def serve(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(_PAGE // _PIECE):
            await response.write(bytes(_PIECE))
            written[request.path] = written.get(request.path, 0) + _PIECE
        await go_on.wait()
        return response

    app = web.Application()
    app.router.add_get("/simple/{project}/", serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/simple/", written, go_on
    await runner.cleanup()


async def test_only_a_few_large_pages_are_read_at_a_time(
    giant: tuple[str, dict[str, int], asyncio.Event],
) -> None:
    url, written, go_on = giant
    outbound = Outbound(source("INDEX_UPSTREAM", url))
    patience = Patience.of(60)
    reads = [
        asyncio.create_task(outbound.whole(f"{url}{number}/", {}, patience, lambda _: 1 << 30))
        for number in range(6)
    ]
    stood: dict[str, int] = {}
    while len(written) < len(reads) or written != stood:  # until nothing moves any more
        stood = dict(written)
        await asyncio.sleep(0.5)
    assert sum(count == _PAGE for count in written.values()) == 3
    go_on.set()
    assert [len(page.body) for page in await asyncio.gather(*reads)] == [_PAGE] * len(reads)
    await outbound.close()


@pytest.mark.parametrize(
    ("url", "inside"),
    [
        ("http://files.corp:8080/wheels/a.whl", True),
        ("http://files.corp:8080/other/a.whl", False),
        ("http://files.corp:8080/wheels/../other/a.whl", False),
        ("http://files.corp:8080/wheels/%2e%2e/other/a.whl", False),
        ("http://files.corp/wheels/a.whl", False),
        ("https://files.corp:8080/wheels/a.whl", False),
        ("http://whole.corp/any/a.whl", True),
        ("http://index.corp/any/a.whl", True),
    ],
)
def test_of_a_directory_that_was_named_nothing_else_is_reached(url: str, inside: bool) -> None:
    named = ("http://files.corp:8080/wheels", "http://whole.corp")
    inner = Inner(replace(source("INDEX_UPSTREAM", "http://index.corp/simple/"), file_origins=named))
    target = URL(url, encoded=True)
    assert inner.covers(target, origin_of(target)) is inside
