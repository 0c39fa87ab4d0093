"""Which versions an advisory affects: tables for both ecosystems, and properties against OSV's algorithm."""

from dataclasses import replace
from typing import Any

import pytest
import semver
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packaging.version import Version

from sandboxes.screening.matching import ProjectAdvisories, Statement
from sandboxes.screening.versions import spellings
from sandboxes.screening.words import Ecosystem, Known, Severity

PYPI, NPM = Ecosystem.PYPI, Ecosystem.NPM
type Range = list[tuple[str, str]]
ZERO = ("introduced", "0")


def statement(
    identity: str = "X-1", *ranges: Range, versions: tuple[str, ...] = (), **more: Any
) -> Statement:
    plain = Statement(identity, malicious=False, severity=None, aliases=(), versions=versions, ranges=ranges)
    return replace(plain, **more)


def ids(found: tuple[Known, ...]) -> list[str]:
    return [known.id for known in found]


# Ranges and explicit versions of one record; versions that it affects; versions that it does not.
TABLE: list[tuple[Ecosystem, list[Range], tuple[str, ...], str, str]] = [
    (PYPI, [[ZERO, ("fixed", "2.0")]], (), "0 0.dev0 1.9.9 2.0rc1 2.0.dev1", "2.0 2 2.0.0 2.0.post1 1!0.1"),
    (PYPI, [[ZERO]], (), "0 0.0.1.dev1 99 1!0", ""),
    (PYPI, [[("introduced", "1.0"), ("fixed", "1.5")]], (), "1.0 1.4.9 1+cpu 1.5a1", "1rc1 1.5 1.5+cpu"),
    (PYPI, [[("introduced", "1"), ("last_affected", "2")]], (), "1 2 2.0.0 2+local", "2.0.post1 2.0.1 0.9"),
    (PYPI, [[ZERO, ("limit", "3")]], (), "2.9 3rc1", "3 4"),
    (PYPI, [[ZERO, ("limit", "*")]], (), "1 1000", ""),
    (PYPI, [[ZERO, ("limit", "1"), ("limit", "3")]], (), "2", "3"),
    (PYPI, [[("fixed", "3.1"), ("introduced", "3.0"), ZERO, ("fixed", "2.2")]], (), "1 3.0", "2.2 2.9 3.1"),
    (PYPI, [[ZERO, ("fixed", "1")], [("introduced", "2"), ("fixed", "3")]], (), "0.9 2.5", "1 1.5 3"),
    (PYPI, [[("introduced", "1"), ("fixed", "1")]], (), "", "0.9 1 1.1"),
    (PYPI, [], ("1", "2b1"), "1.0 1.0.0 v1 1.0+cpu 2.0-beta.1", "2 1.1 1.post1"),
    (PYPI, [[("introduced", "2")]], ("1",), "1 2 3", "1.5 0.9"),
    (PYPI, [[ZERO, ("fixed", "not a version")]], ("1",), "1", "0.9 2 99"),
    (PYPI, [[ZERO, ("fixed", "not a version")]], (), "0 1 99", ""),
    (PYPI, [[ZERO, ("fixed", "1" * 5000)]], (), "0 1 99", ""),
    (PYPI, [[("introduced", "1"), ("fixed", "2")]], ("odd",), "odd whatever", "3"),
    (PYPI, [], ("odd",), "odd", "whatever"),
    (PYPI, [[ZERO, ("fixed", "2.0+patched")]], (), "1 2.0 2.0+other 2.0+patched", "2.0.1"),
    (PYPI, [[("introduced", "2.0+bad")]], (), "2.0+bad 2.0+good 2.0 3", "1.9"),
    (NPM, [[ZERO, ("fixed", "1.2.3")]], (), "0.0.0 0.0.0-0 1.2.2 1.2.3-rc.1", "1.2.3 1.2.3+build 1.10.0"),
    (NPM, [[("introduced", "1.2.0"), ("fixed", "1.10.0")]], (), "1.2.0 1.9.9", "1.1.9 1.2.0-beta 1.10.0"),
    (NPM, [[("introduced", "1.0.0-alpha.2"), ("last_affected", "1.0.0-alpha.10")]], (),
     "1.0.0-alpha.2 1.0.0-alpha.9 1.0.0-alpha.10", "1.0.0-alpha.1 1.0.0-alpha.11 1.0.0-alpha.beta 1.0.0"),
    (NPM, [], ("1.0.0",), "1.0.0 1.0.0+build", "1.0.1 1.0.0-0"),
    (NPM, [[ZERO, ("fixed", "2")]], ("1.0.0",), "1.0.0", "1.0.1 3.0.0"),  # "2" is no version of npm's
]  # fmt: skip


@pytest.mark.parametrize(("ecosystem", "ranges", "listed", "affected", "spared"), TABLE)
def test_table(
    ecosystem: Ecosystem, ranges: list[Range], listed: tuple[str, ...], affected: str, spared: str
) -> None:
    against = ProjectAdvisories(ecosystem, [statement("X-1", *ranges, versions=listed)])
    assert [version for version in affected.split() if not against.of(version)] == []
    assert [version for version in spared.split() if against.of(version)] == []


