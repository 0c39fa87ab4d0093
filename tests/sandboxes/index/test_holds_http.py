"""What is on hold, as HTTP: fetched, waited for, and then decided."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sandboxes.index import judge
from sandboxes.index.config import source
from tests.sandboxes.index.conftest import PORTAL, Index, another_process, path_of
from tests.sandboxes.index.refusing import ASKED, JSON, stored
from tests.sandboxes.index.upstream_server import UpstreamServer
from tests.sandboxes.index.wheels import Package

type Scan = Callable[[str], Awaitable[None]]


@pytest.fixture
def scan(index: Index, clear_screening: None) -> Scan:
    async def scanned(sha256: str) -> None:
        await index.rows(
            "INSERT INTO screening_verdict (sha256, state, reason, at) VALUES (%(sha256)s, 'passed', '', now())",
            sha256=sha256,
        )

    return scanned


@pytest.mark.parametrize("floor", [{"screened": True}])
@pytest.mark.parametrize(("suffix", "method", "headers"), ASKED)
async def test_a_file_on_hold_is_fetched_and_waited_for(
    index: Index, upstream: UpstreamServer, demo: Package, scan: Scan, suffix: str, method: str, headers: Any
) -> None:
    asking = asyncio.create_task(index.ask(path_of(demo) + suffix, method, **headers))
    await stored(index, demo)
    assert not asking.done()
    assert await index.rows("SELECT 1 FROM usage_install") == []
    await scan(demo.sha256)
    assert (await asking).status in (200, 206, 304)


@pytest.mark.parametrize("floor", [{"screened": True}])
async def test_a_page_lists_what_is_on_hold_as_it_is(index: Index, demo: Package) -> None:
    [file] = json.loads((await index.ask("/simple/demo/", Accept=JSON, Accept_Encoding="identity")).body)[
        "files"
    ]
    assert file["yanked"] is False


@pytest.mark.parametrize("floor", [{"screened": True}])
async def test_a_scan_that_takes_long_sends_clients_away_and_then_says_why(
    index: Index, demo: Package, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "_WAIT", 0.05)
    monkeypatch.setattr(judge, "_LOOK", 0.02)
    for _ in range(4):
        reply = await index.ask(path_of(demo))
        assert (reply.status, reply.headers["Retry-After"]) == (503, "2")
        assert reply.reason == f"{demo.filename} is being screened; try again."
    last = await index.ask(path_of(demo))
    assert (last.status, last.reason) == (
        403,
        f"[screening] scan still running; come back later; why {PORTAL}/why/pypi/demo/1.0/",
    )
    assert json.loads(last.body)["waivable"] is False
    await scan(demo.sha256)
    assert (await index.ask(path_of(demo))).status == 200


@pytest.mark.parametrize("floor", [{"screened": True}])
async def test_how_often_a_client_was_sent_away_is_known_to_all_processes(
    index: Index, neighbour: str, upstream: UpstreamServer, demo: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "_WAIT", 0.05)
    monkeypatch.setattr(judge, "_LOOK", 0.02)
    async with another_process(index, source("INDEX_UPSTREAM", upstream.url)) as there:
        here = index
        statuses = [
            (await each.ask(path_of(demo))).status for each in (here, there, here, there, there, here)
        ]
        assert statuses == [503, 503, 503, 503, 403, 403]
        assert (await there.ask(path_of(demo), Authorization=neighbour)).status == 503


@pytest.mark.parametrize("floor", [{"screened": True}])
async def test_of_one_sandbox_only_so_many_requests_wait_for_a_scan(
    index: Index, neighbour: str, demo: Package, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "_MOST_WAITING", 2)
    waiting = [asyncio.create_task(index.ask(path_of(demo))) for _ in range(3)]
    done, still = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result().status for task in done] == [503]
    others = asyncio.create_task(index.ask(path_of(demo), Authorization=neighbour))
    await scan(demo.sha256)
    assert [(await task).status for task in (*still, others)] == [200, 200, 200]


@pytest.mark.parametrize("floor", [{"screened": True}])
async def test_a_file_on_hold_that_cannot_be_had_says_so(
    index: Index, upstream: UpstreamServer, demo: Package
) -> None:
    await index.ask("/simple/demo/")
    upstream.projects["demo"] = []
    reply = await index.ask(path_of(demo))
    assert (reply.status, "no longer has" in reply.reason) == (404, True)
