"""A screener at work beside a running index, with a scan that does what a test says."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from sandboxes.index.database import Database
from sandboxes.index.listener import Listener
from sandboxes.index.screening import jobs as job_rows
from sandboxes.index.screening.formers import Formers
from sandboxes.index.screening.jobs import Jobs
from sandboxes.index.screening.material import Material, Scratch
from sandboxes.index.screening.screener import Screener
from sandboxes.index.screening.verdicts import Verdicts
from sandboxes.index.storage.folder import Folder
from sandboxes.screening.findings import Ability, Found, Report, Threat
from sandboxes.screening.package import Facts
from tests.sandboxes.index.conftest import Index, database_url
from tests.sandboxes.index.screening.conftest import jobs

FILE = Facts("demo-1.0-py3-none-any.whl", project="demo", version="1.0")
BAD = Found("test.bad", Ability.NETWORK, Threat.CRITICAL, "It sends everything away.", "demo.py", 3)
VERSION = 7
RULES = "0123456789abcdef"


@dataclass
class Scans:
    """What was scanned, and what is said of it."""

    report: Report = field(default_factory=lambda: Report(version=VERSION, seconds=0.1))
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    fails: bool = False
    seen: list[tuple[Facts, bytes, bytes | None]] = field(default_factory=list)
    sources: list[bytes | None] = field(default_factory=list)
    found_by_comparing: tuple[Found, ...] = ()

    async def scan(
        self, path: Path, facts: Facts, former: Path | None = None, sources: Path | None = None
    ) -> Report:
        before = await asyncio.to_thread(former.read_bytes) if former else None
        self.sources.append(await asyncio.to_thread(sources.read_bytes) if sources else None)
        self.seen.append((facts, await asyncio.to_thread(path.read_bytes), before))
        await self.go_on.wait()
        if self.fails:
            raise RuntimeError("a detector is broken")
        found = self.found_by_comparing if before is not None else ()
        return replace(self.report, findings=(*self.report.findings, *found))


@pytest.fixture
def scans() -> Scans:
    made = Scans()
    made.go_on.set()
    return made


@pytest.fixture
async def database(index: Index) -> AsyncIterator[Database]:
    made = Database(database_url())
    await made.open()
    yield made
    await made.close()


type Screening = Callable[..., Any]


@pytest.fixture
def screening(index: Index, database: Database, scans: Scans) -> Screening:
    @asynccontextmanager
    async def at_work(folder: Path | None = None, lanes: int = 2) -> AsyncIterator[Screener]:
        place = Folder(folder or index.folder)
        place.open()
        scratch = Scratch((folder or index.folder) / "screening")
        scratch.open()
        material = Material(place, scratch)
        made = Screener(
            Jobs(database),
            Verdicts(database),
            material,
            Formers(database, material),
            scans.scan,
            VERSION,
            lambda: RULES,
        )
        listener = Listener(database_url(), {job_rows.CHANNEL: made.tell})
        tasks = [asyncio.create_task(made.run(lanes)), asyncio.create_task(_listen(listener))]
        try:
            yield made
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await listener.close()
            scratch.close()

    return at_work


async def _listen(listener: Listener) -> None:
    while True:
        await listener.wait(60.0)


def scanned(scans: Scans, times: int) -> bool:
    return len(scans.seen) == times


async def no_jobs(index: Index) -> bool:
    return not await jobs(index)
