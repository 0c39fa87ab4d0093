"""The queue: oldest first, filtered, paged, and nobody's but approvers'."""

from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from portal.accounts.models import User
from portal.approvals import services
from portal.web import queue
from tests.portal.web import world

type ClientOf = Callable[[User], Client]


def test_employees_and_auditors_have_no_queue(client_of: ClientOf, alice: User, omar: User) -> None:
    for person in (alice, omar):
        browser = client_of(person)
        assert browser.get("/queue").status_code == 403
        assert 'href="/queue"' not in browser.get("/").content.decode()


def test_oldest_first_with_why_and_history(client_of: ClientOf, alice: User, bob: User, iris: User) -> None:
    denied = world.wait(bob)
    services.decide(denied.pk, by=iris, approve=False, reason="Not now.")
    first, second = world.wait(bob), world.wait(alice, profile="notebook", duration="P14D")
    world.ask(alice)  # approved at once: not in the queue
    page = client_of(iris).get("/queue").content.decode()
    assert page.index(f'href="/requests/{first.pk}"') < page.index(f'href="/requests/{second.pk}"')
    assert "14 days is more than 7 days" in page
    assert "0 approved, 1 denied before" in page
    assert "2 items shown" in page


def test_the_navigation_says_how_many_wait(client_of: ClientOf, bob: User, iris: User) -> None:
    world.wait(bob)
    page = client_of(iris).get("/").content.decode()
    assert '<span class="count">1<span class="spoken"> waiting</span></span>' in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?q=Sales", "bob"),
        ("?q=duckdb", "alice"),
        ("?profile=notebook", "alice"),
        ("?q=alice&profile=gpu", ""),
    ],
)
def test_filters(client_of: ClientOf, alice: User, bob: User, iris: User, query: str, found: str) -> None:
    requests = {
        "bob": world.wait(bob),
        "alice": world.wait(alice, profile="notebook", duration="P14D", tools=["duckdb"]),
    }
    answer = client_of(iris).get(f"/queue{query}", headers={"HX-Request": "true"})
    part = answer.content.decode()
    assert "<html" not in part
    for name, one in requests.items():
        assert (f'href="/requests/{one.pk}"' in part) == (name == found)
    assert ("Nothing matches" in part) == (not found)


def test_pages(client_of: ClientOf, bob: User, iris: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "PAGE", 2)
    one, two, three = (world.wait(bob) for _ in range(3))
    browser = client_of(iris)
    first = browser.get("/queue?q=bob").content.decode()
    assert f"/requests/{three.pk}" not in first
    assert f'href="?q=bob&amp;after={two.pk}"' in first
    rest = browser.get(f"/queue?q=bob&after={two.pk}").content.decode()
    assert f"/requests/{three.pk}" in rest
    assert f"/requests/{one.pk}" not in rest


@pytest.mark.parametrize(
    "query", ["?after=x", "?after=-1", "?after=99999999999999999999999", "?q=%00", "?profile=no"]
)
def test_a_broken_address_is_the_whole_queue(client_of: ClientOf, bob: User, iris: User, query: str) -> None:
    one = world.wait(bob)
    answer = client_of(iris).get(f"/queue{query}")
    assert answer.status_code == 200
    assert f"/requests/{one.pk}" in answer.content.decode()


def test_more_people_cost_no_further_query(client_of: ClientOf, alice: User, bob: User, iris: User) -> None:
    browser = client_of(iris)
    world.wait(bob)
    with CaptureQueriesContext(connection) as one:
        browser.get("/queue")
    world.wait(alice)
    with CaptureQueriesContext(connection) as two:
        browser.get("/queue")
    assert len(two) == len(one) <= 12


def test_an_empty_queue_says_so(client_of: ClientOf, iris: User) -> None:
    assert "Nobody is waiting" in client_of(iris).get("/queue").content.decode()
