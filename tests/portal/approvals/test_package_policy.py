"""Package policy as forms have it, who changes it, and what a profile adds to the floor."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from portal.accounts.models import User
from portal.approvals import package_policy
from portal.approvals.drafts import DraftError
from sandboxes.errors import InvalidInputError, NotFoundError, RefusedError
from sandboxes.index import policy_settings
from sandboxes.index.policy.facts import Severity
from sandboxes.index.policy_settings import Settings

PLAIN = Settings(
    cooldown=timedelta(days=7),
    freeze_at=None,
    sdists=False,
    yanked=True,
    most_bytes=None,
    refuse_from=Severity.CRITICAL,
    screened=False,
    only_allowed=False,
)


@pytest.mark.parametrize(
    "settings",
    [
        PLAIN,
        replace(PLAIN, cooldown=timedelta(), refuse_from=None, yanked=False),
        replace(PLAIN, cooldown=timedelta(hours=36), sdists=True, screened=True, only_allowed=True),
        replace(PLAIN, most_bytes=1, freeze_at=datetime(2026, 3, 1, 12, 30, 5, tzinfo=UTC)),
        replace(PLAIN, most_bytes=123_456_789, refuse_from=Severity.LOW),
    ],
)
def test_a_form_that_is_sent_back_changes_nothing(settings: Settings) -> None:
    assert package_policy.parse(package_policy.typed(settings)) == settings


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("cooldown", "soon"),
        ("cooldown", "-1"),
        ("cooldown", "nan"),
        ("cooldown", "P1M"),
        ("freeze_at", "tomorrow"),
        ("freeze_at", "P7D"),
        ("most_mib", "0"),
        ("most_mib", "inf"),
        ("most_mib", "big"),
        ("refuse_from", "awful"),
    ],
)
def test_what_cannot_be_read(field: str, text: str) -> None:
    with pytest.raises(DraftError) as caught:
        package_policy.parse({field: text})
    assert set(caught.value.errors) == {field}


def test_of_each_pair_the_stricter_holds(ada: User) -> None:
    own = replace(
        PLAIN,
        cooldown=timedelta(days=1),
        sdists=True,
        refuse_from=Severity.LOW,
        most_bytes=5,
        only_allowed=True,
    )
    package_policy.change(by=ada, profile="gpu", settings=own, reason="GPUs are dear")
    standing = package_policy.standing("gpu")
    assert standing.is_set
    assert standing.holds == replace(PLAIN, refuse_from=Severity.LOW, most_bytes=5, only_allowed=True)
    differ = [name for name in vars(PLAIN) if standing.stricter(name)]
    assert differ == ["most_bytes", "refuse_from", "only_allowed"]
    assert package_policy.standing("python").holds == PLAIN


def test_only_admins_change_it(iris: User, omar: User, ada: User) -> None:
    entry = package_policy.add_entry(
        by=ada, profile="", ecosystem="pypi", kind="deny", pattern="evil", reason="It is"
    )
    for person in (iris, omar):
        with pytest.raises(RefusedError):
            package_policy.change(by=person, profile="", settings=PLAIN, reason="x")
        with pytest.raises(RefusedError):
            package_policy.reset(by=person, profile="gpu", reason="x")
        with pytest.raises(RefusedError):
            package_policy.add_entry(
                by=person, profile="", ecosystem="pypi", kind="allow", pattern="evil", reason="x"
            )
        with pytest.raises(RefusedError):
            package_policy.end_entry(entry.pk, by=person, reason="x")
    assert policy_settings.settings_of("") == PLAIN
    assert list(package_policy.entries("")) == [entry]


def test_only_profiles_that_there_are(ada: User) -> None:
    with pytest.raises(NotFoundError):
        package_policy.change(by=ada, profile="gpuu", settings=PLAIN, reason="x")
    with pytest.raises(NotFoundError):
        package_policy.standing("gpuu")
    with pytest.raises(InvalidInputError):
        package_policy.reset(by=ada, profile="", reason="x")
