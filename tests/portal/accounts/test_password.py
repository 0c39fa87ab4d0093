"""Changing one's password, for those who have one here."""

from collections.abc import Callable

import pytest
from django.test import Client

from portal.accounts.models import User


@pytest.mark.django_db
def test_who_signs_in_elsewhere_changes_it_there(alice: User, client_of: Callable[[User], Client]) -> None:
    alice.set_unusable_password()
    alice.save()
    page = client_of(alice).get("/accounts/password/change/", follow=True)
    assert page.redirect_chain == [("/profile", 302)]
    assert "identity provider" in page.content.decode()


@pytest.mark.django_db
def test_who_has_one_here_changes_it_here(alice: User, client_of: Callable[[User], Client]) -> None:
    alice.set_password("an old long password")
    alice.save()
    browser = client_of(alice)
    assert browser.get("/accounts/password/change/").status_code == 200
    new = "a new and longer password"
    form = {"oldpassword": "an old long password", "password1": new, "password2": new}
    browser.post("/accounts/password/change/", form)
    alice.refresh_from_db()
    assert alice.check_password(new)
