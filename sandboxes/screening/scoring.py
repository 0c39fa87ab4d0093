"""What findings come to: points by ability and threat, and from how many on a file is held.

Of each ability only the gravest finding counts: a hundred files that start programs are no graver than one.
Different abilities add up, because reading secrets *and* connecting is what makes a theft. So a further
finding never lowers a level, and none of them blocks a file for good: a hold waits for a person, and only
exact matches (an advisory, a deny list) say no. Pure; an admin may edit the numbers.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sandboxes.errors import InvalidInputError
from sandboxes.screening.findings import Ability, Found, Level, Threat

MOST: Final = 10_000  # points of one cell, and of a threshold

type Points = Mapping[Ability, Mapping[Threat, int]]


class ScaleError(InvalidInputError, ValueError):
    """A scale that makes no sense; the sentence says where."""


@dataclass(frozen=True, slots=True)
class Scale:
    points: Points
    note: int  # points from which on a file is noted
    warn: int
    hold: int


def _row(low: int, medium: int, high: int, critical: int) -> Mapping[Threat, int]:
    return {Threat.LOW: low, Threat.MEDIUM: medium, Threat.HIGH: high, Threat.CRITICAL: critical}


_COMMON: Final = _row(1, 5, 25, 100)

# How it was chosen stands in docs/screening.md ("The scale").
DEFAULT: Final = Scale(
    points={
        Ability.START: _COMMON,
        Ability.INSTALL: _COMMON,
        Ability.PROCESS: _COMMON,
        Ability.NETWORK: _COMMON,
        Ability.EXECUTE: _COMMON,
        Ability.SECRETS: _COMMON,
        Ability.FILES: _COMMON,
        Ability.NATIVE: _row(0, 3, 25, 100),  # half of the useful projects bring machine code
        Ability.IDENTITY: _COMMON,
        Ability.CONTENT: _COMMON,
    },
    note=5,
    warn=25,
    hold=100,
)


def check(scale: Scale) -> None:
    """Raises `ScaleError` for a table with holes, for points below zero, and for thresholds out of order."""
    for ability in Ability:
        row = scale.points.get(ability, {})
        for threat in Threat:
            if threat not in row:
                raise ScaleError(f"Points are missing for {ability}, {threat}.")
            _check_number(f"The points for {ability}, {threat}", row[threat], least=0)
        if sorted(row[threat] for threat in Threat) != [row[threat] for threat in Threat]:
            raise ScaleError(f"The points for {ability} must not fall as the threat grows.")
    for name, threshold in (("note", scale.note), ("warn", scale.warn), ("hold", scale.hold)):
        # From 0 on everything would be noted, or held, clean files too.
        _check_number(f"The threshold of {name}", threshold, least=1)
    if not scale.note <= scale.warn <= scale.hold:
        raise ScaleError("The thresholds must rise: note, warn, hold.")


def _check_number(what: str, number: object, *, least: int) -> None:
    if isinstance(number, bool) or not isinstance(number, int):
        raise ScaleError(f"{what} must be a whole number.")
    if not least <= number <= MOST:
        raise ScaleError(f"{what} must lie between {least} and {MOST}.")


def level_of(findings: Iterable[Found], scale: Scale, *, broken: str = "") -> tuple[Level, int]:
    """The level and its points. `broken`: why it could not be read to its end, which holds it."""
    gravest: dict[Ability, int] = {}
    for found in findings:
        points = scale.points[found.ability][found.threat]
        gravest[found.ability] = max(points, gravest.get(found.ability, 0))
    score = sum(gravest.values())
    return (Level.HOLD if broken else _level(score, scale)), score


def _level(score: int, scale: Scale) -> Level:
    if score >= scale.hold:
        return Level.HOLD
    if score >= scale.warn:
        return Level.WARN
    return Level.NOTE if score >= scale.note else Level.CLEAN


def points_as_json(scale: Scale) -> dict[str, dict[str, int]]:
    """As `models.Scale.points` has them."""
    return {
        str(ability): {str(threat): points for threat, points in row.items()}
        for ability, row in scale.points.items()
    }


def from_json(points: object, *, note: Any, warn: Any, hold: Any) -> Scale:
    """A scale as a row or a form has it, checked. Raises `ScaleError`."""
    if not isinstance(points, dict) or not all(isinstance(row, dict) for row in points.values()):
        raise ScaleError("The points must be a table: abilities, and for each its threats.")
    read = {_ability(name): {_threat(cell): row[cell] for cell in row} for name, row in points.items()}
    scale = Scale(points=read, note=note, warn=warn, hold=hold)
    check(scale)
    return scale


def _ability(name: object) -> Ability:
    try:
        return Ability(str(name))
    except ValueError as error:
        raise ScaleError(f"There is no ability {str(name)[:50]!r}.") from error


def _threat(name: object) -> Threat:
    try:
        return Threat(str(name))
    except ValueError as error:
        raise ScaleError(f"There is no threat {str(name)[:50]!r}.") from error
