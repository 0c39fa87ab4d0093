"""Taking jobs and doing them, with a scan that does what a test says; the scan itself is tested elsewhere."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from sandboxes.index.database import Database
from sandboxes.index.listener import Listener
from sandboxes.index.screening import bringing
from sandboxes.index.screening import jobs as job_rows
from sandboxes.index.screening import screener as screener_module
from sandboxes.index.screening.bringing import best
from sandboxes.index.screening.formers import NOTHING, Compared, Former, Formers, by_likeness, earlier
from sandboxes.index.screening.jobs import Jobs
from sandboxes.index.screening.material import Material, Scratch
from sandboxes.index.screening.screener import Screener
from sandboxes.index.screening.verdicts import Verdicts
from sandboxes.index.storage.folder import Folder
from sandboxes.screening.findings import Ability, Found, Report, Threat
from sandboxes.screening.package import Facts
from tests.sandboxes.index.conftest import Index, database_url, path_of
from tests.sandboxes.index.patience import until
from tests.sandboxes.index.refusing import JUDGED
from tests.sandboxes.index.screening.conftest import jobs, verdict
from tests.sandboxes.index.upstream_server import Fault, UpstreamServer
from tests.sandboxes.index.wheels import Package, make_wheel

FILE = Facts("demo-1.0-py3-none-any.whl", project="demo", version="1.0")
BAD = Found("test.bad", Ability.NETWORK, Threat.CRITICAL, "It sends everything away.", "demo.py", 3)
DIFFERENT = Found("difference.grown", Ability.EXECUTE, Threat.CRITICAL, "It has grown.", "demo.py", 3)
VERSION = 7
RULES = "0123456789abcdef"

pytestmark = pytest.mark.usefixtures("clear_screening")


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


async def test_the_release_before_is_compared_if_it_is_here(
    index: Index, upstream: UpstreamServer, scans: Scans, screening: Screening
) -> None:
    old, new, other = make_wheel(version="1.0"), make_wheel(version="2.0"), make_wheel("demo", "0.9")
    upstream.add("demo", old, new, other)
    upstream.extra[old.filename] = {"upload-time": "2024-01-01T00:00:00Z"}
    upstream.extra[new.filename] = {"upload-time": "2024-06-01T00:00:00Z"}
    async with screening():
        for each in (old, new):
            assert (await index.ask(path_of(each))).status == 200
    facts, _, former = scans.seen[1]
    assert (facts.former_version, facts.releases, facts.project_since) == ("1.0", 3, "2024-01-01T00:00:00Z")
    assert former == old.data
    assert (await verdict(index, new.sha256))["former_sha256"] == old.sha256
    assert scans.seen[0][2] == other.data  # nobody had it before
    received = await index.rows("SELECT filename FROM usage_install")
    assert {row["filename"] for row in received} == {old.filename, new.filename}


async def test_without_the_release_before_the_newest_before_that_is_compared(
    index: Index, upstream: UpstreamServer, scans: Scans, screening: Screening
) -> None:
    """Two releases are published at once, and the first of them is fetched by nobody."""
    old, skipped, new = _released(upstream, "1.0", "1.0.1", "1.0.2")
    async with screening():
        for each in (old, new):
            assert (await index.ask(path_of(each))).status == 200
    assert (scans.seen[1][0].former_version, scans.seen[1][2]) == ("1.0.1", old.data)
    assert (await verdict(index, new.sha256))["former_sha256"] == old.sha256
    assert upstream.asked[f"/packages/{skipped.filename}"] == 0


async def test_a_release_that_is_held_is_nothing_to_compare_with(
    index: Index, upstream: UpstreamServer, scans: Scans, screening: Screening
) -> None:
    """Else the same code would pass with the next release."""
    old, held, new = _released(upstream, "1.0", "1.0.1", "1.0.2")
    scans.found_by_comparing = (DIFFERENT,)
    async with screening():
        assert (await index.ask(path_of(old))).status == 200
        assert (await index.ask(path_of(held))).status == 403
        assert (await index.ask(path_of(new))).status == 403
    assert scans.seen[2][2] == old.data


def test_earlier_releases_come_newest_first() -> None:
    found = [Former("", "", "", version) for version in ("0.9", "1.0", "1.1b1", "1.1", "1.2", "1.0.1", "odd")]
    facts = Facts("demo-1.2-py3-none-any.whl", version="1.2", former_version="1.1")
    assert _versions(facts, found) == ["1.1", "1.0.1", "1.0", "0.9"]
    assert _versions(replace(facts, former_version="1.0.1"), found) == ["1.0.1", "1.0", "0.9"]
    early = replace(facts, version="1.2b1", former_version="1.1")
    assert _versions(early, found) == ["1.1", "1.1b1", "1.0.1", "1.0", "0.9"]
    assert _versions(replace(facts, former_version="odd"), found) == ["odd"]
    npm = Facts("demo-1.10.0.tgz", "npm", version="1.10.0", former_version="1.9.0")
    tarballs = [Former("", "", "", version) for version in ("1.2.0", "1.9.0-rc.1", "1.8.0", "1.11.0", "?")]
    assert _versions(npm, tarballs) == ["1.8.0", "1.2.0"]


async def test_a_wheel_is_compared_with_its_own_sources_which_nobody_is_given(
    index: Index, upstream: UpstreamServer, scans: Scans, screening: Screening
) -> None:
    wheel = make_wheel(version="1.0")
    sources = Package("demo-1.0.tar.gz", b"sources of 1.0")
    upstream.add("demo", wheel, sources)
    async with screening():
        assert (await index.ask(path_of(wheel))).status == 200
        assert (await index.ask(path_of(sources))).status == 403
    assert scans.sources == [sources.data]
    assert scans.seen[0][2] is None


async def test_what_comes_too_late_to_compare_with_has_the_file_screened_again(
    index: Index,
    upstream: UpstreamServer,
    scans: Scans,
    screening: Screening,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And that verdict counts at once, though the file was given before."""
    monkeypatch.setattr(bringing, "_WAIT", 0.5)
    old, new = _released(upstream, "1.0", "1.0.1")
    go_on = asyncio.Event()
    upstream.faults[old.filename] = Fault(pause_at=10, piece=10, go_on=go_on)
    scans.found_by_comparing = (DIFFERENT,)
    async with screening():
        assert (await index.ask(path_of(new))).status == 200
        go_on.set()
        await until(lambda: _scanned(scans, 2))

        async def refused() -> bool:
            return (await index.ask(path_of(new))).status == 403

        await until(refused)
    assert [before for _, _, before in scans.seen] == [None, old.data]


