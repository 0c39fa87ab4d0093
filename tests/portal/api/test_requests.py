"""/requests as a script speaks it."""

from datetime import datetime
from typing import Any

import pytest

from portal.accounts.models import User
from portal.approvals.models import Request
from sandboxes.lifecycle.models import Quota
from tests.portal.api.conftest import Caller, is_problem


def test_policy_approves_the_ordinary_case_at_once(alice: User, asked: dict[str, Any]) -> None:
    caller = Caller(alice)
    response = caller.post("/requests", asked)
    assert response.status_code == 201
    made = response.json()
    assert made["state"] == "approved"
    assert made["reasons"]
    assert made["sandbox"] is not None
    assert made["requester"] == "alice"
    assert {name: made[name] for name in asked} == asked
    assert made["decision"]["by"] is None
    assert made["decision"]["approved"] is True
    assert made["decision"]["duration"] == "PT4H"
    assert made["created_at"].endswith("Z")
    assert datetime.fromisoformat(made["created_at"]).utcoffset() is not None
    assert response["Location"] == f"/api/v1/requests/{made['id']}"
    assert caller.get(f"/requests/{made['id']}").json() == made
    assert caller.get(f"/sandboxes/{made['sandbox']}").json()["phase"] == "pending"


def test_an_approver_decides_and_may_shorten(bob: User, iris: User, undecided: dict[str, Any]) -> None:
    caller, approver = Caller(bob), Caller(iris)
    made = caller.post("/requests", undecided).json()
    assert (made["state"], made["sandbox"], made["decision"]) == ("pending", None, None)
    assert [row["id"] for row in approver.get("/requests", state="pending").json()] == [made["id"]]

    decision = {"decision": "approve", "reason": "for the demo", "duration": "PT1H"}
    response = approver.post(f"/requests/{made['id']}/decision", decision)
    assert response.status_code == 200
    decided = caller.get(f"/requests/{made['id']}").json()
    assert decided == response.json()
    assert decided["state"] == "approved"
    assert decided["sandbox"] is not None
    granted = decided["decision"]
    assert (granted["by"], granted["reasons"], granted["duration"]) == ("iris", ["for the demo"], "PT1H")
    assert approver.get("/requests", state="pending").json() == []


def test_a_denial_says_why(bob: User, iris: User, undecided: dict[str, Any]) -> None:
    made = Caller(bob).post("/requests", undecided).json()
    address = f"/requests/{made['id']}/decision"
    is_problem(Caller(iris).post(address, {"decision": "deny", "reason": " "}), 422, "invalid")
    denied = Caller(iris).post(address, {"decision": "deny", "reason": "no GPU is free"}).json()
    assert (denied["state"], denied["sandbox"]) == ("denied", None)
    assert denied["decision"]["reasons"] == ["no GPU is free"]


def test_of_two_decisions_the_second_is_told(
    bob: User, iris: User, igor: User, undecided: dict[str, Any]
) -> None:
    made = Caller(bob).post("/requests", undecided).json()
    address = f"/requests/{made['id']}/decision"
    assert Caller(iris).post(address, {"decision": "deny", "reason": "no GPU is free"}).status_code == 200
    body = is_problem(Caller(igor).post(address, {"decision": "approve", "reason": "ok"}), 409, "conflict")
    assert "Iris" in body["detail"]


def test_nobody_decides_on_their_own(iris: User, undecided: dict[str, Any]) -> None:
    caller = Caller(iris)
    made = caller.post("/requests", undecided).json()
    response = caller.post(f"/requests/{made['id']}/decision", {"decision": "approve", "reason": "me"})
    is_problem(response, 403, "refused")


def test_withdraw(bob: User, iris: User, undecided: dict[str, Any]) -> None:
    caller = Caller(bob)
    made = caller.post("/requests", undecided).json()
    is_problem(Caller(iris).post(f"/requests/{made['id']}/withdraw"), 403, "refused")
    assert caller.post(f"/requests/{made['id']}/withdraw").json()["state"] == "withdrawn"
    is_problem(caller.post(f"/requests/{made['id']}/withdraw"), 409, "conflict")
    assert [row["id"] for row in caller.get("/requests", state="withdrawn").json()] == [made["id"]]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"duration": "10 minutes"}, "duration"),
        ({"duration": "P1M"}, "duration"),
        ({"duration": "P400D"}, "duration"),
        ({"profile": "mainframe"}, "profile"),
        ({"purpose": "  "}, "purpose"),
        ({"purpose": None}, "purpose"),
        ({"purpose": "nul \0"}, "purpose"),
        ({"purpose": "half a pair \ud800"}, "purpose"),
        ({"purpose": "x" * 5000}, "purpose"),
        ({"tools": "polars"}, "tools"),
        ({"tools": ["polars", 7]}, "tools.1"),
        ({"data_class": "secret"}, "data_class"),
        ({"answers": {"why": 1}}, "answers.why"),
        ({"answers": {"reason": "It helps"}}, "answers"),
        ({"durations": "PT1H"}, "durations"),
    ],
)
def test_what_cannot_be_taken_is_named(
    alice: User, asked: dict[str, Any], change: dict[str, Any], field: str
) -> None:
    body = is_problem(Caller(alice).post("/requests", {**asked, **change}), 422, "invalid")
    assert set(body["errors"]) == {field}
    assert not Request.objects.exists()


