"""/waivers as a script speaks it."""

from collections.abc import Callable
from typing import Any

import pytest

from portal.accounts.models import User
from portal.api.waivers import WaiverState
from sandboxes.index import policy_settings
from sandboxes.index.models import Waiver
from sandboxes.index.policy.facts import Ecosystem
from sandboxes.index.policy_settings import Kind
from sandboxes.index.waivers import State
from sandboxes.lifecycle.models import Alarm, Sandbox
from tests.portal.api.conftest import Caller, is_problem
from tests.portal.web import world

type Make = Callable[..., Sandbox]


@pytest.fixture
def box(alice: User, sandbox_of: Make) -> Sandbox:
    world.demo()
    return sandbox_of(alice, department="Research")


def asking(box: Sandbox | None, **changes: Any) -> dict[str, Any]:
    plain = {"project": "Demo", "version": "2.0", "rule": "cooldown", "reason": "For the demo"}
    return {**plain, "sandbox": box.pk if box else None, **changes}


def test_states_are_all_there() -> None:
    assert {one.value for one in WaiverState} == {one.value for one in State}


def test_from_asking_to_the_end(alice: User, iris: User, bob: User, box: Sandbox) -> None:
    owner, approver = Caller(alice), Caller(iris)
    response = owner.post("/waivers", asking(box, scope="department", until="P20D"))
    assert response.status_code == 201
    asked = response.json()
    assert response["Location"].endswith(f"/api/v1/waivers/{asked['id']}")
    assert (asked["project"], asked["state"], asked["subject"]) == ("demo", "asked", "Research")
    assert owner.get("/waivers").json() == [asked]
    assert approver.get("/waivers", state="asked").json() == [asked]
    assert Caller(bob).get("/waivers").json() == []

    less = {"decision": "grant", "scope": "sandbox", "until": "P7D", "reason": "Fine"}
    granted = approver.post(f"/waivers/{asked['id']}/decision", less).json()
    assert (granted["state"], granted["scope"], granted["decided_by"]) == ("granted", "sandbox", "iris")
    assert granted["until"] < asked["until"]
    assert approver.get("/waivers", holding="true", project="demo").json() == [granted]
    assert approver.get("/waivers", project="other").json() == []
    ended = owner.post(f"/waivers/{asked['id']}/end", {"reason": "Done"}).json()
    assert (ended["state"], ended["note"]) == ("ended", "Done")
    assert owner.get(f"/waivers/{asked['id']}").json() == ended
    assert owner.get("/waivers", holding="true").json() == []


def test_why(alice: User, iris: User, bob: User, box: Sandbox) -> None:
    owner = Caller(alice)
    asked: dict[str, str | int] = {"project": "demo", "version": "2.0", "sandbox": box.pk}
    said = owner.get("/waivers/why", **asked).json()
    assert (said["given"], said["waivable"], said["instead"]) == (False, True, "1.0")
    assert (said["needed"], said["granted_by"]) == (["cooldown"], "approver")
    assert said["opens"]
    [wheel, sdist] = said["files"]
    assert (wheel["verdict"], [one["rule"] for one in wheel["findings"]]) == ("refuse", ["cooldown"])
    assert [one["rule"] for one in sdist["findings"]] == ["sdist", "cooldown"]
    number = owner.post("/waivers", asking(box)).json()["id"]
    Caller(iris).post(f"/waivers/{number}/decision", {"decision": "grant"})
    said = owner.get("/waivers/why", **asked).json()
    assert (said["given"], said["opens"], said["files"][0]["waivers"]) == (True, None, [number])
    assert (said["needed"], said["granted_by"]) == ([], None)
    assert not Caller(iris).get("/waivers/why", project="demo", version="2.0").json()["given"]
    is_problem(Caller(bob).get("/waivers/why", **asked), 404, "not_found")
    assert not owner.get("/waivers/why", project="unseen", version="1").json()["listed"]
    is_problem(owner.get("/waivers/why", project="a b", version="1"), 404, "not_found")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"rule": "nonsense"}, "rule"),
        ({"scope": "world"}, "scope"),
        ({"until": "soon"}, "until"),
        ({"reason": ""}, "reason"),
        ({"extra": 1}, "extra"),
        ({"ecosystem": "cargo"}, "ecosystem"),
        ({"sandbox": None, "scope": "sandbox"}, "scope"),
    ],
)
def test_what_cannot_be_asked(alice: User, box: Sandbox, change: dict[str, Any], field: str) -> None:
    response = Caller(alice).post("/waivers", asking(box, **change))
    assert set(is_problem(response, 422, "invalid")["errors"]) == {field}
    assert not Waiver.objects.exists()


def test_refusals(alice: User, bob: User, iris: User, box: Sandbox) -> None:
    owner, approver = Caller(alice), Caller(iris)
    is_problem(owner.post("/waivers", asking(box, rule="internal-name")), 403, "refused")
    is_problem(Caller(bob).post("/waivers", asking(box)), 404, "not_found")
    number = owner.post("/waivers", asking(box)).json()["id"]
    is_problem(owner.post("/waivers", asking(box)), 409, "conflict")
    is_problem(approver.post(f"/waivers/{number}/decision", {"decision": "refuse"}), 422, "invalid")
    wider = {"decision": "grant", "scope": "all"}
    is_problem(approver.post(f"/waivers/{number}/decision", wider), 422, "invalid")
    is_problem(Caller(bob).get(f"/waivers/{number}"), 404, "not_found")
    own = approver.post("/waivers", asking(None, scope="all")).json()["id"]
    is_problem(approver.post(f"/waivers/{own}/decision", {"decision": "grant"}), 403, "refused")
    assert owner.post(f"/waivers/{number}/withdraw").json()["state"] == "withdrawn"
    is_problem(approver.post(f"/waivers/{number}/decision", {"decision": "grant"}), 409, "conflict")


def test_what_takes_an_admin(alice: User, iris: User, ada: User, box: Sandbox) -> None:
    policy_settings.add_entry(
        profile="", ecosystem=Ecosystem.PYPI, kind=Kind.DENY, pattern="demo<=2.0", reason="No", by=ada
    )
    owner = Caller(alice)
    said = owner.get("/waivers/why", project="demo", version="2.0", sandbox=box.pk).json()
    assert (said["waivable"], said["needed"], said["granted_by"]) == (True, ["denied", "cooldown"], "admin")
    asked = owner.post("/waivers", asking(box, rule="denied")).json()
    assert asked["granted_by"] == "admin"
    assert owner.post("/waivers", asking(box, rule="cooldown")).json()["granted_by"] == "approver"
    path, grant = f"/waivers/{asked['id']}/decision", {"decision": "grant"}
    is_problem(Caller(iris).post(path, grant), 403, "refused")
    assert Caller(ada).post(path, grant).json()["state"] == "granted"


def test_breaking_the_glass(ada: User, iris: User, box: Sandbox) -> None:
    body = {"project": "demo", "version": "2.0", "sandbox": box.pk, "reason": "Tonight"}
    is_problem(Caller(iris).post("/waivers/break-glass", body), 403, "forbidden")
    response = Caller(ada).post("/waivers/break-glass", body)
    assert response.status_code == 201
    glass = response.json()
    assert (glass["break_glass"], glass["rule"], glass["state"]) == (True, "", "granted")
    assert Alarm.objects.filter(kind="break_glass", cleared_at=None).exists()
    long = Caller(ada).post("/waivers/break-glass", {**body, "until": "P2D"})
    assert set(is_problem(long, 422, "invalid")["errors"]) == {"until"}
