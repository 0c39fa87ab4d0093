"""Personal API tokens: shown once, and what ends them."""

from datetime import timedelta
from hashlib import sha256

import pytest
from django.utils import timezone

from portal.accounts import tokens
from portal.accounts.models import ApiToken, User
from sandboxes.audit.models import Entry
from sandboxes.errors import InvalidInputError, RefusedError

WEEK = timedelta(days=7)


def _issue(user: User, name: str = "laptop") -> tuple[ApiToken, str]:
    return tokens.issue(user=user, name=name, expires_in=WEEK, by=user)


def test_a_token_speaks_for_its_person(alice: User) -> None:
    token, text = _issue(alice)

    assert text.startswith("pdt_")
    assert len(text) == 47
    assert tokens.authenticate(text) == alice
    assert token.hint == text[:10]


def test_only_the_digest_is_kept(alice: User) -> None:
    token, text = _issue(alice)

    row = ApiToken.objects.values().get(pk=token.pk)
    assert row["digest"] == sha256(text.encode()).hexdigest()
    assert text not in str(row)
    assert text not in str(list(Entry.objects.values()))


@pytest.mark.parametrize("wrong", ["", "pdt_", "pdt_" + "x" * 43, "Bearer", "pdt_\x00", "é" * 47])
def test_an_unknown_token_speaks_for_nobody(alice: User, wrong: str) -> None:
    _issue(alice)
    assert tokens.authenticate(wrong) is None


def test_an_expired_token_speaks_for_nobody(alice: User) -> None:
    token, text = _issue(alice)
    ApiToken.objects.filter(pk=token.pk).update(expires_at=timezone.now())
    assert tokens.authenticate(text) is None


def test_a_disabled_persons_token_speaks_for_nobody(alice: User) -> None:
    _, text = _issue(alice)
    User.objects.filter(pk=alice.pk).update(is_active=False)
    assert tokens.authenticate(text) is None


def test_a_revoked_token_ends_at_once_and_the_ledger_says_so_once(alice: User) -> None:
    token, text = _issue(alice)

    tokens.revoke(token, by=alice)
    tokens.revoke(token, by=alice)

    assert tokens.authenticate(text) is None
    assert token.revoked_at is not None
    entries = Entry.objects.filter(subject=f"token:{token.pk}").order_by("id")
    assert [entry.action for entry in entries] == ["token.issued", "token.revoked"]
    assert {entry.actor_id for entry in entries} == {alice.pk}


def test_nobody_revokes_another_persons_token_but_who_manages_people(
    alice: User, bob: User, ada: User
) -> None:
    token, text = _issue(alice)

    with pytest.raises(RefusedError):
        tokens.revoke(token, by=bob)
    assert tokens.authenticate(text) == alice

    tokens.revoke(token, by=ada)
    assert tokens.authenticate(text) is None


def test_nobody_makes_a_token_that_speaks_for_another(alice: User, ada: User) -> None:
    with pytest.raises(RefusedError):
        tokens.issue(user=alice, name="hers", expires_in=WEEK, by=ada)
    assert not ApiToken.objects.exists()


@pytest.mark.parametrize(
    ("name", "lasts"),
    [
        ("", WEEK),
        ("   ", WEEK),
        ("n" * 101, WEEK),
        ("ok", timedelta(0)),
        ("ok", -WEEK),
        ("ok", timedelta(days=367)),
    ],
)
def test_a_token_has_a_name_and_an_end(alice: User, name: str, lasts: timedelta) -> None:
    with pytest.raises(InvalidInputError):
        tokens.issue(user=alice, name=name, expires_in=lasts, by=alice)


def test_use_is_noted_at_most_once_a_minute(alice: User) -> None:
    token, text = _issue(alice)

    tokens.authenticate(text)
    token.refresh_from_db()
    first = token.last_used_at
    assert first is not None
    tokens.authenticate(text)
    token.refresh_from_db()
    assert token.last_used_at == first

    ApiToken.objects.filter(pk=token.pk).update(last_used_at=first - timedelta(minutes=2))
    tokens.authenticate(text)
    token.refresh_from_db()
    assert token.last_used_at is not None
    assert token.last_used_at >= first
