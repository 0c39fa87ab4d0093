"""/advisories as a script speaks it."""

import json
from typing import Any

import pytest

from portal.accounts.models import User
from sandboxes.screening.models import Advisory
from tests.portal.api.conftest import Caller, is_problem
from tests.sandboxes.screening.documents import affected, document

OURS: dict[str, Any] = {
    "summary": "It steals tokens",
    "affected": [affected("Evil", versions=["2.0"])],
    "database_specific": {"malicious": True},
}


def test_one_of_our_own(ada: User, alice: User) -> None:
    answer = Caller(ada).post("/advisories", OURS)
    made = answer.json()
    assert (answer.status_code, answer["Location"]) == (201, f"/api/v1/advisories/{made['id']}")
    assert made["id"].startswith("PETRI-")
    assert (made["malicious"], made["severity"], made["source"]) == (True, None, "put")
    assert made["affected"] == [{"ecosystem": "pypi", "project": "evil", "versions": ["2"], "ranges": []}]
    read = Caller(alice).get(f"/advisories/{made['id']}").json()
    assert read.pop("record")["summary"] == "It steals tokens"
    assert read == made
    is_problem(Caller(alice).get("/advisories/absent"), 404, "not_found")


def test_of_a_single_one_nothing_is_half_done(ada: User) -> None:
    admin = Caller(ada)
    is_problem(admin.post("/advisories", {"affected": []}), 422, "invalid")
    is_problem(admin.post("/advisories", {"id": "PETRI-2026-99", **OURS}), 404, "not_found")
    admin.post("/advisories", document("GHSA-1", affected("demo", versions=["1"])))
    is_problem(
        admin.post("/advisories", document("GHSA-1", affected("demo", versions=["1"]))), 409, "conflict"
    )
    assert [row.pk for row in Advisory.objects.all()] == ["GHSA-1"]


def test_of_many_each_is_answered_by_itself(ada: User) -> None:
    put = [document("GHSA-1", affected("demo", versions=["1"])), {"id": "odd one"}, OURS, {}]
    answer = Caller(ada).post("/advisories", put)
    assert answer.status_code == 200
    first, odd, ours, empty = answer.json()
    assert first == {"id": "GHSA-1", "code": "", "error": ""}
    assert (odd["id"], odd["code"]) == ("odd one", "invalid")
    assert odd["error"]
    assert ours["id"].startswith("PETRI-")
    assert (empty["id"], empty["code"]) == ("", "invalid")
    assert Advisory.objects.count() == 2


@pytest.mark.parametrize("body", [[OURS] * 101, "text", 7, [[OURS]], ["text"]])
def test_what_is_neither(ada: User, body: object) -> None:
    admin = Caller(ada)
    is_problem(admin.post("/advisories", json.dumps(body)), 422, "invalid")
    assert not Advisory.objects.exists()


def test_a_list_of_none_is_answered_with_none(ada: User) -> None:
    assert Caller(ada).post("/advisories", []).json() == []


def test_listed_by_pages_malware_first(ada: User, alice: User) -> None:
    admin, reader = Caller(ada), Caller(alice)
    for number in (1, 2):
        admin.post("/advisories", document(f"GHSA-{number}", affected("demo", versions=[f"{number}"])))
    bad = admin.post("/advisories", OURS).json()["id"]
    first = reader.get("/advisories", limit=2)
    assert [one["id"] for one in first.json()] == [bad, "GHSA-2"]
    assert "after=GHSA-2" in first["Link"]
    assert [one["id"] for one in reader.get("/advisories", limit=2, after="GHSA-2").json()] == ["GHSA-1"]
    assert [one["id"] for one in reader.get("/advisories", q="evil").json()] == [bad]
    assert len(reader.get("/advisories", kind="vulnerable").json()) == 2
    is_problem(reader.get("/advisories", kind="odd"), 422, "invalid")
    is_problem(reader.get("/advisories", after="absent"), 404, "not_found")
