"""Entries of lists: which projects and versions they mean."""

import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from semver import Version as SemVersion

from sandboxes.errors import InvalidInputError
from sandboxes.index.policy.facts import Ecosystem
from sandboxes.index.policy.patterns import parse

PYPI, NPM = Ecosystem.PYPI, Ecosystem.NPM


@pytest.mark.parametrize(
    ("text", "ecosystem", "project", "version", "meant"),
    [
        ("demo", PYPI, "demo", "1.0", True),
        ("demo", PYPI, "demo-x", "1.0", False),
        ("Demo._A", PYPI, "demo-a", "1.0", True),
        ("acme-*", PYPI, "acme-tools", "1.0", True),
        ("acme-*", PYPI, "acme", "1.0", False),
        ("acme-?", PYPI, "acme-ab", "1.0", False),
        ("*", PYPI, "anything", "1.0", True),
        ("demo>=2,<3", PYPI, "demo", "2.9", True),
        ("demo>=2,<3", PYPI, "demo", "3.0", False),
        ("demo==2.0", PYPI, "demo", "2.0.0", True),
        ("demo==2.*", PYPI, "demo", "2.0rc1", True),
        ("demo>=2", PYPI, "demo", "2.1rc1", True),
        ("demo<=2", PYPI, "demo", "2.0+local", True),
        ("@acme/*", NPM, "@acme/tools", "1.0.0", True),
        ("@acme/*", NPM, "acme", "1.0.0", False),
        ("demo@>=2.0.0,<3.0.0", NPM, "demo", "2.9.0", True),
        ("demo@>=2.0.0,<3.0.0", NPM, "demo", "2.9.0-rc.1", True),
        ("demo@>=2.0.0,<3.0.0", NPM, "demo", "3.0.0", False),
        ("demo@<=2.0.0", NPM, "demo", "2.0.0-rc.1", True),
        ("demo@<2.0.0-rc.2", NPM, "demo", "2.0.0-rc.1", True),
    ],
)
def test_which_are_meant_by_lists_of_either_kind(
    text: str, ecosystem: Ecosystem, project: str, version: str, meant: bool
) -> None:
    pattern = parse(text, ecosystem)
    assert (pattern.reaches(project, version), pattern.covers(project, version)) == (meant, meant)


@pytest.mark.parametrize(
    ("text", "ecosystem", "version"),
    [
        ("demo<2.0", PYPI, "2.0rc1"),
        ("demo<2.0", PYPI, "2.0.dev1"),
        ("demo>=1,<2.0", PYPI, "2.0a1"),
        ("demo>1.0", PYPI, "1.0.post1"),
        ("demo>1.0", PYPI, "1.0+local"),
        ("demo>=2", PYPI, "not a version"),
        ("demo@<2.0.0", NPM, "2.0.0-rc.1"),
        ("demo@>=1.0.0, <2.0.0", NPM, "2.0.0-0"),
        ("demo@==2.0.0", NPM, "nonsense"),
    ],
)
def test_the_ends_of_a_range_are_refused_and_not_vouched_for(
    text: str, ecosystem: Ecosystem, version: str
) -> None:
    pattern = parse(text, ecosystem)
    assert (pattern.reaches("demo", version), pattern.covers("demo", version)) == (True, False)


@pytest.mark.parametrize(
    ("text", "ecosystem"),
    [
        ("", PYPI), ("demo[extra]", PYPI), ("demo>=x", PYPI), ("a/b", PYPI), ("-demo", PYPI), ("demo\nother", PYPI),
        ("x" * 400, PYPI), ("demo@^2", NPM), ("demo@>=2", NPM), ("@acme", NPM), ("a b", NPM),
    ],
)  # fmt: skip
def test_what_names_nothing_is_refused(text: str, ecosystem: Ecosystem) -> None:
    with pytest.raises(InvalidInputError, match=r"write|versions"):
        parse(text, ecosystem)


def test_old_npm_names_with_capitals_are_no_way_around_a_list() -> None:
    pattern = parse("JSONStream@>=1.0.0", NPM)
    assert pattern.reaches("JSONStream", "1.0.0")
    assert parse("json*", NPM).names("JSONStream")
    assert not parse("json*", PYPI).names("JSONStream")  # Python's are normalised before


@given(st.text(max_size=60), st.sampled_from(Ecosystem))
def test_any_text_is_a_pattern_or_refused_and_reads_back_as_itself(text: str, ecosystem: Ecosystem) -> None:
    try:
        pattern = parse(text, ecosystem)
    except InvalidInputError:
        return
    assert parse(str(pattern), ecosystem) == pattern
    assert pattern.reaches("demo", "1.0") >= pattern.covers("demo", "1.0")


releases = st.lists(st.integers(0, 3), min_size=1, max_size=3).map(lambda parts: ".".join(map(str, parts)))
tails = st.sampled_from(
    ["", "a1", "b2", "rc1", ".dev0", ".dev3", "rc1.dev2", ".post0", ".post2", ".post1.dev1"]
)
locals_ = st.sampled_from(["", "+local", "+cu12"])
ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@given(
    st.sampled_from(sorted(ORDER)),
    st.builds("{}{}".format, releases, tails),
    st.builds("{}{}{}".format, releases, tails, locals_),
)
def test_a_list_that_refuses_leaves_no_gap_in_the_order_of_versions(
    comparison: str, bound: str, version: str
) -> None:
    """Whatever comes before `bound` is below it, pre-releases and all; and no vouching goes further than refusing."""
    pattern = parse(f"demo{comparison}{bound}", PYPI)
    if ORDER[comparison](Version(version), Version(bound)):
        assert pattern.reaches("demo", version)
    assert pattern.covers("demo", version) is SpecifierSet(pattern.versions).contains(
        version, prereleases=True
    )
    assert pattern.reaches("demo", version) >= pattern.covers("demo", version)


@given(st.builds("{}{}".format, releases, tails), st.builds("{}{}{}".format, releases, tails, locals_))
def test_two_ranges_that_meet_refuse_everything(bound: str, version: str) -> None:
    below, rest = parse(f"demo<{bound}", PYPI), parse(f"demo>={bound}", PYPI)
    assert below.reaches("demo", version) or rest.reaches("demo", version)


triples = st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2)).map(
    lambda parts: ".".join(map(str, parts))
)
npm_versions = st.builds("{}{}".format, triples, st.sampled_from(["", "-0", "-rc.1", "-alpha.beta"]))


@given(st.sampled_from(sorted(ORDER)), npm_versions, npm_versions)
def test_npm_leaves_no_gap_either(comparison: str, bound: str, version: str) -> None:
    pattern = parse(f"demo@{comparison}{bound}", NPM)
    expected = ORDER[comparison](SemVersion.parse(version), SemVersion.parse(bound))
    assert pattern.reaches("demo", version) is expected
    assert pattern.reaches("demo", version) >= pattern.covers("demo", version)
