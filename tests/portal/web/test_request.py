"""A request's page: who sees what, who decides, and two approvers at once."""

from collections.abc import Callable

import pytest
from django.test import Client

from portal.accounts.models import User
from portal.approvals import services
from portal.approvals.models import Request, State
from tests.portal.web import world

type ClientOf = Callable[[User], Client]


@pytest.fixture
def waits(bob: User) -> Request:
    return world.wait(bob, profile="notebook", duration="P14D")


def test_its_requester_sees_why_and_may_withdraw(client_of: ClientOf, bob: User, waits: Request) -> None:
    page = client_of(bob).get(f"/requests/{waits.pk}").content.decode()
    assert "14 days is more than 7 days" in page
    assert "Withdraw request" in page
    assert 'value="approve"' not in page


def test_an_approver_sees_the_history_and_decides(
    client_of: ClientOf, iris: User, bob: User, waits: Request
) -> None:
    before = world.wait(bob)
    services.decide(before.pk, by=iris, approve=False, reason="No GPU is free.")
    page = client_of(iris).get(f"/requests/{waits.pk}").content.decode()
    assert "0 approved, 1 denied" in page
    assert 'value="approve"' in page
    assert "Withdraw request" not in page


def test_others_do_not_see_it(client_of: ClientOf, alice: User, waits: Request) -> None:
    assert client_of(alice).get(f"/requests/{waits.pk}").status_code == 404


def test_an_auditor_sees_it_and_decides_nothing(client_of: ClientOf, omar: User, waits: Request) -> None:
    browser = client_of(omar)
    assert 'value="approve"' not in browser.get(f"/requests/{waits.pk}").content.decode()
    answer = browser.post(f"/requests/{waits.pk}/decide", {"decision": "approve"})
    assert answer.status_code == 403
    waits.refresh_from_db()
    assert waits.state == State.PENDING


def test_approve_for_a_shorter_time(client_of: ClientOf, iris: User, waits: Request) -> None:
    answer = client_of(iris).post(
        f"/requests/{waits.pk}/decide",
        {"decision": "approve", "reason": "A day will do.", "granted": "P1D"},
        follow=True,
    )
    page = answer.content.decode()
    waits.refresh_from_db()
    assert waits.state == State.APPROVED
    assert waits.decision.duration.days == 1
    assert "A day will do." in page
    assert "of the 14 days asked for" in page


def test_denying_needs_a_reason(client_of: ClientOf, iris: User, waits: Request) -> None:
    browser = client_of(iris)
    answer = browser.post(f"/requests/{waits.pk}/decide", {"decision": "deny", "reason": " "})
    assert answer.status_code == 422
    assert "Say why it is denied" in answer.content.decode()
    browser.post(f"/requests/{waits.pk}/decide", {"decision": "deny", "reason": "Use the test data."})
    waits.refresh_from_db()
    assert waits.state == State.DENIED


def test_of_two_approvers_the_second_is_told_who_decided(
    client_of: ClientOf, iris: User, igor: User, waits: Request
) -> None:
    client_of(iris).post(f"/requests/{waits.pk}/decide", {"decision": "approve", "reason": "Go on."})
    late = client_of(igor).post(
        f"/requests/{waits.pk}/decide", {"decision": "deny", "reason": "No."}, follow=True
    )
    assert "approved already, by Iris: Go on." in late.content.decode()
    waits.refresh_from_db()
    assert waits.state == State.APPROVED


def test_nobody_decides_on_their_own(client_of: ClientOf, iris: User) -> None:
    own = world.wait(iris)
    browser = client_of(iris)
    page = browser.get(f"/requests/{own.pk}").content.decode()
    assert "Nobody decides on their own" in page
    assert 'value="approve"' not in page
    answer = browser.post(f"/requests/{own.pk}/decide", {"decision": "approve"})
    assert answer.status_code == 403
    assert "Nobody decides on their own request" in answer.content.decode()


def test_withdrawing(client_of: ClientOf, bob: User, alice: User, iris: User, waits: Request) -> None:
    assert client_of(alice).post(f"/requests/{waits.pk}/withdraw").status_code == 404
    assert client_of(iris).post(f"/requests/{waits.pk}/withdraw").status_code == 403
    page = client_of(bob).post(f"/requests/{waits.pk}/withdraw", follow=True).content.decode()
    assert "The request is withdrawn." in page
    again = client_of(bob).post(f"/requests/{waits.pk}/withdraw", follow=True).content.decode()
    assert "withdrawn already" in again


def test_it_follows_its_sandbox_and_then_rests(client_of: ClientOf, alice: User) -> None:
    sandbox = world.making(alice)
    made = sandbox.requests.get()
    browser = client_of(alice)
    page = browser.get(f"/requests/{made.pk}").content.decode()
    assert f'href="/sandboxes/{sandbox.pk}"' in page
    assert 'hx-trigger="every 2s"' in page
    world.over(sandbox)
    assert "hx-trigger" not in browser.get(f"/requests/{made.pk}").content.decode()


def test_policys_rule_is_shown_as_it_stood(client_of: ClientOf, alice: User) -> None:
    made = world.ask(alice)
    page = client_of(alice).get(f"/requests/{made.pk}").content.decode()
    assert made.rule is not None
    assert made.rule["name"] in page
    assert "The whole lease is at most 7 days" in page
    assert "Policy" in page


def test_what_policy_said_is_dated(client_of: ClientOf, bob: User, waits: Request) -> None:
    page = client_of(bob).get(f"/requests/{waits.pk}").content.decode()
    said = page.partition("What policy said")[2].partition("14 days is more")[0]
    assert "At the time of asking, <time" in said
    assert f"{waits.created_at:%Y-%m-%d %H:%M:%S} UTC" in said
