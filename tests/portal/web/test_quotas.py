"""Quotas as an admin sees and sets them."""

from collections.abc import Callable

import pytest
from django.test import Client

from portal.accounts.models import User
from portal.web import amounts_form
from sandboxes.audit.models import Entry
from sandboxes.errors import InvalidInputError
from sandboxes.lifecycle.amounts import Limits
from sandboxes.lifecycle.models import Quota
from tests.portal.web import world

type ClientOf = Callable[[User], Client]
pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("typed", "limits"),
    [
        ({}, Limits()),
        ({"sandboxes": "3", "cpus": "1.5", "memory": "0,5", "gpus": "0"}, Limits(3, 1500, 512, 0)),
        ({"cpus": " 2 "}, Limits(cpu_millis=2000)),
    ],
)
def test_what_is_typed(typed: dict[str, str], limits: Limits) -> None:
    assert amounts_form.parse(typed) == limits
    assert amounts_form.parse(amounts_form.typed(limits)) == limits


@pytest.mark.parametrize("text", ["-1", "two", "1.5", "NaN", "Infinity", "1e99", "9" * 30])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(InvalidInputError, match="Sandboxes"):
        amounts_form.parse({"sandboxes": text})


def test_setting_a_limit(client_of: ClientOf, ada: User, alice: User) -> None:
    world.ready(alice)
    browser = client_of(ada)
    form = {"scope": "person", "subject": "alice", "sandboxes": "1", "cpus": "", "memory": "", "gpus": ""}
    assert browser.post("/operate/quotas/change", form).status_code == 302
    assert Quota.objects.get(scope="person", subject="alice").sandboxes == 1
    assert Entry.objects.filter(action="quota.changed", subject="quota:person:alice").count() == 1
    page = browser.get("/operate/quotas").content.decode()
    assert '<td>1 <span class="soft small">of 1</span> <span class="badge wait">full</span></td>' in page
    chosen = browser.get("/operate/quotas?scope=person&subject=alice").content.decode()
    assert 'name="sandboxes" value="1"' in chosen


def test_who_waits_and_why(client_of: ClientOf, ada: User, bob: User) -> None:
    client_of(ada).post("/operate/quotas/change", {"scope": "person", "subject": "bob", "sandboxes": "1"})
    world.ready(bob)
    queued = world.ask(bob).sandbox
    assert queued is not None
    page = client_of(ada).get("/operate/quotas").content.decode()
    assert f'href="/sandboxes/{queued.pk}"' in page
    assert "1 sandbox" in page


def test_a_mistake_keeps_what_was_typed(client_of: ClientOf, ada: User) -> None:
    answer = client_of(ada).post(
        "/operate/quotas/change", {"scope": "person", "subject": "<alice>", "sandboxes": "lots"}
    )
    assert answer.status_code == 422
    page = answer.content.decode()
    assert "is no amount" in page
    assert 'value="&lt;alice&gt;"' in page
    assert 'value="lots"' in page
    assert not Quota.objects.filter(subject="<alice>").exists()
    assert client_of(ada).post("/operate/quotas/change", {"scope": "planet"}).status_code == 422


@pytest.mark.parametrize(
    ("scope", "subject", "instead"),
    [("person", "alcie", "alice"), ("department", "Reserch", "Research"), ("profile", "pyhton", "python")],
)
def test_nobody_is_limited_whom_there_is_not(
    client_of: ClientOf, ada: User, alice: User, scope: str, subject: str, instead: str
) -> None:
    form = {"scope": scope, "subject": subject, "sandboxes": "1"}
    answer = client_of(ada).post("/operate/quotas/change", form)
    assert answer.status_code == 422
    assert f"There is no {scope}" in answer.content.decode()
    assert instead in answer.content.decode().partition("Did you mean ")[2].partition("</p>")[0]
    assert not Quota.objects.filter(subject=subject).exists()
    assert (
        client_of(ada).post("/operate/quotas/change", {**form, "subject": f" {instead} "}).status_code == 302
    )
    assert Quota.objects.filter(scope=scope, subject=instead).exists()


def test_limits_of_one_who_is_gone_can_be_removed(client_of: ClientOf, ada: User) -> None:
    Quota.objects.create(scope="department", subject="Closed", sandboxes=1)
    browser = client_of(ada)
    assert (
        browser.post("/operate/quotas/change", {"scope": "department", "subject": "Closed"}).status_code
        == 302
    )
    assert not Quota.objects.filter(subject="Closed").exists()
