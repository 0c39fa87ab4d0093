"""What is installed against what was received."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandboxes.usage.inventory import Entry, Received, State, compare


def there(name: str, version: str = "1.0", ecosystem: str = "pypi", **more: Any) -> dict[str, Any]:
    return {"ecosystem": ecosystem, "name": name, "version": version, "path": "/workspace/x", **more}


def states(found: list[Any], *received: tuple[str, str, str]) -> dict[str, State]:
    return {entry.name: entry.state for entry in compare(found, [Received(*each) for each in received])}


def test_the_four_states() -> None:
    found = [there("six"), there("evil"), there("flask", altered=["flask/app.py"], altered_count=3)]
    received = [("pypi", "six", "1.0"), ("pypi", "flask", "1.0"), ("pypi", "gone", "2.0")]
    entries = compare(found, [Received(*each) for each in received])
    assert [(entry.name, entry.state) for entry in entries] == [
        ("flask", State.ALTERED),
        ("evil", State.SIDELOADED),
        ("gone", State.MISSING),
        ("six", State.AS_RECEIVED),
    ]
    assert entries[0] == Entry("pypi", "flask", "1.0", State.ALTERED, "/workspace/x", ("flask/app.py",), 3)


@pytest.mark.parametrize(
    ("name", "version"), [("Zope.Interface", "1.0"), ("zope_interface", "1.0.0"), ("zope-interface", "1")]
)
def test_names_and_versions_in_any_spelling(name: str, version: str) -> None:
    assert states([there(name, version)], ("pypi", "zope-interface", "1.0")) == {
        "zope-interface": State.AS_RECEIVED
    }


def test_another_version_than_any_received_was_sideloaded_and_the_received_one_is_not_missing() -> None:
    assert states([there("six", "2.0")], ("pypi", "six", "1.0")) == {"six": State.SIDELOADED}


def test_of_two_versions_received_one_is_enough() -> None:
    received = [("pypi", "six", "1.0"), ("pypi", "six", "2.0")]
    assert states([there("six", "1.0")], *received) == {"six": State.AS_RECEIVED}
    [entry] = compare([], [Received(*each) for each in received])
    assert (entry.version, entry.state) == ("2.0", State.MISSING)


def test_ecosystems_are_apart() -> None:
    found = [there("left-pad", "1.3.0", "npm")]
    assert states(found, ("npm", "left-pad", "1.3.0")) == {"left-pad": State.AS_RECEIVED}
    entries = compare(found, [Received("pypi", "left-pad", "1.3.0")])
    assert [(entry.ecosystem, entry.state) for entry in entries] == [
        ("npm", State.SIDELOADED),
        ("pypi", State.MISSING),
    ]


def test_altered_and_never_received_is_sideloaded() -> None:
    assert states([there("evil", altered=["a"], altered_count=1)]) == {"evil": State.SIDELOADED}


def test_what_no_record_names_is_sideloaded_and_no_project() -> None:
    """A folder `six` is not the project six, which is missing all the same."""
    loose = [{"ecosystem": "pypi", "name": name, "version": "", "path": f"/w/{name}", "unrecorded": True}
             for name in ("Evil_Tool.pth", "six")]  # fmt: skip
    entries = compare(loose, [Received("pypi", "six", "1.0")])
    assert entries == [
        Entry("pypi", "Evil_Tool.pth", "", State.SIDELOADED, "/w/Evil_Tool.pth"),
        Entry("pypi", "six", "", State.SIDELOADED, "/w/six"),
        Entry("pypi", "six", "1.0", State.MISSING),
    ]


nonsense = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
item = st.fixed_dictionaries(
    {"ecosystem": st.sampled_from(["pypi", "npm", "x"]) | nonsense, "name": nonsense, "version": nonsense},
    optional={"altered": nonsense, "altered_count": nonsense, "path": nonsense, "unrecorded": nonsense},
)


@given(st.lists(item | nonsense, max_size=5))
def test_whatever_a_pod_says(found: list[Any]) -> None:
    for entry in compare(found, [Received("pypi", "six", "1.0")]):
        assert "\0" not in entry.name + entry.version + entry.path
        entry.name.encode()