def test_several_by_id_each_once() -> None:
    against = ProjectAdvisories(
        PYPI,
        [
            statement("Y-1", [ZERO, ("fixed", "2")], versions=("1",)),
            statement("Y-1", [("introduced", "5")]),
            statement("X-1", [ZERO, ("fixed", "3")]),
        ],
    )
    assert ids(against.of("1")) == ["X-1", "Y-1"]
    assert ids(against.of("2")) == ["X-1"]
    assert ids(against.of("5")) == ["Y-1"]
    assert against.of("4") == ()


def malware(*ranges: Range, versions: tuple[str, ...] = ()) -> ProjectAdvisories:
    return ProjectAdvisories(PYPI, [statement("MAL-1", *ranges, versions=versions, malicious=True)])


def test_malware_is_sure_where_it_is_listed_or_lists_nothing() -> None:
    listing = malware([ZERO], versions=("1", "2"))
    assert [known.confirmed for known in listing.of("1.0")] == [True]
    assert [known.confirmed for known in listing.of("3")] == [False]
    assert all(known.malicious for known in (*listing.of("1.0"), *listing.of("3")))
    assert [known.confirmed for known in malware([ZERO]).of("3")] == [True]


def test_a_vulnerability_is_sure_by_its_range() -> None:
    against = ProjectAdvisories(PYPI, [statement("X-1", [ZERO], versions=("1",))])
    assert [known.confirmed for known in against.of("3")] == [True]


def test_unrated_takes_the_rating_of_the_same_vulnerability_elsewhere() -> None:
    against = ProjectAdvisories(
        PYPI,
        [
            statement("PYSEC-1", [ZERO], aliases=("CVE-1",)),
            statement("GHSA-1", [ZERO], aliases=("CVE-1",), severity=Severity.LOW),
            statement("GHSA-2", [ZERO], aliases=("PYSEC-1",), severity=Severity.MEDIUM),
            statement("PYSEC-9", [ZERO], aliases=("CVE-9",)),
        ],
    )
    assert {known.id: known.severity for known in against.of("1")} == {
        "PYSEC-1": Severity.MEDIUM,
        "GHSA-1": Severity.LOW,
        "GHSA-2": Severity.MEDIUM,
        "PYSEC-9": Severity.HIGH,  # nobody rated it
    }


def test_aliases_in_a_circle() -> None:
    against = ProjectAdvisories(
        PYPI,
        [
            statement("X-1", [ZERO, ("fixed", "2")], aliases=("X-2", "X-1")),
            statement("X-2", [ZERO, ("fixed", "2")], aliases=("X-1",), severity=Severity.LOW),
        ],
    )
    assert {known.severity for known in against.of("1")} == {Severity.LOW}
    assert ids(against.fixed_by("2", "1")) == ["X-1", "X-2"]


FIXES: list[tuple[str, list[Statement], str, str, list[str]]] = [
    ("fixed in it", [statement("X-1", [ZERO, ("fixed", "2")])], "2", "1", ["X-1"]),
    ("fixed before it", [statement("X-1", [ZERO, ("fixed", "1.5")])], "2", "1", []),
    ("not affected before", [statement("X-1", [ZERO, ("fixed", "1")])], "2", "1", []),
    ("still affected", [statement("X-1", [ZERO, ("fixed", "3")])], "2", "1", []),
    ("affected again", [statement("X-1", [ZERO, ("fixed", "2"), ("introduced", "2.1")])], "2.1", "1", []),
    ("a step back", [statement("X-1", [("introduced", "1"), ("fixed", "2")])], "0.9", "1", []),
    ("nobody said it is fixed: listed one by one", [statement("X-1", versions=("1",))], "2", "1", []),
    (
        "nobody said it is fixed: last known to be affected",
        [statement("X-1", [ZERO, ("last_affected", "1")])],
        "2",
        "1",
        [],
    ),
    (
        "listed, and fixed by a range",
        [statement("X-1", [ZERO, ("fixed", "2")], versions=("1",))],
        "2",
        "1",
        ["X-1"],
    ),
    ("malware is not mended", [statement("X-1", [ZERO, ("fixed", "2")], malicious=True)], "2", "1", []),
    (
        "two, and one mended",
        [statement("X-1", [ZERO, ("fixed", "2")]), statement("Y-1", [ZERO])],
        "2",
        "1",
        ["X-1"],
    ),
    (
        "another record of it still stands",
        [
            statement("X-1", [ZERO, ("fixed", "2")], aliases=("CVE-1",)),
            statement("Y-1", [ZERO], aliases=("CVE-1",)),
        ],
        "2",
        "1",
        [],
    ),
    ("a version that cannot be read", [statement("X-1", [ZERO, ("fixed", "2")])], "odd", "1", []),
    ("after one that cannot be read", [statement("X-1", [ZERO, ("fixed", "2")])], "2", "odd", []),
]