async def test_a_release_that_cannot_be_fetched_delays_nothing(
    index: Index, upstream: UpstreamServer, scans: Scans, screening: Screening
) -> None:
    old, new = _released(upstream, "1.0", "1.0.1")
    upstream.faults[old.filename] = Fault(status=404)
    async with screening():
        assert (await index.ask(path_of(new))).status == 200
    assert [before for _, _, before in scans.seen] == [None]


def test_the_release_to_fetch_is_one_that_had_been_there_for_a_while() -> None:
    found = [Former(f"demo-{version}.tar.gz", version, "", version) for version in ("1.0", "1.1", "1.2")]
    facts = Facts("demo-1.3-py3-none-any.whl", version="1.3", former_version="1.2")
    facts = replace(facts, uploaded_at="2024-06-20T00:00:00Z")
    stolen = {"1.0": "2024-01-01T00:00:00Z", "1.1": "2024-06-19T00:00:00Z", "1.2": "2024-06-20T00:00:00Z"}
    for uploaded, version in ((stolen, "1.0"), ({}, "1.2"), ({"1.1": "2024-06-13T00:00:00Z"}, "1.1")):
        chosen = best(facts, found, uploaded)
        assert chosen is not None
        assert chosen.version == version
    assert best(replace(facts, former_version=""), found, stolen) is None


async def test_what_was_held_by_comparing_is_not_freed_when_there_is_nothing_to_compare_with(
    index: Index, upstream: UpstreamServer, scans: Scans, screening: Screening, database: Database
) -> None:
    old, new = _released(upstream, "1.0", "1.0.1")
    scans.found_by_comparing = (DIFFERENT,)
    async with screening() as screener:
        assert (await index.ask(path_of(old))).status == 200
        assert (await index.ask(path_of(new))).status == 403
        [old_file] = (index.folder / "files").rglob(old.sha256)
        await asyncio.to_thread(old_file.rename, index.folder / "away")
        for _ in range(2):  # nor by the second time
            found = await _screened_again(index, screener, database, new)
            assert scans.seen[-1][2] is None
            assert (found["state"], found["level"], found["former_sha256"]) == ("held", "hold", old.sha256)
            assert [each["rule"] for each in found["findings"]] == [DIFFERENT.rule]
        assert not await Verdicts(database).rescale()
        await asyncio.to_thread((index.folder / "away").rename, old_file)
        scans.found_by_comparing = ()  # newer rules think nothing of it
        found = await _screened_again(index, screener, database, new)
    assert (found["state"], found["findings"]) == ("passed", [])


