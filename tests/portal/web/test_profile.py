"""Profile and tokens: shown once, listed, revoked."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client

from portal.accounts import tokens
from portal.accounts.models import ApiToken, User

type ClientOf = Callable[[User], Client]


def test_my_details(client_of: ClientOf, alice: User) -> None:
    page = client_of(alice).get("/profile").content.decode()
    for said in ("alice@example.com", "Research", "Iris", "Employee", "You have no token that works."):
        assert said in page


def test_a_token_is_shown_once(client_of: ClientOf, alice: User) -> None:
    browser = client_of(alice)
    answer = browser.post("/profile/tokens", {"name": "laptop", "days": "30"})
    found = re.search(r'<code id="token">(pdt_[\w-]+)</code>', answer.content.decode())
    assert found
    assert tokens.authenticate(found[1]) == alice
    assert "no-store" in answer["Cache-Control"]
    again = browser.get("/profile").content.decode()
    assert found[1] not in again
    assert "laptop" in again


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"name": " ", "days": "30"}, "A token needs a name"),
        ({"name": "laptop", "days": "9999"}, "Choose when the token expires."),
        ({"name": "laptop"}, "Choose when the token expires."),
    ],
)
def test_what_cannot_be_made(client_of: ClientOf, alice: User, form: dict[str, str], said: str) -> None:
    answer = client_of(alice).post("/profile/tokens", form)
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert not ApiToken.objects.exists()


def test_revoking(client_of: ClientOf, alice: User, bob: User) -> None:
    token, text = tokens.issue(user=alice, name="laptop", expires_in=timedelta(days=1), by=alice)
    assert client_of(bob).post(f"/profile/tokens/{token.pk}/revoke").status_code == 404
    assert tokens.authenticate(text) == alice
    page = client_of(alice).post(f"/profile/tokens/{token.pk}/revoke", follow=True).content.decode()
    assert "no longer works" in page
    assert tokens.authenticate(text) is None
