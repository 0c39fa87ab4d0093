"""Newer rules scan again what older ones scanned; another scale only counts anew."""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from sandboxes.index.database import Database
from sandboxes.index.screening.again import Again
from sandboxes.index.screening.formers import NOTHING
from sandboxes.index.screening.jobs import Jobs
from sandboxes.index.screening.material import Material, Scratch
from sandboxes.index.screening.rules import Rules
from sandboxes.index.screening.verdicts import Verdicts, reason_of
from sandboxes.index.storage.folder import Folder
from sandboxes.screening import scoring
from sandboxes.screening.findings import Ability, Found, Level, Report, Threat
from sandboxes.screening.package import Facts
from tests.sandboxes.index.conftest import Index, database_url, path_of
from tests.sandboxes.index.screening.conftest import jobs, verdict
from tests.sandboxes.index.upstream_server import UpstreamServer
from tests.sandboxes.index.wheels import Package, make_wheel

HIGH = Found("test.high", Ability.NETWORK, Threat.HIGH, "It connects.", "demo.py", 3)
FACTS = Facts("demo-1.0-py3-none-any.whl", project="demo", version="1.0")
SHA = "a" * 64
SCALE = "INSERT INTO screening_scale (id, points, note, warn, hold, at) VALUES (1, %(points)s, 5, 10, %(hold)s, now())"

pytestmark = pytest.mark.usefixtures("clear_screening")


@pytest.fixture
def floor() -> dict[str, Any]:
    return {"screened": False}


@pytest.fixture
async def database(index: Index) -> AsyncIterator[Database]:
    made = Database(database_url())
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def walk(index: Index, database: Database) -> AsyncIterator[Callable[..., Again]]:
    """A walk by a place that goes by such patterns."""
    material = Material(Folder(index.folder), Scratch(index.folder / "screening"))

    def made(rules: str = "", place: str = "here") -> Again:
        return Again(database, Jobs(database), material, cast("Rules", Place(rules, place)), version=2)

    yield made
    await index.rows("DELETE FROM screening_rules")


@dataclass
class Place:
    """What a walk asks of `Rules`."""

    digest: str
    place: str
    known: bool = True


@pytest.fixture
def again(walk: Callable[..., Again]) -> Again:
    return walk()


async def _place(index: Index, name: str, digest: str, *, changed: int = 0, seen: int = 0) -> None:
    """One that has had these rules for `changed` hours, and was heard of `seen` minutes ago."""
    await index.rows(
        "INSERT INTO screening_rules (place, digest, changed_at, seen_at, folder, ours, added, problems)"
        " VALUES (%(name)s, %(digest)s, now() - make_interval(hours => %(changed)s),"
        " now() - make_interval(mins => %(seen)s), '', 1, 0, '[]')",
        name=name, digest=digest, changed=changed, seen=seen,
    )  # fmt: skip


async def _scale(index: Index, hold: int) -> None:
    await index.rows("DELETE FROM screening_scale")
    points = json.dumps(scoring.points_as_json(scoring.DEFAULT))
    await index.rows(SCALE, points=points, hold=hold)


async def _screened(
    index: Index, package: Package, *, by: int = 1, age: int = 0, version: str = "1.0", rules: str = ""
) -> None:
    await index.rows(
        "INSERT INTO screening_verdict (sha256, state, reason, at, ecosystem, project, version, filename, scanned_by,"
        " rules)"
        " VALUES (%(sha256)s, 'passed', '', %(at)s, 'pypi', 'demo', %(version)s, %(filename)s, %(by)s, %(rules)s)",
        sha256=package.sha256, at=datetime.now(UTC) - timedelta(hours=age), version=version,
        filename=package.filename, by=by, rules=rules,
    )  # fmt: skip