@pytest.mark.parametrize(
    ("rule", "later", "held"),
    [
        ("difference.grown", Compared("f" * 64), False),
        ("difference.grown", Compared("e" * 64), True),
        ("difference.grown", Compared("", sources=True), True),
        ("difference.not-in-sources", Compared("f" * 64), True),
        ("difference.not-in-sources", Compared("", sources=True), False),
        ("publisher.new", Compared("f" * 64), True),  # nothing was known of the page
        ("test.bad", NOTHING, False),
    ],
)
async def test_what_a_later_scan_did_not_look_for_still_holds(
    index: Index, database: Database, rule: str, later: Compared, held: bool
) -> None:
    verdicts = Verdicts(database)
    found = replace(BAD, rule=rule)
    await verdicts.write("a" * 64, FILE, Report((found,), version=1), Compared("f" * 64, sources=True))
    await verdicts.write("a" * 64, FILE, Report((), version=1), later)
    assert (await verdict(index, "a" * 64))["state"] == ("held" if held else "passed")


async def test_a_release_before_that_could_not_be_read_was_not_compared(
    index: Index, database: Database
) -> None:
    verdicts, before = Verdicts(database), Compared("f" * 64)
    unread = Found("scanner.former-unreadable", Ability.CONTENT, Threat.LOW, "It cannot be read.")
    await verdicts.write("a" * 64, FILE, Report((DIFFERENT,), version=1), before)
    for report in (Report((unread,), version=1), Report(broken="its scanner died", version=1)):
        await verdicts.write("a" * 64, FILE, report, before)
        found = await verdict(index, "a" * 64)
        assert found["state"] == "held"
        assert DIFFERENT.rule in [each["rule"] for each in found["findings"]]


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


def test_the_former_file_is_of_the_same_platform() -> None:
    names = ["demo-1.0.tar.gz", "demo-1.0-cp313-cp313-win_amd64.whl", "demo-1.0-py3-none-any.whl"]
    found = [Former(name, "", "") for name in names]
    assert by_likeness("demo-2.0-py3-none-any.whl", found)[0].filename == names[2]
    assert by_likeness("demo-2.0-cp313-cp313-win_amd64.whl", found)[0].filename == names[1]
    assert by_likeness("demo-2.0-cp314-cp314-linux_x86_64.whl", found)[0].filename == names[1]
    assert by_likeness("demo-2.0.tar.gz", found)[0].filename == names[0]


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
        await until(lambda: _no_jobs(index))


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
            await until(partial(_scanned, scans, times))
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


def _released(upstream: UpstreamServer, *versions: str) -> list[Package]:
    """One a month."""
    made = [make_wheel(version=version) for version in versions]
    upstream.add("demo", *made)
    for month, each in enumerate(made, 1):
        upstream.extra[each.filename] = {"upload-time": f"2024-{month:02}-01T00:00:00Z"}
    return made


async def _screened_again(
    index: Index, screener: Screener, database: Database, package: Package
) -> dict[str, Any]:
    facts = Facts(package.filename, project="demo", version="1.0.1", former_version="1.0")
    await Jobs(database).again(package.sha256, facts, 0)
    screener.tell("")
    await until(lambda: _no_jobs(index))
    return await verdict(index, package.sha256)


def _versions(facts: Facts, found: list[Former]) -> list[str]:
    return [release[0].version for release in earlier(facts, found)]


def _scanned(scans: Scans, times: int) -> bool:
    return len(scans.seen) == times


async def _has_jobs(index: Index) -> bool:
    return bool(await jobs(index))


async def _no_jobs(index: Index) -> bool:
    return not await jobs(index)


async def _is_leased(index: Index) -> bool:
    return bool(await index.rows("SELECT 1 FROM screening_job WHERE leased_until > now()"))


async def _scanned_by(index: Index, package: Package) -> bool:
    found: bool = (await verdict(index, package.sha256))["scanned_by"] == VERSION
    return found
