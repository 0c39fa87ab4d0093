"""What every page has: navigation by permission, landmarks, and error pages in our style."""

import re
from collections.abc import Callable

import pytest
from django.core.exceptions import SuspiciousOperation
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.views import defaults

from portal.accounts.models import User

type ClientOf = Callable[[User], Client]


def _labels(page: str) -> list[str]:
    nav = re.search(r"<nav.*?</nav>", page, re.DOTALL)
    assert nav
    return re.findall(r"<a [^>]*>([^<]+?)\s*<", nav[0])


def test_navigation_follows_permissions(
    client_of: ClientOf, alice: User, iris: User, omar: User, ada: User
) -> None:
    own = ["Home", "New request"]
    expected = {
        alice: own,
        iris: [*own, "Queue", "Sandboxes", "Screening", "Alarms"],
        omar: [*own, "Sandboxes", "Report", "Screening", "Alarms", "Ledger"],
        ada: [*own, "Queue", "Sandboxes", "Report", "Screening", "Alarms", "Ledger", "Operate"],
    }
    for person, labels in expected.items():
        assert _labels(client_of(person).get("/").content.decode()) == labels


@pytest.mark.parametrize("path", ["/", "/requests/new", "/profile", "/rules", "/sandboxes"])
def test_landmarks(client_of: ClientOf, ada: User, path: str) -> None:
    page = client_of(ada).get(path).content.decode()
    assert page.count("<main ") == page.count("<h1>") == 1
    assert '<a class="skip" href="#main">' in page
    assert '<form method="post" action="/accounts/logout/">' in page
    assert "<style" not in page
    assert " style=" not in page
    assert not re.search(r"<script(?! src=)", page)
    assert not re.search(r"""(?:src|href|action)=["'](?:https?:)?//""", page)


def test_the_current_page_is_marked(client_of: ClientOf, iris: User) -> None:
    page = client_of(iris).get("/queue").content.decode()
    assert '<a href="/queue" aria-current="page">' in page
    bar, _, menu = page.partition('<details class="menu">')
    assert [part.count("aria-current") for part in (bar, menu)] == [1, 1]  # of which one is shown
    assert "Menu: Queue" in menu


def test_not_found(client_of: ClientOf, alice: User) -> None:
    for path in ("/nowhere", "/requests/1", "/sandboxes/99999999999999999999999"):
        answer = client_of(alice).get(path)
        assert answer.status_code == 404
        assert "Nothing here" in answer.content.decode()


def test_not_allowed(client_of: ClientOf, alice: User) -> None:
    answer = client_of(alice).get("/ledger")
    assert answer.status_code == 403
    assert "Not allowed" in answer.content.decode()


def test_the_last_resorts_need_nothing() -> None:
    """500 and 400 are drawn without a context, for whatever broke may be what gives it."""
    request: HttpRequest = RequestFactory().get("/")
    broke: HttpResponse = defaults.server_error(request)
    assert b"Something broke on our side" in broke.content
    unread = defaults.bad_request(request, SuspiciousOperation("odd"))
    assert b"Not understood" in unread.content


def test_pages_are_not_kept_by_browsers(client_of: ClientOf, alice: User) -> None:
    answer = client_of(alice).get("/")
    assert "no-store" in answer["Cache-Control"]
    assert "HX-Request" in answer["Vary"]


def test_history_gets_the_whole_page(client_of: ClientOf, iris: User) -> None:
    """htmx restores a page it no longer has: a part would be all that the window shows."""
    headers = {"HX-Request": "true", "HX-History-Restore-Request": "true"}
    assert "<html" in client_of(iris).get("/queue?q=x", headers=headers).content.decode()
    assert "<html" not in client_of(iris).get("/queue?q=x", headers={"HX-Request": "true"}).content.decode()


def test_labels_have_no_colons(client_of: ClientOf, client: Client, alice: User) -> None:
    alice.set_password("correct horse battery")
    alice.save(update_fields=["password"])
    for page in (client.get("/accounts/login/"), client_of(alice).get("/accounts/password/change/")):
        labels = re.findall(r"<label for=[^>]*>(.*?)</label>", page.content.decode())
        assert len(labels) > 1
        assert not any(":" in label for label in labels)


def test_a_sign_in_that_fails_says_so_once(client: Client, db: None) -> None:
    page = client.post("/accounts/login/", {"login": "nobody", "password": "wrong"}).content.decode()
    assert page.count('class="errorlist') == 1
    assert "not correct" in page