async def test_another_scale_counts_anew_what_was_found(index: Index, database: Database) -> None:
    verdicts = Verdicts(database)
    assert await verdicts.write(SHA, FACTS, Report((HIGH,), version=1), NOTHING) is Level.WARN
    assert await verdicts.rescale() is False
    before = await verdict(index, SHA)
    await _scale(index, hold=20)
    assert await verdicts.rescale() is True
    after = await verdict(index, SHA)
    assert (before["state"], after["state"], after["level"]) == ("passed", "held", "hold")
    assert (after["reason"], after["at"]) == ("It connects (demo.py:3)", before["at"])
    assert await verdicts.rescale() is False
    await index.rows("DELETE FROM screening_scale")
    while await verdicts.rescale():
        pass
    last = await verdict(index, SHA)
    assert (last["state"], last["reason"], last["level"]) == ("passed", "", "warn")


async def test_a_scale_does_not_undo_what_a_person_decided_or_what_cannot_be_read(
    index: Index, database: Database
) -> None:
    verdicts = Verdicts(database)
    await verdicts.write(SHA, FACTS, Report((HIGH,), version=1), NOTHING)
    await verdicts.write("b" * 64, FACTS, Report(broken="it is a bomb", version=1), NOTHING)
    await index.rows(
        "UPDATE screening_verdict SET state = 'blocked', reason = 'no', decision = 'blocked' WHERE sha256 = %(sha256)s",
        sha256=SHA,
    )
    await _scale(index, hold=10_000)
    while await verdicts.rescale():
        pass
    decided, broken = await verdict(index, SHA), await verdict(index, "b" * 64)
    assert (decided["state"], decided["reason"], decided["level"]) == ("blocked", "no", "warn")
    assert (broken["state"], broken["reason"], broken["level"]) == ("held", "it is a bomb", "hold")


async def test_findings_that_nobody_understands_any_more_keep_their_level(
    index: Index, database: Database
) -> None:
    verdicts = Verdicts(database)
    await verdicts.write(SHA, FACTS, Report((HIGH,), version=1), NOTHING)
    await index.rows("UPDATE screening_verdict SET findings = '[{\"rule\": 1}]'")
    await _scale(index, hold=20)
    while await verdicts.rescale():
        pass
    assert (await verdict(index, SHA))["level"] == "warn"


async def test_a_scale_that_cannot_be_read_is_none(index: Index, database: Database) -> None:
    await index.rows(SCALE, points="{}", hold=20)
    assert (await Verdicts(database).standard()).scale == scoring.DEFAULT


