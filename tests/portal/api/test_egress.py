"""/sandboxes/{id}/egress and /connections as a script speaks them."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from portal.accounts.models import User
from sandboxes.lifecycle import clock
from sandboxes.lifecycle.models import Sandbox
from sandboxes.usage.models import Connection
from tests.portal.api.conftest import Caller, is_problem

type Make = Callable[..., Sandbox]
ASKED = {"host": "api.example.org", "port": 443, "reason": "Load the sample", "until": "PT30M"}


@pytest.fixture
def box(alice: User, sandbox_of: Make) -> Sandbox:
    return sandbox_of(alice, expires_at=clock.now() + timedelta(hours=1))


def test_ask_decide_see_and_end(alice: User, iris: User, omar: User, box: Sandbox) -> None:
    owner, approver = Caller(alice), Caller(iris)
    response = owner.post(f"/sandboxes/{box.pk}/egress", ASKED)
    assert response.status_code == 201
    asked = response.json()
    assert (asked["kind"], asked["state"], asked["sandbox"]) == ("egress", "pending", box.pk)
    assert (asked["egress"]["host"], asked["egress"]["cidr"], asked["egress"]["port"]) == (
        "api.example.org",
        "",
        443,
    )
    assert owner.get(f"/sandboxes/{box.pk}").json()["egress"] == []

    approver.post(f"/requests/{asked['id']}/decision", {"decision": "approve", "duration": "PT5M"})
    [row] = owner.get(f"/sandboxes/{box.pk}").json()["egress"]
    assert (row["host"], row["port"], row["granted_by"], row["ended_at"]) == (
        "api.example.org",
        443,
        "iris",
        None,
    )
    assert owner.get("/sandboxes").json()[0]["egress"] == [row]
    assert Caller(omar).get(f"/sandboxes/{box.pk}/egress").json() == [row]

    ended = owner.post(f"/sandboxes/{box.pk}/egress/{row['id']}/end").json()
    assert ended["ended_at"]
    assert owner.post(f"/sandboxes/{box.pk}/egress/{row['id']}/end").json() == ended
    assert owner.get(f"/sandboxes/{box.pk}").json()["egress"] == []
    assert owner.get(f"/sandboxes/{box.pk}/egress").json() == [ended]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"host": "localhost"}, "host"),
        ({"host": "", "cidr": "0.0.0.0/0"}, "cidr"),
        ({"port": 0}, "port"),
        ({"port": "https"}, "port"),
        ({"reason": ""}, "reason"),
        ({"until": "P9D"}, "until"),
        ({"hosts": ["x"]}, "hosts"),
    ],
)
def test_what_cannot_be_taken(alice: User, box: Sandbox, change: dict[str, Any], field: str) -> None:
    response = Caller(alice).post(f"/sandboxes/{box.pk}/egress", {**ASKED, **change})
    assert set(is_problem(response, 422, "invalid")["errors"]) == {field}


def test_conflicts_and_refusals(alice: User, bob: User, iris: User, box: Sandbox) -> None:
    owner = Caller(alice)
    owner.post(f"/sandboxes/{box.pk}/egress", ASKED)
    is_problem(owner.post(f"/sandboxes/{box.pk}/egress", ASKED), 409, "conflict")
    is_problem(Caller(bob).post(f"/sandboxes/{box.pk}/egress", ASKED), 404, "not_found")
    is_problem(Caller(iris).post(f"/sandboxes/{box.pk}/egress", ASKED), 404, "not_found")
    is_problem(owner.post(f"/sandboxes/{box.pk}/egress/404/end"), 404, "not_found")


def test_connections(alice: User, box: Sandbox) -> None:
    for number in range(3):
        Connection.objects.create(
            sandbox=box, host=f"{number}.example.org", port=443, allowed=bool(number), reason="x"
        )
    caller = Caller(alice)
    page = caller.get(f"/sandboxes/{box.pk}/connections", limit=2)
    assert [row["host"] for row in page.json()] == ["2.example.org", "1.example.org"]
    assert 'rel="next"' in page["Link"]
    [last] = caller.get(f"/sandboxes/{box.pk}/connections", before=page.json()[-1]["id"]).json()
    assert (last["host"], last["allowed"], last["bytes_up"]) == ("0.example.org", False, 0)
