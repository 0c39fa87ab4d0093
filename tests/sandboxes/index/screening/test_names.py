"""The same bytes under another name are screened by themselves, and only a person's "no" goes along with them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sandboxes.index.database import Database
from sandboxes.index.listener import Listener
from sandboxes.index.screening import jobs as job_rows
from sandboxes.index.screening.formers import NOTHING, Formers
from sandboxes.index.screening.jobs import Jobs
from sandboxes.index.screening.material import Material, Scratch
from sandboxes.index.screening.screener import Screener
from sandboxes.index.screening.verdicts import Verdicts
from sandboxes.index.storage.folder import Folder
from sandboxes.screening.findings import Ability, Found, Report, Threat
from sandboxes.screening.package import Facts
from tests.sandboxes.index.conftest import Index, database_url, path_of
from tests.sandboxes.index.screening.conftest import jobs
from tests.sandboxes.index.upstream_server import UpstreamServer
from tests.sandboxes.index.wheels import Package, make_wheel

LIKE = Found("look-alike.name", Ability.IDENTITY, Threat.CRITICAL, "Its name resembles good.")

pytestmark = pytest.mark.usefixtures("clear_screening")


@dataclass
class Names:
    """Scans that find something in a name, and nothing in bytes."""

    bad: set[str] = field(default_factory=lambda: {"g00d"})
    seen: list[str] = field(default_factory=list)

    async def scan(self, path: Path, facts: Facts, *beside: Path | None) -> Report:
        self.seen.append(facts.filename)
        return Report((LIKE,) if facts.project in self.bad else (), version=1, rules="r")


@pytest.fixture
async def names(index: Index) -> AsyncIterator[Names]:
    """A screener at work beside the index."""
    made = Names()
    async with _at_work(index, made.scan):
        yield made


@asynccontextmanager
async def _at_work(index: Index, scan: Callable[..., Awaitable[Report]]) -> AsyncIterator[None]:
    database = Database(database_url())
    await database.open()
    scratch = Scratch(index.folder / "screening")
    scratch.open()
    material = Material(Folder(index.folder), scratch)
    formers = Formers(database, material)
    screener = Screener(Jobs(database), Verdicts(database), material, formers, scan, 1, lambda: "r")
    listener = Listener(database_url(), {job_rows.CHANNEL: screener.tell})

    async def listen() -> None:
        while True:
            await listener.wait(60.0)

    tasks = [asyncio.create_task(screener.run(2)), asyncio.create_task(listen())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listener.close()
        scratch.close()
        await database.close()


@pytest.fixture
def twins(upstream: UpstreamServer) -> tuple[Package, Package]:
    """The same bytes as `good` and as `g00d`."""
    good = make_wheel("good")
    like = Package("g00d-1.0-py3-none-any.whl", good.data)
    upstream.add("good", good)
    upstream.add("g00d", like)
    return good, like


async def _verdicts(index: Index) -> dict[str, tuple[str, str]]:
    rows = await index.rows("SELECT project, id, state FROM screening_verdict")
    return {row["project"]: (row["id"], row["state"]) for row in rows}


async def test_what_passed_under_one_name_is_screened_under_another(
    index: Index, twins: tuple[Package, Package], names: Names
) -> None:
    good, like = twins
    assert (await index.ask(path_of(good, "good"))).body == good.data
    reply = await index.ask(path_of(like, "g00d"))
    assert (reply.status, reply.reason.startswith("[held] ")) == (403, True)
    assert names.seen == [good.filename, like.filename]
    found = await _verdicts(index)
    assert found["good"] == (good.sha256, "passed")
    assert found["g00d"][1] == "held"
    assert found["g00d"][0].startswith(f"{good.sha256}-")
    assert (await index.ask(path_of(good, "good"))).status == 200
    assert await jobs(index) == []
    assert len(names.seen) == 2


async def test_a_look_alike_that_came_first_does_not_hold_the_real_one(
    index: Index, twins: tuple[Package, Package], names: Names
) -> None:
    good, like = twins
    assert (await index.ask(path_of(like, "g00d"))).status == 403
    assert b"data-yanked" not in (await index.ask("/simple/good/", Accept_Encoding="identity")).body
    assert (await index.ask(path_of(good, "good"))).body == good.data


async def test_what_was_released_under_one_name_is_screened_under_another(
    index: Index, twins: tuple[Package, Package], names: Names
) -> None:
    good, like = twins
    names.bad = {"good", "g00d"}
    assert (await index.ask(path_of(good, "good"))).status == 403
    await index.rows("UPDATE screening_verdict SET state = 'passed', decision = 'released'")
    assert (await index.ask(path_of(good, "good"))).status == 200
    assert (await index.ask(path_of(like, "g00d"))).status == 403
    assert names.seen == [good.filename, like.filename]


async def test_what_was_blocked_under_one_name_is_blocked_under_every_other(
    index: Index, twins: tuple[Package, Package], names: Names
) -> None:
    good, like = twins
    assert (await index.ask(path_of(good, "good"))).status == 200
    await index.rows("UPDATE screening_verdict SET state = 'blocked', decision = 'blocked'")
    reply = await index.ask(path_of(like, "g00d"))
    assert (reply.status, reply.reason.startswith("[blocked] ")) == (403, True)
    assert names.seen == [good.filename]  # nobody need look


@pytest.mark.parametrize("floor", [{"screened": False}])
async def test_where_nothing_is_screened_what_is_held_elsewhere_is_held(
    index: Index, twins: tuple[Package, Package]
) -> None:
    good, like = twins
    held: dict[str, Any] = {"sha256": good.sha256, "filename": like.filename}
    await index.rows(
        "INSERT INTO screening_verdict (sha256, state, reason, at, ecosystem, project, filename)"
        " VALUES (%(sha256)s, 'held', '', now(), 'pypi', 'g00d', %(filename)s)",
        **held,
    )
    reply = await index.ask(path_of(good, "good"))
    assert (reply.status, reply.reason.startswith("[held] ")) == (403, True)


async def test_two_that_write_at_once_write_a_verdict_each(index: Index) -> None:
    verdicts = Verdicts(index.database)
    facts = [Facts(f"{name}-1.0.tar.gz", project=name, version="1.0") for name in ("a", "b", "c", "d")]
    report = Report(version=1, rules="r")
    await asyncio.gather(*(verdicts.write("e" * 64, each, report, NOTHING) for each in facts * 3))
    rows = await index.rows("SELECT id, project FROM screening_verdict ORDER BY id")
    assert len(rows) == 4
    assert {row["project"] for row in rows} == {"a", "b", "c", "d"}
    assert rows[0]["id"] == "e" * 64
