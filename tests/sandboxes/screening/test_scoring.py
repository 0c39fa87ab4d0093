"""What findings come to: tables on both sides of each threshold, and what no scale may do."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandboxes.errors import InvalidInputError
from sandboxes.screening.findings import Ability, Found, Level, Threat
from sandboxes.screening.scoring import (
    DEFAULT,
    Points,
    Scale,
    ScaleError,
    check,
    from_json,
    level_of,
    points_as_json,
)
from sandboxes.screening.words import Screening

LOW, MEDIUM, HIGH, CRITICAL = Threat
LEVELS = list(Level)


def found(ability: Ability, threat: Threat, rule: str = "") -> Found:
    return Found(rule or f"test.{ability}", ability, threat, "It is a test.")


TABLE: list[tuple[str, list[Found], Level]] = [
    ("nothing", [], Level.CLEAN),
    ("what many good packages have", [found(Ability.PROCESS, LOW)], Level.CLEAN),
    ("many of these", [found(ability, LOW) for ability in list(Ability)[:4]], Level.CLEAN),
    ("all of these", [found(ability, LOW) for ability in Ability], Level.NOTE),
    ("one that is worth a note", [found(Ability.NETWORK, MEDIUM)], Level.NOTE),
    ("machine code alone", [found(Ability.NATIVE, MEDIUM)], Level.CLEAN),
    ("four of these", [found(ability, MEDIUM) for ability in list(Ability)[:4]], Level.NOTE),
    ("five of these", [found(ability, MEDIUM) for ability in list(Ability)[:5]], Level.WARN),
    ("all of these", [found(ability, MEDIUM) for ability in Ability], Level.WARN),
    ("one that is rare", [found(Ability.SECRETS, HIGH)], Level.WARN),
    (
        "three",
        [found(ability, HIGH) for ability in (Ability.SECRETS, Ability.NETWORK, Ability.FILES)],
        Level.WARN,
    ),
    (
        "four abilities of an attack",
        [
            found(ability, HIGH)
            for ability in (Ability.START, Ability.NETWORK, Ability.EXECUTE, Ability.SECRETS)
        ],
        Level.HOLD,
    ),
    ("hardly ever anything else", [found(Ability.EXECUTE, CRITICAL)], Level.HOLD),
    ("the same rule a hundred times", [found(Ability.FILES, HIGH)] * 100, Level.WARN),
    (
        "many rules of one ability",
        [found(Ability.FILES, HIGH, f"test.{number}") for number in range(100)],
        Level.WARN,
    ),
]


@pytest.mark.parametrize(("findings", "level"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_levels(findings: list[Found], level: Level) -> None:
    assert level_of(findings, DEFAULT)[0] is level


def test_the_gravest_of_a_rule_counts_once_and_abilities_add_up() -> None:
    rows = [found(Ability.FILES, LOW), found(Ability.FILES, MEDIUM), found(Ability.FILES, LOW)]
    assert level_of(rows, DEFAULT)[1] == DEFAULT.points[Ability.FILES][MEDIUM]
    rows.append(found(Ability.NETWORK, HIGH))
    assert level_of(rows, DEFAULT)[1] == 5 + 25


def test_what_cannot_be_read_is_held_and_keeps_its_points() -> None:
    assert level_of([], DEFAULT, broken="it is a bomb") == (Level.HOLD, 0)
    assert level_of([found(Ability.FILES, HIGH)], DEFAULT, broken="it is a bomb") == (Level.HOLD, 25)


@pytest.mark.parametrize(
    ("points", "level"),
    [(0, "clean"), (4, "clean"), (5, "note"), (24, "note"), (25, "warn"), (99, "warn"), (100, "hold")],
)
def test_thresholds(points: int, level: str) -> None:
    scale = with_cell(DEFAULT, Ability.FILES, HIGH, points)
    assert level_of([found(Ability.FILES, HIGH)], scale) == (Level(level), points)


def with_cell(scale: Scale, ability: Ability, threat: Threat, points: Any) -> Scale:
    return replace(scale, points={**scale.points, ability: {**scale.points[ability], threat: points}})


NOTHING: Any = None


def without(scale: Scale, ability: Ability, threat: Threat) -> Points:
    row = {each: points for each, points in scale.points[ability].items() if each is not threat}
    return {**scale.points, ability: row}


NONSENSE: list[tuple[str, Scale, str]] = [
    ("no threshold", replace(DEFAULT, hold=NOTHING), "threshold of hold must be a whole number"),
    ("below zero", with_cell(DEFAULT, Ability.FILES, LOW, -1), "points for files, low must lie between 0"),
    ("half a point", with_cell(DEFAULT, Ability.FILES, LOW, 0.5), "files, low must be a whole number"),
    ("no number", with_cell(DEFAULT, Ability.FILES, LOW, "1"), "whole number"),
    ("yes", with_cell(DEFAULT, Ability.FILES, LOW, True), "whole number"),
    ("endless", with_cell(DEFAULT, Ability.FILES, CRITICAL, 10_001), "between 0 and 10000"),
    ("falling", with_cell(DEFAULT, Ability.FILES, MEDIUM, 30), "points for files must not fall"),
    ("a hole", replace(DEFAULT, points=without(DEFAULT, Ability.START, HIGH)), "missing for start, high"),
    ("no ability", replace(DEFAULT, points={}), "missing for start, low"),
    ("thresholds out of order", replace(DEFAULT, warn=4), "must rise"),
    ("hold below warn", replace(DEFAULT, hold=24), "must rise"),
    ("everything noted", replace(DEFAULT, note=0), "threshold of note must lie between 1"),
]


@pytest.mark.parametrize(("scale", "said"), [row[1:] for row in NONSENSE], ids=[row[0] for row in NONSENSE])
def test_nonsense_is_refused_in_a_sentence(scale: Scale, said: str) -> None:
    with pytest.raises(ScaleError, match=said) as refused:
        check(scale)
    assert isinstance(refused.value, InvalidInputError)
    assert isinstance(refused.value, ValueError)
    assert str(refused.value).endswith(".")


def test_the_default_makes_sense_and_survives_json() -> None:
    check(DEFAULT)
    assert from_json(points_as_json(DEFAULT), note=5, warn=25, hold=100) == DEFAULT


@pytest.mark.parametrize(
    "points",
    [None, [], "x", {"files": 1}, {"flying": {}}, {"files": {"mild": 1}}, {}],
    ids=str,
)
def test_a_row_that_makes_no_sense_is_refused(points: object) -> None:
    with pytest.raises(ScaleError):
        from_json(points, note=1, warn=2, hold=3)


findings = st.lists(
    st.builds(found, st.sampled_from(Ability), st.sampled_from(Threat), st.sampled_from("abc"))
)


@st.composite
def scales(draw: st.DrawFn) -> Scale:
    numbers = st.integers(0, 1000)
    points = {
        ability: dict(zip(Threat, sorted(draw(st.tuples(*[numbers] * 4))), strict=True))
        for ability in Ability
    }
    note, warn, hold = sorted(draw(st.tuples(*[st.integers(1, 5000)] * 3)))
    return Scale(points, note, warn, hold)


@given(findings, findings, scales(), st.sampled_from(["", "it is a bomb"]))
def test_more_findings_never_lower_the_level(
    some: list[Found], more: list[Found], scale: Scale, broken: str
) -> None:
    check(scale)
    level, score = level_of(some, scale, broken=broken)
    higher, points = level_of([*more, *some], scale, broken=broken)
    assert LEVELS.index(higher) >= LEVELS.index(level)
    assert points >= score


@given(findings, scales())
def test_what_cannot_be_read_is_held_by_any_scale(some: list[Found], scale: Scale) -> None:
    assert level_of(some, scale, broken="cut off")[0] is Level.HOLD


@given(findings, scales())
def test_no_findings_block_for_good(some: list[Found], scale: Scale) -> None:
    """A hold is the most that they come to: only exact matches block."""
    level, _ = level_of(some, scale)
    assert LEVELS.index(level) <= LEVELS.index(Level.HOLD)
    assert str(Screening.BLOCKED) not in map(str, Level)


@given(scales())
def test_a_scale_survives_json(scale: Scale) -> None:
    assert from_json(points_as_json(scale), note=scale.note, warn=scale.warn, hold=scale.hold) == scale
