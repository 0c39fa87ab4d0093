"""Taking jobs and doing them, with a scan that does what a test says; the scan itself is tested elsewhere."""

import asyncio
import os
from functools import partial
from pathlib import Path

import pytest

from sandboxes.index.database import Database
from sandboxes.index.screening import screener as screener_module
from sandboxes.index.screening.formers import NOTHING
from sandboxes.index.screening.jobs import Jobs
from sandboxes.index.screening.material import Scratch
from sandboxes.index.screening.verdicts import Verdicts
from sandboxes.screening.findings import Report
from sandboxes.screening.package import Facts
from tests.sandboxes.index.conftest import Index, path_of
from tests.sandboxes.index.patience import until
from tests.sandboxes.index.refusing import JUDGED
from tests.sandboxes.index.screening.at_work import (
    BAD,
    FILE,
    RULES,
    VERSION,
    Scans,
    Screening,
    database,
    no_jobs,
    scanned,
    scans,
    screening,
)
from tests.sandboxes.index.screening.conftest import jobs, verdict
from tests.sandboxes.index.upstream_server import UpstreamServer
from tests.sandboxes.index.wheels import Package, make_wheel

__all__ = ["database", "scans", "screening"]  # fixtures

pytestmark = pytest.mark.usefixtures("clear_screening")


async def test_a_new_file_is_screened_and_given(
    index: Index, demo: Package, scans: Scans, screening: Screening
) -> None:
    async with screening():
        assert (await index.ask(path_of(demo))).body == demo.data
        [(facts, data, former)] = scans.seen
        assert (facts.filename, facts.project, facts.version) == (demo.filename, "demo", "1.0")
        assert (facts.releases, data, former) == (1, demo.data, None)
        found = await verdict(index, demo.sha256)
        assert (found["state"], found["level"], found["scanned_by"]) == ("passed", "clean", VERSION)
        assert (found["project"], found["version"], found["filename"]) == ("demo", "1.0", demo.filename)
        assert await jobs(index) == []
        assert (await index.ask(path_of(demo))).status == 200
        assert len(scans.seen) == 1
    assert list((index.folder / "screening").iterdir()) == []


async def test_what_is_found_holds_it_with_a_reason(
    index: Index, demo: Package, scans: Scans, screening: Screening
) -> None:
    scans.report = Report((BAD,), version=VERSION)
    async with screening():
        reply = await index.ask(path_of(demo))
    assert (reply.status, reply.reason.startswith("[held] ")) == (403, True)
    found = await verdict(index, demo.sha256)
    assert (found["state"], found["level"], found["score"]) == ("held", "hold", 100)
    assert found["reason"] == "It sends everything away (demo.py:3)"
    assert found["findings"][0]["rule"] == "test.bad"


async def test_a_scan_by_an_older_version_does_not_undo_a_newer_one(index: Index, database: Database) -> None:
    verdicts = Verdicts(database)
    await verdicts.write("a" * 64, FILE, Report((BAD,), version=3, rules="new"), NOTHING)
    await verdicts.write("a" * 64, FILE, Report((), version=2, rules="old"), NOTHING)
    found = await verdict(index, "a" * 64)
    assert (found["state"], found["scanned_by"], found["rules"]) == ("held", 3, "new")


@pytest.mark.parametrize(("theirs", "seen", "state"), [(1, 0, "held"), (3, 0, "passed"), (1, 11, "passed")])
async def test_a_scan_by_older_patterns_does_not_undo_newer_ones(
    index: Index, database: Database, theirs: int, seen: int, state: str
) -> None:
    """Theirs changed `theirs` hours ago, and ours two; a place that nobody heard of for a while has no say."""
    for place, hours, minutes in (("theirs", theirs, seen), ("ours", 2, 0)):
        await index.rows(
            "INSERT INTO screening_rules (place, digest, changed_at, seen_at, folder, ours, added, problems)"
            " VALUES (%(place)s, %(place)s, now() - make_interval(hours => %(hours)s),"
            " now() - make_interval(mins => %(minutes)s), '', 1, 0, '[]')",
            place=place, hours=hours, minutes=minutes,
        )  # fmt: skip
    verdicts = Verdicts(database)
    try:
        await verdicts.write("a" * 64, FILE, Report((BAD,), version=3, rules="theirs"), NOTHING)
        await verdicts.write("a" * 64, FILE, Report((), version=3, rules="ours"), NOTHING)
    finally:
        await index.rows("DELETE FROM screening_rules")
    assert (await verdict(index, "a" * 64))["state"] == state


