"""Home: what alice sees of her own, and how it stays current."""

import re
from collections.abc import Callable

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from portal.accounts.models import User
from portal.approvals import services
from tests.portal.web import world

type ClientOf = Callable[[User], Client]


def _live_address(page: str) -> str:
    found = re.search(r'hx-get="(/\?v=[0-9a-f]+)"', page)
    assert found
    return found[1]


def test_nobody_is_sent_to_sign_in(client: Client, db: None) -> None:
    answer = client.get("/")
    assert answer.status_code == 302
    assert answer["Location"] == "/accounts/login/?next=/"


def test_an_empty_home_invites(client_of: ClientOf, alice: User) -> None:
    page = client_of(alice).get("/").content.decode()
    assert "Ask for your first sandbox" in page
    assert 'href="/requests/new"' in page


def test_my_sandboxes_and_nobody_elses(client_of: ClientOf, alice: User, bob: User) -> None:
    mine, his = world.ready(alice), world.ready(bob)
    world.install(mine, "rich")
    page = client_of(alice).get("/").content.decode()
    assert f'href="/sandboxes/{mine.pk}"' in page
    assert f'href="/sandboxes/{his.pk}"' not in page
    assert "<li>rich</li>" in page
    assert "data-until" in page
    assert "Ready" in page


def test_an_approvers_home_is_their_own(client_of: ClientOf, alice: User, iris: User) -> None:
    hers = world.ready(alice)
    assert f"/sandboxes/{hers.pk}" not in client_of(iris).get("/").content.decode()


def test_waiting_and_denied_requests(client_of: ClientOf, alice: User, iris: User) -> None:
    waits, denied = world.wait(alice), world.wait(alice)
    services.decide(denied.pk, by=iris, approve=False, reason="No GPU is free this week.")
    page = client_of(alice).get("/").content.decode()
    assert f'href="/requests/{waits.pk}"' in page
    assert "Waiting for a decision" in page
    assert "No GPU is free this week." in page


def test_the_live_part_is_quiet_until_something_changes(client_of: ClientOf, alice: User) -> None:
    browser = client_of(alice)
    sandbox = world.ready(alice)
    address = _live_address(browser.get("/").content.decode())
    assert browser.get(address, headers={"HX-Request": "true"}).status_code == 204
    world.install(sandbox, "rich")
    answer = browser.get(address, headers={"HX-Request": "true"})
    assert answer.status_code == 200
    assert answer.content.decode().lstrip().startswith('<div id="live"')
    assert "<html" not in answer.content.decode()


def test_it_looks_more_often_while_something_is_on_its_way(client_of: ClientOf, alice: User) -> None:
    sandbox = world.making(alice)
    assert 'hx-trigger="every 2s"' in client_of(alice).get("/").content.decode()
    world.over(sandbox)
    assert 'hx-trigger="every 10s"' in client_of(alice).get("/").content.decode()


def test_what_is_over_stays_findable(client_of: ClientOf, alice: User) -> None:
    sandbox = world.over(world.ready(alice))
    page = client_of(alice).get("/").content.decode()
    assert f'href="/sandboxes/{sandbox.pk}"' in page
    assert "The receipt is on its page" in page


def test_a_second_sandbox_costs_no_further_query(client_of: ClientOf, alice: User) -> None:
    browser = client_of(alice)
    world.install(world.ready(alice), "rich")
    with CaptureQueriesContext(connection) as one:
        browser.get("/")
    world.install(world.ready(alice), "rich")
    with CaptureQueriesContext(connection) as two:
        browser.get("/")
    assert len(two) == len(one) <= 10
