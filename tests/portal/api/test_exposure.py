"""/exposure, /exposure/sbom, /sandboxes/{id}/sbom and /sandboxes/{id}/evidence."""

import io
import json
import zipfile
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from portal.accounts.models import User
from sandboxes.audit.models import Entry
from sandboxes.lifecycle import isolation
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import Phase
from sandboxes.screening import exposures, sbom
from tests.portal.api.conftest import Caller, is_problem
from tests.sandboxes.screening.exposing import BAD, malicious, received

type Make = Callable[..., Sandbox]
pytestmark = pytest.mark.django_db


@pytest.fixture
def hers(alice: User, sandbox_of: Make) -> Sandbox:
    made = sandbox_of(alice, department="Research", tools=["demo>=1"])
    received(made)
    return made


@pytest.fixture
def his(bob: User, sandbox_of: Make) -> Sandbox:
    made = sandbox_of(bob, phase=Phase.ENDED, next_check_at=None)
    received(made)
    return made


@pytest.fixture
def found(ada: User, hers: Sandbox, his: Sandbox) -> None:
    Sandbox.objects.filter(pk=hers.pk).update(ready_at=hers.created_at)
    malicious(ada)
    exposures.expose()


def test_who_has_it(found: None, iris: User, hers: Sandbox, his: Sandbox) -> None:
    rows = Caller(iris).get("/exposure", advisory=BAD).json()
    assert {row["sandbox"] for row in rows} == {hers.pk, his.pk}
    (row,) = [row for row in rows if row["sandbox"] == hers.pk]
    file = hers.installs.get()
    expected = {
        "advisory": BAD,
        "kind": "malicious",
        "person": "alice",
        "department": "Research",
        "project": "demo",
        "version": "1.0",
        "filename": file.filename,
        "sha256": file.sha256,
        "live": True,
        "phase": "isolated",
        "action": "isolate",
        "error": "",
        "closed_at": None,
    }
    assert {name: row[name] for name in expected} == expected
    assert row["done_at"].endswith("Z")
    (past,) = [row for row in rows if row["sandbox"] == his.pk]
    assert (past["live"], past["done_at"]) == (False, None)


def test_filters(found: None, iris: User, hers: Sandbox, his: Sandbox) -> None:
    caller = Caller(iris)
    assert [row["sandbox"] for row in caller.get("/exposure", sandbox=his.pk).json()] == [his.pk]
    assert [row["sandbox"] for row in caller.get("/exposure", live="true").json()] == [hers.pk]
    assert len(caller.get("/exposure", open="true").json()) == 2
    assert caller.get("/exposure", open="false").json() == []
    is_problem(caller.get("/exposure", advisory="MAL-none"), 404, "not_found")


def test_pages_count_exposures(found: None, iris: User) -> None:
    first = Caller(iris).get("/exposure", limit=1)
    assert len(first.json()) == 1
    assert f"before={first.json()[0]['exposure']}" in first["Link"]
    second = Caller(iris).get("/exposure", limit=1, before=first.json()[0]["exposure"])
    assert len(second.json()) == 1
    assert "Link" not in second


def test_totals_are_of_all_pages(found: None, ada: User, omar: User, alice: User, hers: Sandbox) -> None:
    """And say whether the past was looked through."""
    received(hers, filename="demo-1.0.tar.gz", sha256="e" * 64)
    exposures.expose()
    first, last = hers.installs.order_by("pk").first(), hers.installs.order_by("pk").last()
    assert first is not None
    assert last is not None
    told = Caller(omar).get("/exposure/totals", advisory=BAD).json()
    sums = {"found": 2, "live": 1, "past": 1, "closed": 0, "files": 3, "complete": True}
    assert {name: told[name] for name in sums} == sums
    assert datetime.fromisoformat(told["first"]).timestamp() == pytest.approx(first.at.timestamp(), abs=0.001)
    assert datetime.fromisoformat(told["last"]).timestamp() == pytest.approx(last.at.timestamp(), abs=0.001)
    malicious(ada, month=5, withdrawn="2026-05-01T00:00:00Z")
    told = Caller(omar).get("/exposure/totals", advisory=BAD).json()
    assert (told["closed"], told["complete"]) == (0, False)
    exposures.expose()
    told = Caller(omar).get("/exposure/totals", advisory=BAD).json()
    assert [told[name] for name in ("found", "live", "past", "closed", "complete")] == [2, 0, 0, 2, True]
    is_problem(Caller(omar).get("/exposure/totals", advisory="MAL-none"), 404, "not_found")
    is_problem(Caller(alice).get("/exposure/totals", advisory=BAD), 403, "forbidden")


def test_an_employee_sees_their_own(found: None, alice: User, hers: Sandbox) -> None:
    assert [row["sandbox"] for row in Caller(alice).get("/exposure", advisory=BAD).json()] == [hers.pk]


def test_bills_of_materials(found: None, alice: User, bob: User, iris: User, hers: Sandbox) -> None:
    answer = Caller(alice).get(f"/sandboxes/{hers.pk}/sbom")
    assert answer["Content-Type"].startswith("application/vnd.cyclonedx+json")
    assert sbom.faults(answer.content.decode()) == []
    assert answer.json()["vulnerabilities"][0]["id"] == BAD
    is_problem(Caller(bob).get(f"/sandboxes/{hers.pk}/sbom"), 404, "not_found")


@pytest.mark.parametrize("spelled", ["demo", "Demo", "DEMO"])
def test_the_bill_of_a_tool(found: None, iris: User, bob: User, spelled: str) -> None:
    answer = Caller(iris).get("/exposure/sbom", tool=spelled).json()
    assert answer["metadata"]["component"]["name"] == "tool demo"
    assert [one["name"] for one in answer["components"]] == ["demo"]
    is_problem(Caller(bob).get("/exposure/sbom", tool=spelled), 404, "not_found")
    is_problem(Caller(iris).get("/exposure/sbom", tool="dem"), 404, "not_found")
    is_problem(Caller(iris).get("/exposure/sbom", tool="d(mo"), 404, "not_found")


def test_evidence(found: None, iris: User, alice: User, hers: Sandbox, his: Sandbox) -> None:
    answer = Caller(iris).get(f"/sandboxes/{hers.pk}/evidence")
    data = b"".join(answer.streaming_content)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        listed: dict[str, Any] = json.loads(archive.read("manifest.json"))
    assert listed["manifest"]["by"] == "iris"
    assert Entry.objects.filter(action="sandbox.evidence_taken").count() == 1
    is_problem(Caller(alice).get(f"/sandboxes/{hers.pk}/evidence"), 403, "forbidden")
    is_problem(Caller(iris).get(f"/sandboxes/{his.pk}/evidence"), 409, "conflict")


def test_released_is_still_evidence(found: None, iris: User, hers: Sandbox) -> None:
    isolation.release(hers.pk, by=iris, reason="Fine")
    assert Caller(iris).get(f"/sandboxes/{hers.pk}/evidence").status_code == 200
