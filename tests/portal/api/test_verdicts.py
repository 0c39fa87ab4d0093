"""/verdicts as a script speaks it."""

from datetime import timedelta

from portal.accounts.models import User
from tests.portal.api.conftest import Caller, is_problem
from tests.portal.web import world


def test_read_with_evidence_and_who_waits(iris: User, omar: User, alice: User) -> None:
    row = world.held()
    box = world.ready(alice)
    world.refused(box, row)
    read = Caller(omar).get(f"/verdicts/{row.sha256}").json()
    assert (read["state"], read["level"], read["score"], read["waits"]) == ("held", "hold", 100, [box.pk])
    assert read["findings"] == [world.FOUND]
    assert (read["decision"], read["decided_by"]) == (None, None)
    is_problem(Caller(iris).get(f"/verdicts/{'0' * 64}"), 404, "not_found")


def test_listed_by_state_and_by_pages(iris: User) -> None:
    rows = [world.held(f"p{number}", ago=timedelta(minutes=number)).sha256 for number in range(3)]
    passed = world.held("fine", state="passed", level="note").sha256
    caller = Caller(iris)
    first = caller.get("/verdicts", limit=2)
    assert [one["sha256"] for one in first.json()] == rows[:2]
    assert f"after={rows[1]}" in first["Link"]
    rest = caller.get("/verdicts", state="held", limit=2, after=rows[1])
    assert [one["sha256"] for one in rest.json()] == rows[2:]
    assert "Link" not in rest
    assert [one["sha256"] for one in caller.get("/verdicts", state="passed").json()] == [passed]
    is_problem(caller.get("/verdicts", state="odd"), 422, "invalid")


def test_decided_once_and_taken_back(iris: User, igor: User, ada: User) -> None:
    row, because = world.held(), {"reason": "Read it"}
    approver, address = Caller(iris), f"/verdicts/{row.sha256}"
    is_problem(approver.post(f"{address}/block"), 422, "invalid")
    is_problem(approver.post(f"{address}/block", {"reason": " "}), 422, "invalid")
    done = approver.post(f"{address}/block", because).json()
    assert (done["state"], done["decision"], done["decided_by"]) == ("blocked", "blocked", "iris")
    assert done["decision_reason"] == "Read it"
    is_problem(Caller(igor).post(f"{address}/release", because), 409, "conflict")
    is_problem(approver.post(f"{address}/reopen", because), 403, "refused")
    assert Caller(ada).post(f"{address}/reopen", because).json()["state"] == "held"
    assert approver.post(f"{address}/release", because).json()["state"] == "passed"
    assert approver.post(f"{address}/reopen", because).json()["decision"] is None


def test_nobody_releases_what_their_own_sandbox_waits_for(iris: User) -> None:
    row, because = world.held(), {"reason": "Fine"}
    world.refused(world.ready(iris), row)
    caller = Caller(iris)
    is_problem(caller.post(f"/verdicts/{row.sha256}/release", because), 403, "refused")
    assert caller.post(f"/verdicts/{row.sha256}/block", because).json()["state"] == "blocked"
