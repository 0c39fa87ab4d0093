"""From rows to the policy of one sandbox and one project."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandboxes.errors import InvalidInputError
from sandboxes.index.policy.facts import Ecosystem, Severity
from sandboxes.index.policy.policy import SHIPPED, Policy
from sandboxes.index.policy.waivers import Subject
from sandboxes.index.rulebook import Rulebook

ALICE = Subject(7, 1, "Research", "python")
BOB = Subject(8, 2, "Sales", "bare")
NEXT_WEEK = datetime(2026, 11, 30, tzinfo=UTC)


def setting(profile: str = "", **changes: Any) -> dict[str, Any]:
    plain = {
        "profile": profile,
        "cooldown": timedelta(days=7),
        "freeze_at": None,
        "sdists": False,
        "yanked": True,
        "most_bytes": None,
        "refuse_from": 4,
        "screened": False,
        "only_allowed": False,
    }
    return plain | changes


def entry(kind: str, pattern: str, **changes: Any) -> dict[str, Any]:
    plain = {"profile": "", "ecosystem": "pypi", "kind": kind, "pattern": pattern, "reason": "", "source": ""}
    return plain | changes


def waiver(number: int = 1, **changes: Any) -> dict[str, Any]:
    plain = {
        "id": number,
        "rule": "cooldown",
        "ecosystem": "pypi",
        "project": "demo",
        "version": "2.0",
        "scope": "all",
        "subject": "",
        "until": NEXT_WEEK,
        "break_glass": False,
    }
    return plain | changes


def policy(book: Rulebook, who: Subject = ALICE, project: str = "demo") -> Policy:
    return book.ruling(who, Ecosystem.PYPI, project).policy


def test_without_any_row_the_floor_is_a_new_installations() -> None:
    assert policy(Rulebook(1, [], [], [])) == SHIPPED
    assert policy(Rulebook(1, [setting()], [], [])) == Policy()


def test_a_profile_adds_to_the_floor() -> None:
    strict = setting("python", cooldown=timedelta(days=30), sdists=True, refuse_from=2, screened=True)
    book = Rulebook(1, [setting(), strict], [entry("deny", "evil", profile="python", reason="why")], [])
    mine = policy(book)
    assert (mine.cooldown, mine.refuse_from) == (timedelta(days=30), Severity.MEDIUM)
    assert (mine.sdists, mine.screened) == (False, True)
    assert [str(listed.pattern) for listed in mine.deny] == ["evil"]
    assert policy(book, BOB) == Policy()


def test_a_profile_with_a_list_and_no_settings_changes_nothing_else() -> None:
    book = Rulebook(1, [setting()], [entry("deny", "evil", profile="python")], [])
    assert policy(book).cooldown == timedelta(days=7)
    assert not policy(book).sdists


def test_only_what_is_allowed() -> None:
    allowed = [entry("allow", "demo"), entry("allow", "demo-*", profile="python")]
    book = Rulebook(1, [setting(only_allowed=True), setting("python", only_allowed=True)], allowed, [])
    names = [[str(listed.pattern) for listed in entries] for entries in policy(book).within]
    assert names == [["demo"], ["demo-*"]]
    assert [str(listed.pattern) for listed in policy(book).allow] == [
        "demo"
    ]  # the profile vouches for nothing


def test_lists_are_of_one_ecosystem() -> None:
    book = Rulebook(1, [], [entry("deny", "demo", ecosystem="npm")], [])
    assert policy(book).deny == ()
    assert book.ruling(ALICE, Ecosystem.NPM, "demo").policy.deny != ()


@pytest.mark.parametrize(
    ("changes", "alice", "bob"),
    [
        ({}, True, True),
        ({"scope": "sandbox", "subject": "7"}, True, False),
        ({"scope": "person", "subject": "2"}, False, True),
        ({"scope": "department", "subject": "Research"}, True, False),
        ({"project": "other"}, False, False),
        ({"ecosystem": "npm"}, False, False),
    ],
)
def test_waivers_are_of_their_project_and_of_whom_they_are_for(
    changes: dict[str, Any], alice: bool, bob: bool
) -> None:
    book = Rulebook(1, [], [], [waiver(**changes)])
    assert bool(policy(book).waivers) is alice
    assert bool(policy(book, BOB).waivers) is bob


def test_equal_keys_are_equal_policies() -> None:
    rows: tuple[Any, Any, Any] = (
        [setting(), setting("python"), setting("bare")],
        [],
        [waiver(scope="sandbox", subject="7")],
    )
    book = Rulebook(1, *rows)

    def key(who: Subject, project: str) -> object:
        return book.ruling(who, Ecosystem.PYPI, project).key

    assert key(ALICE, "other") == key(BOB, "other")  # whose profiles say the same
    assert key(ALICE, "demo") != key(BOB, "demo")
    assert key(ALICE, "other") != Rulebook(2, *rows).ruling(ALICE, Ecosystem.PYPI, "other").key


@pytest.mark.parametrize(
    "rows",
    [
        ([setting(refuse_from=9)], [], []),
        ([], [entry("deny", "")], []),
        ([], [], [waiver(scope="everybody")]),
        ([], [], [waiver(ecosystem="cargo")]),
    ],
)
def test_half_of_a_policy_is_none(rows: tuple[Any, Any, Any]) -> None:
    with pytest.raises((InvalidInputError, ValueError)):
        Rulebook(1, *rows)