async def test_who_lost_a_job_writes_nothing_and_ends_nobody_elses(index: Index, database: Database) -> None:
    made, verdicts = Jobs(database), Verdicts(database)
    await made.want("a" * 64, FILE)
    late = await made.take({"a" * 64: "a" * 64})
    await index.rows("UPDATE screening_job SET leased_until = now() - interval '1 second'")
    other = await made.take({"a" * 64: "a" * 64})
    await verdicts.write("a" * 64, FILE, Report((), version=1), NOTHING, late)
    assert len(await jobs(index)) == 1
    assert await index.rows("SELECT 1 FROM screening_verdict") == []
    await verdicts.write("a" * 64, FILE, Report((BAD,), version=1), NOTHING, other)
    await verdicts.write("a" * 64, FILE, Report((), version=1), NOTHING, late)
    assert await jobs(index) == []
    assert (await verdict(index, "a" * 64))["state"] == "held"


async def test_what_a_person_decided_stays(
    index: Index, demo: Package, scans: Scans, screening: Screening, database: Database
) -> None:
    await index.rows(
        "INSERT INTO screening_verdict (sha256, state, reason, at, decision, ecosystem, project, filename) VALUES"
        " (%(sha256)s, 'passed', 'it is ours', now(), 'released', 'pypi', 'demo', %(filename)s)",
        sha256=demo.sha256,
        filename=demo.filename,
    )
    scans.report = Report((BAD,), version=VERSION)
    async with screening():
        assert (await index.ask(path_of(demo))).status == 200
        await Jobs(database).again(demo.sha256, Facts(demo.filename, project="demo"), 1)
        await index.rows("SELECT pg_notify('screening_job', '')")
        await until(lambda: _scanned_by(index, demo))
    found = await verdict(index, demo.sha256)
    assert (found["state"], found["reason"], found["level"]) == ("passed", "it is ours", "hold")


async def test_somebody_who_waits_comes_before_what_is_screened_again(
    index: Index, upstream: UpstreamServer, scans: Scans, screening: Screening, database: Database
) -> None:
    scans.go_on.clear()
    packages = [make_wheel("demo", f"{number}.0") for number in range(4)]
    upstream.add("demo", *packages)
    for each in packages[:3]:
        await index.rows(JUDGED.format("'passed'"), sha256=each.sha256)
        assert (await index.ask(path_of(each))).status == 200
        await Jobs(database).again(each.sha256, Facts(each.filename), 1)
    async with screening(lanes=2):
        await until(lambda: len(scans.seen) == 1)
        asking = asyncio.create_task(index.ask(path_of(packages[3])))
        await until(lambda: len(scans.seen) == 2)
        assert scans.seen[1][0].filename == packages[3].filename
        scans.go_on.set()
        assert (await asking).status == 200
        await until(lambda: no_jobs(index))


async def test_who_has_not_the_bytes_leaves_the_job_to_others(
    index: Index, demo: Package, scans: Scans, screening: Screening, tmp_path: Path
) -> None:
    async with screening(folder=tmp_path / "elsewhere"):
        asking = asyncio.create_task(index.ask(path_of(demo)))
        await until(lambda: _has_jobs(index))
        await asyncio.sleep(0.3)
        [job] = await jobs(index)
        assert (scans.seen, job["attempts"], job["leased_until"]) == ([], 0, None)
        async with screening():
            assert (await asking).status == 200


async def test_a_file_evicted_while_it_is_scanned_is_scanned_to_its_end(
    index: Index, demo: Package, scans: Scans, screening: Screening
) -> None:
    scans.go_on.clear()
    async with screening():
        asking = asyncio.create_task(index.ask(path_of(demo)))
        await until(lambda: bool(scans.seen))
        for path in (index.folder / "files").rglob(demo.sha256):
            path.unlink()
        [scratch] = (index.folder / "screening").iterdir()
        assert [path.read_bytes() for path in scratch.iterdir()] == [demo.data]
        scans.go_on.set()
        assert (await asking).body == demo.data  # fetched again


