"""New request: the panel beside the form, what is refused, and what becomes of it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from portal.accounts.models import User
from portal.approvals.models import Request, State
from sandboxes.lifecycle.models import Quota
from sandboxes.lifecycle.phases import Phase
from tests.portal.web import world

type ClientOf = Callable[[User], Client]

FORM = {
    "profile": "python",
    "purpose": "Compare two table libraries",
    "tools": "rich, tabulate\npandas",
    "duration": "P1D",
    "custom": "",
    "data_class": "public",
    **{f"answer_{key}": text for key, text in world.ANSWERS.items()},
}


@pytest.fixture
def send(client_of: ClientOf, alice: User) -> Callable[..., Any]:
    """Alice sends the form, with changes."""

    def sending(**changes: str) -> Any:
        return client_of(alice).post("/requests/new", {**FORM, **changes})

    return sending


@pytest.fixture
def panel(client_of: ClientOf, alice: User) -> Callable[..., Any]:
    """Alice changes a field, and htmx asks what policy will say."""

    def asking(**changes: str) -> Any:
        return client_of(alice).post(
            "/requests/new/preview", {**FORM, **changes}, headers={"HX-Request": "true"}
        )

    return asking


def test_the_form_offers_every_profile_and_question(client_of: ClientOf, alice: User) -> None:
    page = client_of(alice).get("/requests/new").content.decode()
    for profile in ("python", "notebook", "data-science", "gpu"):
        assert f'value="{profile}"' in page
    assert page.count('name="answer_') == 4
    assert "What policy will say" in page
    assert "Approved at once" in page


def test_an_ordinary_request_is_approved_at_once(send: Callable[..., Any], alice: User) -> None:
    answer = send()
    made = Request.objects.get()
    assert made.requester == alice
    assert made.tools == ["rich", "tabulate", "pandas"]
    assert made.state == State.APPROVED
    assert made.sandbox is not None
    assert made.sandbox.phase == Phase.PENDING
    assert answer["Location"] == f"/sandboxes/{made.sandbox.pk}"


def test_a_gpu_waits_for_an_approver(send: Callable[..., Any]) -> None:
    answer = send(profile="gpu")
    made = Request.objects.get()
    assert made.state == State.PENDING
    assert answer["Location"] == f"/requests/{made.pk}"


def test_a_duration_of_ones_own(send: Callable[..., Any]) -> None:
    send(duration="custom", custom="PT10M")
    assert Request.objects.get().duration.total_seconds() == 600


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"purpose": " "}, "purpose", "Say what you want to find out."),
        ({"tools": " ,\n"}, "tools", "Name at least one tool."),
        ({"duration": "custom", "custom": "ten minutes"}, "duration", "ISO 8601"),
        ({"duration": "custom", "custom": "P90D"}, "duration", "at most 30 days"),
        ({"profile": "mainframe"}, "profile", "choose one of"),
        ({"data_class": "confidential"}, "data_class", "Confidential data may not be used"),
        ({"data_class": "personal"}, "data_class", "Personal data may not be used"),
        ({"answer_licence": ""}, "answer_licence", "Which licence does it have"),
    ],
)
def test_mistakes_are_named_beside_their_field(
    send: Callable[..., Any], changes: dict[str, str], field: str, said: str
) -> None:
    answer = send(**changes)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert f'<a href="#field-{field}">' in page
    assert f'id="field-{field}"' in page
    assert said in page
    assert "1 thing to put right" in page
    assert not Request.objects.exists()


def test_what_was_typed_is_kept(send: Callable[..., Any]) -> None:
    page = send(purpose="", tools="a <b>bold</b> tool", data_class="internal").content.decode()
    assert "a &lt;b&gt;bold&lt;/b&gt; tool" in page
    assert 'value="internal" checked' in page
    assert "My answer to why" in page


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Approved at once"),
        ({"profile": "gpu"}, "An approver decides"),
        ({"duration": "custom", "custom": "P8D"}, "8 days is more than 7 days"),
        ({"data_class": "personal"}, "Personal data may not be used"),
        ({"duration": "custom", "custom": "soon"}, "is not an ISO 8601 duration"),
        ({"purpose": "", "tools": "", "answer_why": ""}, "Approved at once"),  # still being written
    ],
)
def test_the_panel_says_what_policy_will_say(
    panel: Callable[..., Any], changes: dict[str, str], said: str
) -> None:
    answer = panel(**changes)
    assert answer.status_code == 200
    assert said in answer.content.decode()
    assert not Request.objects.exists()


def test_the_panel_says_nothing_twice(panel: Callable[..., Any]) -> None:
    said = panel().content.decode().split('name="said" value="')[1].split('"')[0]
    assert panel(said=said).status_code == 204
    assert panel(said=said, profile="gpu").status_code == 200


def test_the_panel_shows_the_arithmetic_of_the_quotas(panel: Callable[..., Any], alice: User) -> None:
    Quota.objects.all().delete()
    Quota.objects.create(scope="person", subject="", sandboxes=1)
    assert "You: 0 of 1 sandbox, this makes 1." in panel().content.decode()
    world.ask(alice)
    shown = panel().content.decode()
    assert "You: 1 of 1 sandbox, this would make 2." in shown
    assert "One of these would have to end" in shown
    assert "as number 1 in the queue" in shown
    assert panel(profile="gpu", data_class="personal").content.decode().count("sandbox, this") == 0


def test_a_request_that_finds_no_room_is_queued_and_says_so(
    send: Callable[..., Any], client_of: ClientOf, alice: User
) -> None:
    Quota.objects.update_or_create(scope="person", subject="alice", defaults={"sandboxes": 0})
    answer = send()
    made = Request.objects.get()
    assert made.state == State.APPROVED
    assert made.sandbox is not None
    assert (made.sandbox.phase, made.sandbox.department) == (Phase.QUEUED, alice.department)
    page = client_of(alice).get(answer["Location"]).content.decode()
    assert "It is number 1 in the queue." in page
    assert "alice: at most 0 sandboxes, and one alone takes 1." in page


def test_nobody_signed_in_sends_nothing(client: Client, db: None) -> None:
    assert client.post("/requests/new", FORM).status_code == 302
    assert not Request.objects.exists()


def test_without_a_csrf_token_it_is_refused(alice: User) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(alice, backend="allauth.account.auth_backends.AuthenticationBackend")
    answer = browser.post("/requests/new", FORM)
    assert answer.status_code == 403
    assert "This form is out of date" in answer.content.decode()


def test_what_never_fits_does_not_start_by_itself(panel: Callable[..., Any]) -> None:
    Quota.objects.update_or_create(scope="person", subject="", defaults={"sandboxes": 0})
    said = panel().content.decode()
    assert "An admin would have to raise the limit." in said
    assert "waits until an admin raises that limit" in said
    assert "by itself" not in said