async def test_older_rules_are_followed_by_newer_ones_newest_and_most_used_first(
    index: Index, upstream: UpstreamServer, again: Again, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = [make_wheel("demo", f"{number}.0") for number in range(1, 4)]
    upstream.add("demo", *packages)
    for number, each in enumerate(packages):
        assert (await index.ask(path_of(each))).status == 200
        await _screened(index, each, age=number, version=f"{number + 1}.0")
    gone = make_wheel("demo", "9.0")
    await _screened(index, gone, version="9.0")
    await index.rows(
        "UPDATE usage_install SET version = '?' WHERE filename <> %(used)s", used=packages[1].filename
    )
    assert await again.some() == 3
    waiting = await Jobs(index.database).waiting(urgent=False, passed_over=())
    assert waiting[0].sha256 == packages[1].sha256
    made = {job["sha256"]: job for job in await jobs(index)}
    assert set(made) == {each.sha256 for each in packages}  # 9.0 is not here
    assert {(job["urgent"], job["attempts"]) for job in made.values()} == {(False, 0)}
    assert made[packages[2].sha256]["facts"]["former_version"] == "2.0"
    assert await again.some() == 0  # until the next walk


async def test_what_the_newest_rules_scanned_is_left_alone(index: Index, demo: Package, again: Again) -> None:
    assert (await index.ask(path_of(demo))).status == 200
    await _screened(index, demo, by=2)
    assert await again.some() == 0
    assert await jobs(index) == []


async def test_what_is_screened_again_is_given_meanwhile(index: Index, demo: Package, again: Again) -> None:
    assert (await index.ask(path_of(demo))).status == 200
    await _screened(index, demo)
    assert await again.some() == 1
    await index.rows("UPDATE index_policysetting SET screened = true")
    assert (await index.ask(path_of(demo))).status == 200


async def test_the_newest_come_first(index: Index, upstream: UpstreamServer, again: Again) -> None:
    new, old = make_wheel("demo", "2.0"), make_wheel("demo", "1.0")
    upstream.add("demo", new, old)
    for each in (new, old):
        assert (await index.ask(path_of(each))).status == 200
    await _screened(index, old, age=100)
    for number in range(49):  # of a walk's first step, and not here
        await _screened(index, make_wheel("demo", f"3.{number}"), age=1 + number)
    await _screened(index, new)
    assert await again.some() == 1
    assert [job["sha256"] for job in await jobs(index)] == [new.sha256]
    assert await again.some() == 1
    assert {job["sha256"] for job in await jobs(index)} == {new.sha256, old.sha256}


async def test_what_was_scanned_with_other_patterns_is_screened_again(
    index: Index, demo: Package, walk: Callable[..., Again]
) -> None:
    assert (await index.ask(path_of(demo))).status == 200
    await _screened(index, demo, by=2, rules="old")
    await _place(index, "here", "old")
    place = Place("old", "here")
    again = walk()
    again._rules = cast("Rules", place)
    assert await again.some() == 0
    place.digest = "new"  # in the middle of a walk's pause
    await index.rows("UPDATE screening_rules SET digest = 'new'")
    assert await again.some() == 1
    place.known = False
    await index.rows("DELETE FROM screening_job")
    assert await walk("new").some() == 1
    again._from = 0.0
    assert await again.some() == 0  # nobody could know that these are newer


@pytest.mark.parametrize(
    ("changed", "seen", "scanned_again"),
    [
        (1, 0, 0),  # the other place's came later, and it lives: they count
        (3, 0, 1),  # ours came later
        (2, 0, 0),  # at the same moment: one of the two gives way
        (1, 11, 1),  # nobody heard of that place for a while
    ],
)
async def test_places_with_different_patterns_do_not_undo_each_other(
    index: Index, demo: Package, walk: Callable[..., Again], changed: int, seen: int, scanned_again: int
) -> None:
    assert (await index.ask(path_of(demo))).status == 200
    await _screened(index, demo, by=2, rules="theirs")
    await _place(index, "here", "ours", changed=2)
    await _place(index, "there", "theirs", changed=changed, seen=seen)
    await index.rows(
        "UPDATE screening_rules SET changed_at = date_trunc('hour', changed_at + interval '30 minutes')"
    )
    assert await walk("ours").some() == scanned_again


async def test_what_a_newer_version_scanned_is_left_alone(
    index: Index, demo: Package, walk: Callable[..., Again]
) -> None:
    assert (await index.ask(path_of(demo))).status == 200
    await _screened(index, demo, by=3, rules="theirs")
    await _place(index, "here", "ours")
    assert await walk("ours").some() == 0


async def test_what_was_reopened_is_held_until_somebody_decides(index: Index, database: Database) -> None:
    verdicts = Verdicts(database)
    await _scale(index, hold=20)
    await verdicts.write(SHA, FACTS, Report((HIGH,), version=1), NOTHING)
    await index.rows("UPDATE screening_verdict SET reopened = true")
    await _scale(index, hold=10_000)
    while await verdicts.rescale():
        pass
    found = await verdict(index, SHA)
    assert (found["state"], found["level"]) == ("held", "warn")
    await verdicts.write(SHA, FACTS, Report((), version=2), NOTHING)
    found = await verdict(index, SHA)
    assert (found["state"], found["level"]) == ("held", "clean")


def test_the_reason_is_the_gravest_finding() -> None:
    low = Found("test.low", Ability.FILES, Threat.LOW, "It writes.")
    assert reason_of([low, HIGH], "") == "It connects (demo.py:3); and 1 more"
    assert reason_of([low], "") == "It writes"
    assert reason_of([low], "it is a bomb") == "it is a bomb"
