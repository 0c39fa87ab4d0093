"""Which advisories affect a version of a project. Pure, and fast enough for each file of a large page.

A range's answer depends only on where a version stands among the bounds that the project's
advisories name. So all bounds are sorted once, a version's place is found by bisection, and what holds
at a place is worked out once. Places are whole numbers: bound i is at 2i + 1, between bounds
i - 1 and i is 2i, and -1 is before everything ("introduced 0").

What cannot be read:

- A range with a bound that is no version of its ecosystem is not evaluated; the entry's explicit list
  speaks for it. Without such a list it counts for every version: nobody can say which it spares.
- A file's version that cannot be read is in every range, and in a list if it stands there word for word.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from sys import getsizeof
from typing import Final

from sandboxes.screening import versions
from sandboxes.screening.versions import Ordered
from sandboxes.screening.words import UNRATED, Ecosystem, Known, Severity

_START: Final = -1
_REMEMBERED = 4096  # versions' answers, of one project
# Bytes of memory, rounded up.
_NOTHING: Final = 4_000  # without any advisory
_STATED: Final = 3_000  # an advisory
_LISTED: Final = 300  # a version that is named, besides the set of those that name it
_BOUND: Final = 900  # a version that a range begins or ends with
_EVENT: Final = 300
_ANSWER: Final = 600  # what is remembered of a version, or of a place
_TOLD: Final = 8
_IN_RANGE: Final = 64
_EVERYTHING: Final[tuple[tuple[str, int], ...]] = (("introduced", _START),)


@dataclass(frozen=True, slots=True)
class Statement:
    """One row of `Affected`, with what its advisory says."""

    id: str
    malicious: bool
    severity: Severity | None
    aliases: tuple[str, ...]
    versions: Sequence[str]  # in one spelling each
    ranges: Sequence[Sequence[Sequence[str]]]  # of [event, version]


def _weight(one: Statement) -> int:
    """Without the versions: many advisories name the same ones, of which one is kept."""
    aliases = sum(len(alias) + 150 for alias in one.aliases)
    return _STATED + len(one.id) + aliases + _EVENT * sum(map(len, one.ranges))


type _Events = tuple[tuple[str, int], ...]  # (event, place), ascending


class ProjectAdvisories:
    """All that is known against one project. Does not change, but remembers answers."""

    def __init__(self, ecosystem: Ecosystem, statements: Iterable[Statement]) -> None:
        given = list(statements)
        self._ecosystem = ecosystem
        self._known = _merged(given)
        self._names = {one.id: frozenset((one.id, *one.aliases)) for one in given}
        self._listed: dict[str, set[str]] = {}
        self._lists: set[str] = set()
        for one in given:
            for version in one.versions:
                self._listed.setdefault(version, set()).add(one.id)
            if one.versions:
                self._lists.add(one.id)
        self._bounds = _bounds(ecosystem, given)
        self._after = 2 * len(self._bounds) + 2  # a place that no version has
        ranges = [(one.id, events) for one in given for events in self._compiled(one)]
        self._spans = [(*span, one) for one, events in ranges for span in _spans(events, self._after)]
        self._fixes = [(one, place) for one, events in ranges for kind, place in events if kind == "fixed"]
        self._in_range: dict[int | None, frozenset[str]] = {}
        self._answers: dict[str, tuple[Known, ...]] = {}
        self._told = 0  # advisories in all those answers
        listed = sum(_LISTED + len(version) + getsizeof(ids) for version, ids in self._listed.items())
        self._given = sum(map(_weight, given)) + listed + _BOUND * len(self._bounds)

    def of(self, version: str) -> tuple[Known, ...]:
        """Those that affect it, by id."""
        answer = self._answers.get(version)
        if answer is None:
            if len(self._answers) >= _REMEMBERED:
                self._answers.clear()
                self._told = 0
            answer = self._answers[version] = self._find(version)
            self._told += len(answer)
        return answer

    @property
    def weight(self) -> int:
        """Bytes that it takes in memory by now, from above."""
        answers = _ANSWER * len(self._answers) + _TOLD * self._told
        places = sum(_ANSWER + _IN_RANGE * len(ids) for ids in self._in_range.values())
        return _NOTHING + self._given + answers + places

    def fixed_by(self, version: str, previous: str) -> tuple[Known, ...]:
        """Vulnerabilities of `previous` that `version` mends: for the fast lane past the cooldown.

        That a version is not affected does not do, for nobody wrote about it yet: the advisory itself has to
        name `version` as the one that is fixed. Any later one would do for whoever has a stolen account and
        an old advisory. And no other record of the same vulnerability may still speak against it.
        """
        before, after = self._place(previous), self._place(version)
        if before is None or after is None:
            return ()
        still = frozenset[str]().union(*(self._names[known.id] for known in self.of(version)))
        mended = {identity for identity, place in self._fixes if before < place == after}
        return tuple(
            known
            for known in self.of(previous)
            if known.id in mended and not known.malicious and self._names[known.id].isdisjoint(still)
        )

    def _find(self, version: str) -> tuple[Known, ...]:
        listed = {
            identity
            for spelling in versions.spellings(self._ecosystem, version)
            for identity in self._listed.get(spelling, ())
        }
        return tuple(
            self._known[identity] if self._is_sure(identity, listed) else self._unsure(identity)
            for identity in sorted(listed | self._ranged(self._place(version)))
        )

    def _is_sure(self, identity: str, listed: set[str]) -> bool:
        """Malware that lists its versions, hit by its range alone: the name may be another's by now."""
        return not self._known[identity].malicious or identity in listed or identity not in self._lists

    def _unsure(self, identity: str) -> Known:
        return replace(self._known[identity], confirmed=False)

    def _ranged(self, place: int | None) -> frozenset[str]:
        found = self._in_range.get(place)
        if found is None:
            found = frozenset(one for start, end, one in self._spans if place is None or start <= place < end)
            self._in_range[place] = found
        return found

    def _place(self, version: str) -> int | None:
        """Of a file. None: it cannot be read."""
        return self._at(versions.public(self._ecosystem, version))

    def _at(self, version: Ordered | None) -> int | None:
        if version is None:
            return None
        index = bisect_left(self._bounds, version)
        return 2 * index + (index < len(self._bounds) and self._bounds[index] == version)

    def _compiled(self, statement: Statement) -> Iterator[_Events]:
        for events in statement.ranges:
            placed = [(kind, self._bound(kind, version)) for kind, version in events]
            readable = [(kind, place) for kind, place in placed if place is not None]
            if len(readable) == len(placed):
                # Of one version's events the record's own order stays: [introduced 1, fixed 1] is empty.
                yield tuple(sorted(readable, key=lambda event: event[1]))
            elif not statement.versions:
                yield _EVERYTHING

    def _bound(self, kind: str, version: str) -> int | None:
        if kind == "introduced" and version == "0":
            return _START
        if kind == "limit" and version == "*":
            return self._after
        return self._at(_read(self._ecosystem, kind, version))


