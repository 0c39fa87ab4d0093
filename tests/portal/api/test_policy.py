"""/policy as a script speaks it."""

from typing import Any

import pytest

from portal.accounts.models import User
from sandboxes.index.policy_settings import settings_of
from tests.portal.api.conftest import Caller, is_problem

SETTINGS: dict[str, Any] = {
    "cooldown": "P14D",
    "freeze_at": "2026-03-01T00:00:00Z",
    "sdists": True,
    "yanked": False,
    "most_bytes": 1000,
    "refuse_from": "high",
    "screened": True,
    "only_allowed": False,
}


def test_read_change_and_reset(ada: User, alice: User) -> None:
    admin, reader = Caller(ada), Caller(alice)
    before = reader.get("/policy").json()
    assert (before["profile"], before["set"], before["holds"]["cooldown"]) == ("", True, "P7D")
    changed = admin.post("/policy", {**SETTINGS, "profile": "gpu", "reason": "Dear"}).json()
    assert changed["own"] == {**SETTINGS, "freeze_at": "2026-03-01T00:00:00.000000Z"}
    assert changed["holds"] == {**changed["own"], "sdists": False}
    assert changed["floor"] == before["floor"]
    assert reader.get("/policy", profile="gpu").json() == changed
    back = {"profile": "gpu", "reason": "As all"}
    assert admin.post("/policy/reset", back).json() == before
    is_problem(admin.post("/policy/reset", back), 404, "not_found")
    is_problem(reader.get("/policy", profile="none"), 404, "not_found")


def test_what_is_given_out_can_be_sent_back(ada: User) -> None:
    """No cooldown too."""
    admin = Caller(ada)
    none = {**SETTINGS, "cooldown": "", "freeze_at": None, "most_bytes": None, "refuse_from": None}
    own = admin.post("/policy", {**none, "reason": "Open"}).json()["own"]
    assert admin.post("/policy", {**own, "reason": "Same"}).json()["own"] == own


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"cooldown": "long"}, "duration"),
        ({"most_bytes": 0}, "most_bytes"),
        ({"refuse_from": "awful"}, "refuse_from"),
        ({"freeze_at": "2026-03-01T00:00:00"}, "freeze_at"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_cannot_be_set(ada: User, change: dict[str, Any], field: str) -> None:
    response = Caller(ada).post("/policy", {**SETTINGS, "reason": "x", **change})
    assert set(is_problem(response, 422, "invalid")["errors"]) == {field}
    assert settings_of("").cooldown.days == 7


def test_lists(ada: User, alice: User) -> None:
    admin, reader = Caller(ada), Caller(alice)
    body = {"kind": "deny", "pattern": "Evil_Pack", "reason": "It steals"}
    response = admin.post("/policy/entries", body)
    assert response.status_code == 201
    entry = response.json()
    assert (entry["pattern"], entry["by"], entry["ended_at"]) == ("evil-pack", "ada", None)
    assert reader.get("/policy/entries").json() == [entry]
    assert reader.get("/policy/entries", kind="allow").json() == []
    assert reader.get("/policy/entries", profile="gpu").json() == []
    is_problem(admin.post("/policy/entries", body), 409, "conflict")
    is_problem(admin.post("/policy/entries", {**body, "pattern": ">>"}), 422, "invalid")
    ended = admin.post(f"/policy/entries/{entry['id']}/end", {"reason": "Mended"}).json()
    assert ended["ended_at"]
    assert reader.get("/policy/entries").json() == []
    is_problem(admin.post(f"/policy/entries/{entry['id']}/end", {"reason": "x"}), 409, "conflict")
