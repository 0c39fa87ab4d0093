"""What a file is compared with: the releases before it, and its own sources."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from sandboxes.index.database import Database
from sandboxes.index.screening import bringing
from sandboxes.index.screening.bringing import best
from sandboxes.index.screening.formers import NOTHING, Compared, Former, by_likeness, earlier
from sandboxes.index.screening.jobs import Jobs
from sandboxes.index.screening.screener import Screener
from sandboxes.index.screening.verdicts import Verdicts
from sandboxes.screening.findings import Ability, Found, Report, Threat
from sandboxes.screening.package import Facts
from tests.sandboxes.index.conftest import Index, path_of
from tests.sandboxes.index.patience import until
from tests.sandboxes.index.screening.at_work import (
    BAD,
    FILE,
    Scans,
    Screening,
    database,
    no_jobs,
    scanned,
    scans,
    screening,
)
from tests.sandboxes.index.screening.conftest import verdict
from tests.sandboxes.index.upstream_server import Fault, UpstreamServer
from tests.sandboxes.index.wheels import Package, make_wheel

__all__ = ["database", "scans", "screening"]  # fixtures

DIFFERENT = Found("difference.grown", Ability.EXECUTE, Threat.CRITICAL, "It has grown.", "demo.py", 3)
pytestmark = pytest.mark.usefixtures("clear_screening")


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
        await until(lambda: scanned(scans, 2))

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


def test_the_former_file_is_of_the_same_platform() -> None:
    names = ["demo-1.0.tar.gz", "demo-1.0-cp313-cp313-win_amd64.whl", "demo-1.0-py3-none-any.whl"]
    found = [Former(name, "", "") for name in names]
    assert by_likeness("demo-2.0-py3-none-any.whl", found)[0].filename == names[2]
    assert by_likeness("demo-2.0-cp313-cp313-win_amd64.whl", found)[0].filename == names[1]
    assert by_likeness("demo-2.0-cp314-cp314-linux_x86_64.whl", found)[0].filename == names[1]
    assert by_likeness("demo-2.0.tar.gz", found)[0].filename == names[0]


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
    await until(lambda: no_jobs(index))
    return await verdict(index, package.sha256)


def _versions(facts: Facts, found: list[Former]) -> list[str]:
    return [release[0].version for release in earlier(facts, found)]