def test_missing_fields_are_all_named(alice: User) -> None:
    body = is_problem(Caller(alice).post("/requests", {"profile": "python"}), 422, "invalid")
    assert set(body["errors"]) == {"purpose", "duration", "data_class"}


@pytest.mark.parametrize("data_class", ["confidential", "personal"])
def test_data_that_is_refused(alice: User, asked: dict[str, Any], data_class: str) -> None:
    body = is_problem(
        Caller(alice).post("/requests", {**asked, "data_class": data_class}), 422, "data_class_refused"
    )
    assert set(body["errors"]) == {"data_class"}


@pytest.mark.parametrize("change", [{"duration": "soon"}, {"reason": "nul \0"}, {"decision": "maybe"}])
def test_a_decision_that_cannot_be_taken(
    bob: User, iris: User, undecided: dict[str, Any], change: dict[str, str]
) -> None:
    made = Caller(bob).post("/requests", undecided).json()
    decision = {"decision": "approve", "reason": "ok", **change}
    body = is_problem(Caller(iris).post(f"/requests/{made['id']}/decision", decision), 422, "invalid")
    assert set(body["errors"]) == set(change)


def test_pages_of_a_list(bob: User, undecided: dict[str, Any]) -> None:
    caller = Caller(bob)
    ids = [caller.post("/requests", undecided).json()["id"] for _ in range(5)]
    seen: list[int] = []
    response = caller.get("/requests", limit=2, state="pending")
    while True:
        seen += [row["id"] for row in response.json()]
        if "Link" not in response:
            break
        address, _, relation = response["Link"].partition(">; ")
        assert relation == 'rel="next"'
        assert "limit=2" in address
        assert "state=pending" in address
        response = caller.get(address.removeprefix("<http://testserver/api/v1"))
    assert seen == ids[::-1]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 201}, "limit"),
        ({"before": "x"}, "before"),
        ({"before": 2**63}, "before"),
    ],
)
def test_pages_that_are_none(alice: User, query: dict[str, Any], field: str) -> None:
    assert set(is_problem(Caller(alice).get("/requests", **query), 422, "invalid")["errors"]) == {field}


def test_an_empty_filter_is_none(alice: User, asked: dict[str, Any]) -> None:
    caller = Caller(alice)
    caller.post("/requests", asked)
    assert len(caller.get("/requests", state="").json()) == 1
    is_problem(caller.get("/requests", state="lost"), 422, "invalid")


def test_a_preview_says_verdict_and_quotas_and_writes_nothing(alice: User, asked: dict[str, Any]) -> None:
    Quota.objects.all().delete()
    Quota.objects.create(scope="department", subject=alice.department, sandboxes=1)
    caller = Caller(alice)
    found = caller.post("/requests/preview", asked).json()
    assert (found["outcome"], found["quota"]["fits"], found["quota"]["position"]) == ("approve", True, None)
    assert found["quota"]["lines"] == [
        {"text": "Department Research: 0 of 1 sandbox, this makes 1.", "fits": True, "remedy": ""}
    ]
    assert not Request.objects.exists()
    caller.post("/requests", asked)
    quota = caller.post("/requests/preview", asked).json()["quota"]
    assert (quota["fits"], quota["position"]) == (False, 1)
    assert quota["lines"][0]["remedy"] == "1 of its 1 sandboxes would have to end."
    is_problem(caller.post("/requests/preview", {**asked, "profile": "lost"}), 422, "invalid")


def test_full_means_queued_with_a_position(alice: User, asked: dict[str, Any]) -> None:
    Quota.objects.update_or_create(scope="person", subject="alice", defaults={"sandboxes": 0})
    caller = Caller(alice)
    made = [caller.post("/requests", asked).json()["sandbox"] for _ in range(2)]
    shown = caller.get(f"/sandboxes/{made[1]}").json()
    assert (shown["phase"], shown["queue_position"], shown["cluster"]) == ("queued", 2, "")
    assert "It is number 2 in the queue." in shown["status"]
    listed = caller.get("/sandboxes").json()
    assert [(row["id"], row["queue_position"]) for row in listed] == [(made[1], 2), (made[0], 1)]
    assert caller.post(f"/sandboxes/{made[0]}/end").status_code == 202
    assert caller.get(f"/sandboxes/{made[1]}").json()["queue_position"] == 1