@pytest.mark.parametrize(
    ("statements", "version", "previous", "expected"),
    [case[1:] for case in FIXES],
    ids=[case[0] for case in FIXES],
)
def test_fixed_by(statements: list[Statement], version: str, previous: str, expected: list[str]) -> None:
    assert ids(ProjectAdvisories(PYPI, statements).fixed_by(version, previous)) == expected


def test_answers_are_remembered_within_bounds() -> None:
    against = ProjectAdvisories(PYPI, [statement("X-1", [ZERO, ("fixed", "3000")])])
    found = [len(against.of(str(number))) for number in range(10_000)]
    assert found == [1] * 3000 + [0] * 7000
    assert len(against._answers) <= 4096
    assert against.of("1") is against.of("1")


# Against the schema's own words, without places, bisection or memory.


def naively_affected(ecosystem: Ecosystem, one: Statement, version: str) -> bool:
    def key(text: str) -> Any:
        return Version(text) if ecosystem is PYPI else semver.Version.parse(text)

    if any(key(listed) == key(version) for listed in one.versions):
        return True
    return any(_in_range(key, list(events), key(version)) for events in one.ranges)


def _in_range(key: Any, events: list[Any], version: Any) -> bool:
    limits = [at for kind, at in events if kind == "limit"]
    if limits and not any(at == "*" or version < key(at) for at in limits):
        return False

    def zero(kind: str, at: str) -> bool:
        return kind == "introduced" and at == "0"

    first = [event for event in events if zero(*event)]
    rest = sorted(
        (event for event in events if not zero(*event) and event[1] != "*"), key=lambda event: key(event[1])
    )
    affected = False
    for kind, at in first + rest:
        if kind == "introduced" and (at == "0" or version >= key(at)):
            affected = True
        elif (kind == "fixed" and version >= key(at)) or (kind == "last_affected" and version > key(at)):
            affected = False
    return affected


# On a busy machine it is slow to make worlds, which is no fault of theirs.
calmly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

NUMBER = st.integers(0, 3).map(str)
PEP440 = st.builds(
    lambda parts, suffix: ".".join(parts) + suffix,
    st.lists(NUMBER, min_size=1, max_size=3),
    st.sampled_from(["", "", "a1", "rc2", ".post1", ".dev3"]),
)
SEMVER = st.builds(
    lambda parts, suffix: ".".join(parts) + suffix,
    st.lists(NUMBER, min_size=3, max_size=3),
    st.sampled_from(["", "", "-alpha", "-alpha.2", "-alpha.10", "-1"]),
)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Ecosystem, list[Statement], list[str]]:
    ecosystem = draw(st.sampled_from([PYPI, NPM]))
    versions = PEP440 if ecosystem is PYPI else SEMVER
    events = st.tuples(
        st.sampled_from(["introduced", "fixed", "last_affected", "limit"]), versions
    ) | st.sampled_from([ZERO, ("limit", "*")])
    ranges = st.lists(st.lists(events, max_size=5), max_size=3)
    statements = [
        statement(f"X-{number}", *draw(ranges), versions=tuple(draw(st.lists(versions, max_size=3))))
        for number in range(draw(st.integers(1, 4)))
    ]
    return ecosystem, statements, draw(st.lists(versions, min_size=1, max_size=8))


def stored(ecosystem: Ecosystem, one: Statement) -> Statement:
    """As it is read from a record: lists in one spelling."""
    return replace(one, versions=tuple(spellings(ecosystem, version)[0] for version in one.versions))


@calmly
@given(worlds())
def test_agrees_with_the_schema(world: tuple[Ecosystem, list[Statement], list[str]]) -> None:
    ecosystem, statements, asked = world
    against = ProjectAdvisories(ecosystem, [stored(ecosystem, one) for one in statements])
    for version in asked:
        expected = [one.id for one in statements if naively_affected(ecosystem, one, version)]
        assert ids(against.of(version)) == expected


@calmly
@given(worlds())
def test_what_is_fixed_was_affected_and_is_not_any_more(
    world: tuple[Ecosystem, list[Statement], list[str]],
) -> None:
    ecosystem, statements, asked = world
    against = ProjectAdvisories(ecosystem, [stored(ecosystem, one) for one in statements])
    for previous in asked:
        for version in asked:
            fixed = set(ids(against.fixed_by(version, previous)))
            assert fixed <= set(ids(against.of(previous)))
            assert fixed.isdisjoint(ids(against.of(version)))


@calmly
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(["introduced", "fixed", "limit"]), st.text(max_size=8))),
        max_size=4,
    ),
    st.text(max_size=12),
)
def test_nothing_that_is_written_makes_it_fail(ranges: list[Range], version: str) -> None:
    for ecosystem in Ecosystem:
        ProjectAdvisories(ecosystem, [statement("X-1", *ranges)]).of(version)
