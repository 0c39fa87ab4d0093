"""Changing policy, and what the ledger says of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps

from portal.accounts.models import User
from sandboxes.audit.models import Entry
from sandboxes.errors import ConflictError, InvalidInputError, NotFoundError
from sandboxes.index import policy_settings
from sandboxes.index.models import ListEntry, PolicySetting
from sandboxes.index.policy.facts import Ecosystem, Severity
from sandboxes.index.policy.policy import Policy
from sandboxes.index.policy_settings import Kind, add_entry, change, end_entry, reset, settings_of

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def floor_row(db: None) -> None:
    PolicySetting.objects.get_or_create(
        profile="",
        defaults={
            "cooldown": 7 * DAY,
            "sdists": False,
            "yanked": True,
            "refuse_from": 4,
            "screened": False,
            "only_allowed": False,
        },
    )


def test_a_new_installations_floor_is_the_policys_default() -> None:
    import_module("sandboxes.index.migrations.0008_screened_by_default").screen(apps, None)
    stored = settings_of("")
    PolicySetting.objects.all().delete()
    assert settings_of("") == stored
    assert stored.screened
    assert (stored.cooldown, stored.sdists, stored.refuse_from) == (
        Policy().cooldown,
        Policy().sdists,
        Policy().refuse_from,
    )


def test_a_change_is_told_with_what_it_changed(ada: User) -> None:
    stricter = replace(settings_of(""), cooldown=14 * DAY, refuse_from=Severity.HIGH)
    assert change(profile="", settings=stricter, by=ada, reason="as agreed")
    assert settings_of("") == stricter
    entry = Entry.objects.get()
    assert (entry.actor, entry.action, entry.subject) == ("ada", "policy.changed", "policy:floor")
    changed = {"cooldown": ["P7DT00H00M00S", "P14DT00H00M00S"], "refuse_from": [4, 3]}
    assert entry.data == {"reason": "as agreed", "changed": changed}
    assert not change(profile="", settings=stricter, by=ada, reason="again")
    assert Entry.objects.count() == 1


def test_a_profiles_policy_comes_and_goes(ada: User) -> None:
    nothing = settings_of("python")
    assert (nothing.cooldown, nothing.sdists, nothing.refuse_from) == (timedelta(), True, None)
    assert change(profile="python", settings=nothing, by=ada, reason="as a start")
    reset(profile="python", by=ada, reason="it says nothing")
    assert [entry.action for entry in Entry.objects.order_by("id")] == ["policy.changed", "policy.reset"]
    with pytest.raises(NotFoundError):
        reset(profile="python", by=ada, reason="again")
    with pytest.raises(InvalidInputError):
        reset(profile="", by=ada, reason="away with it")


@pytest.mark.parametrize(
    "bad",
    [
        {"cooldown": timedelta(seconds=-1)},
        {"cooldown": timedelta(days=366)},
        {"most_bytes": 0},
        {"most_bytes": 1 << 63},
        {"freeze_at": datetime(2026, 1, 1)},  # noqa: DTZ001 -- what must not be
    ],
)
def test_what_makes_no_sense_is_refused(ada: User, bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        change(profile="", settings=replace(settings_of(""), **bad), by=ada, reason="because")
    assert not Entry.objects.exists()


def test_a_date_to_freeze_at(ada: User) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    change(profile="", settings=replace(settings_of(""), freeze_at=moment), by=ada, reason="a trial")
    assert settings_of("").freeze_at == moment


def listed(by: User, **changes: Any) -> ListEntry:
    plain: dict[str, Any] = {
        "profile": "",
        "ecosystem": Ecosystem.PYPI,
        "kind": Kind.DENY,
        "pattern": "Evil_Pack >= 2",
        "reason": " it  phones\nhome ",
    }
    return add_entry(**plain | changes, by=by)


def test_an_entry_is_listed_and_ended(ada: User) -> None:
    entry = listed(ada)
    assert (entry.pattern, entry.reason, entry.by) == ("evil-pack>= 2", "it phones home", ada)
    with pytest.raises(ConflictError):
        listed(ada)
    end_entry(entry.pk, by=ada, reason="it does not")
    with pytest.raises(ConflictError):
        end_entry(entry.pk, by=ada, reason="again")
    listed(ada)  # as it was ended, it can be listed again
    told = [(one.action, one.data["pattern"], one.data["reason"]) for one in Entry.objects.order_by("id")]
    assert told == [
        ("policy.listed", "evil-pack>= 2", "it phones home"),
        ("policy.unlisted", "evil-pack>= 2", "it does not"),
        ("policy.listed", "evil-pack>= 2", "it phones home"),
    ]


@pytest.mark.parametrize(
    "bad",
    [
        {"pattern": "../x"},
        {"pattern": "demo>>2"},
        {"reason": ""},
        {"reason": "x" * 501},
        {"source": "ours"},
    ],
)
def test_entries_that_cannot_be_read_are_refused(ada: User, bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        listed(ada, **bad)
    assert (ListEntry.objects.count(), Entry.objects.count()) == (0, 0)


def test_a_name_of_our_own_is_tied_to_its_upstream(ada: User) -> None:
    entry = listed(ada, kind=Kind.INTERNAL, pattern="acme-*", source="ours", reason="")
    assert (entry.kind, entry.source) == ("internal", "ours")
    assert Entry.objects.get().data["source"] == "ours"


def test_no_such_entry(ada: User) -> None:
    with pytest.raises(NotFoundError):
        end_entry(0, by=ada, reason="because")
    with pytest.raises(InvalidInputError):
        policy_settings.end_entry(0, by=ada, reason=" ")
