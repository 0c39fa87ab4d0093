"""Entries of lists: which projects and versions they mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
        ("demo>=2", PYPI, "demo", "2.1rc1", True),
        ("demo>=2", PYPI, "demo", "not a version", True),
        ("@acme/*", NPM, "@acme/tools", "1.0.0", True),
        ("@acme/*", NPM, "acme", "1.0.0", False),
        ("demo@>=2.0.0,<3.0.0", NPM, "demo", "2.9.0", True),
        ("demo@>=2.0.0,<3.0.0", NPM, "demo", "3.0.0", False),
        ("demo@<2.0.0", NPM, "demo", "2.0.0-rc.1", True),
        ("demo@==2.0.0", NPM, "demo", "nonsense", True),
    ],
)
def test_which_are_meant(text: str, ecosystem: Ecosystem, project: str, version: str, meant: bool) -> None:
    assert parse(text, ecosystem).matches(project, version) is meant


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
    assert pattern.matches("JSONStream", "1.0.0")
    assert parse("json*", NPM).names("JSONStream")
    assert not parse("json*", PYPI).names("JSONStream")  # Python's are normalised before


@given(st.text(max_size=60), st.sampled_from(Ecosystem))
def test_any_text_is_a_pattern_or_refused_and_reads_back_as_itself(text: str, ecosystem: Ecosystem) -> None:
    try:
        pattern = parse(text, ecosystem)
    except InvalidInputError:
        return
    assert parse(str(pattern), ecosystem) == pattern
    pattern.matches("demo", "1.0")