def _spans(events: _Events, after: int) -> Iterator[tuple[int, int]]:
    """Where it holds: from one place to before another. That changes at a bound or right behind it only."""
    edges = sorted({_START, after, *(place for _, place in events), *(place + 1 for _, place in events)})
    start: int | None = None
    for edge in edges:
        holds = edge < after and _holds(events, edge)
        if holds and start is None:
            start = edge
        elif not holds and start is not None:
            yield start, edge
            start = None


def _holds(events: _Events, place: int) -> bool:
    """OSV's own algorithm (schema, "Evaluation"): the last event that was reached decides."""
    limits = [bound for kind, bound in events if kind == "limit"]
    if limits and all(place >= bound for bound in limits):
        return False
    affected = False
    for kind, bound in events:
        if kind == "introduced" and place >= bound:
            affected = True
        elif (kind == "fixed" and place >= bound) or (kind == "last_affected" and place > bound):
            affected = False
    return affected


def _bounds(ecosystem: Ecosystem, statements: Iterable[Statement]) -> list[Ordered]:
    events = {(kind, version) for one in statements for events in one.ranges for kind, version in events}
    read = sorted(found for event in events if (found := _read(ecosystem, *event)) is not None)
    return [bound for index, bound in enumerate(read) if index == 0 or read[index - 1] != bound]


def _read(ecosystem: Ecosystem, kind: str, version: str) -> Ordered | None:
    """A bound. Should one name a local version, what lies between that and its public part is affected."""
    return (versions.public if kind == "introduced" else versions.read)(ecosystem, version)


def _merged(statements: list[Statement]) -> dict[str, Known]:
    """One for each advisory. Where nobody rated it, another record of the same vulnerability may have."""
    rated: dict[str, Severity] = {}
    for one in statements:
        if one.severity is not None:
            for name in (one.id, *one.aliases):
                rated[name] = max(one.severity, rated.get(name, one.severity))
    return {one.id: Known(one.id, one.malicious, _severity(one, rated)) for one in statements}


def _severity(statement: Statement, rated: dict[str, Severity]) -> Severity:
    if statement.severity is not None:
        return statement.severity
    elsewhere = [rated[name] for name in (statement.id, *statement.aliases) if name in rated]
    return max(elsewhere, default=UNRATED)