async def test_a_scan_that_breaks_is_tried_three_times_and_then_held(
    index: Index, demo: Package, scans: Scans, screening: Screening
) -> None:
    scans.fails = True
    async with screening():
        asking = asyncio.create_task(index.ask(path_of(demo)))
        for times in range(1, 4):
            await until(partial(scanned, scans, times))
            await index.rows("UPDATE screening_job SET leased_until = now() - interval '1 second'")
            await index.rows("SELECT pg_notify('screening_job', '')")
        reply = await asking
    assert (reply.status, reply.reason.startswith("[held] ")) == (403, True)
    found = await verdict(index, demo.sha256)
    assert found["state"] == "held"
    assert found["reason"] == "screening it was begun 3 times and never came to an end"
    assert found["rules"] == RULES  # else it would be begun again and again
    assert len(scans.seen) == 3


async def test_a_screener_that_is_told_to_end_gives_its_job_back(
    index: Index, demo: Package, scans: Scans, screening: Screening
) -> None:
    scans.go_on.clear()
    async with screening():
        asking = asyncio.create_task(index.ask(path_of(demo)))
        await until(lambda: bool(scans.seen))
    [job] = await jobs(index)
    assert (job["attempts"], job["leased_until"]) == (0, None)
    scans.go_on.set()
    async with screening():
        assert (await asking).status == 200


async def test_a_lease_is_kept_while_the_scan_goes_on(
    index: Index, demo: Package, scans: Scans, screening: Screening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screener_module, "LEASE", 0.1)
    scans.go_on.clear()
    async with screening():
        asking = asyncio.create_task(index.ask(path_of(demo)))
        await until(lambda: bool(scans.seen))
        await index.rows("UPDATE screening_job SET leased_until = now()")
        await until(lambda: _is_leased(index))
        scans.go_on.set()
        assert (await asking).status == 200


async def test_an_orphan_is_dropped_and_asked_for_again(
    index: Index, demo: Package, scans: Scans, screening: Screening, database: Database
) -> None:
    made = Jobs(database)
    await made.want(demo.sha256, Facts(demo.filename))
    await made.drop_orphans()
    assert len(await jobs(index)) == 1
    await index.rows("UPDATE screening_job SET wanted_at = now() - interval '16 minutes'")
    await made.drop_orphans()
    assert await jobs(index) == []
    async with screening():
        assert (await index.ask(path_of(demo))).status == 200


async def test_a_job_is_made_once_and_becomes_urgent(index: Index, demo: Package, database: Database) -> None:
    made, facts = Jobs(database), Facts(demo.filename, project="demo")
    await made.again(demo.sha256, facts, 5)
    await made.again(demo.sha256, facts, 6)
    [job] = await jobs(index)
    assert (job["urgent"], job["weight"]) == (False, 5)
    await made.want(demo.sha256, facts)
    await made.want(demo.sha256, facts)
    [job] = await jobs(index)
    assert (job["urgent"], job["facts"]["project"]) == (True, "demo")


async def test_what_got_its_verdict_meanwhile_is_no_job(
    index: Index, demo: Package, database: Database
) -> None:
    await index.rows(
        "INSERT INTO screening_verdict (sha256, state, reason, at) VALUES (%(sha256)s, 'passed', '', now())",
        sha256=demo.sha256,
    )
    await Jobs(database).want(demo.sha256, Facts(demo.filename))
    assert await jobs(index) == []


def test_what_a_killed_one_left_is_removed_by_the_next(tmp_path: Path) -> None:
    mine, killed, next_one = (Scratch(tmp_path) for _ in range(3))
    mine.open()
    killed.open()
    (killed.folder / "left").write_bytes(b"x")
    assert killed._descriptor is not None
    os.close(killed._descriptor)
    next_one.open()
    assert sorted(tmp_path.iterdir()) == sorted([mine.folder, next_one.folder])
    mine.close()
    next_one.close()


async def _has_jobs(index: Index) -> bool:
    return bool(await jobs(index))


async def _is_leased(index: Index) -> bool:
    return bool(await index.rows("SELECT 1 FROM screening_job WHERE leased_until > now()"))


async def _scanned_by(index: Index, package: Package) -> bool:
    found: bool = (await verdict(index, package.sha256))["scanned_by"] == VERSION
    return found
