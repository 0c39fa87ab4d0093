"""/sandboxes/{id}/hibernate, wake, isolate, release, hold and lift, as a script speaks them."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from portal.accounts.models import User
from portal.accounts.permissions import Role
from portal.approvals.operations import offered
from portal.approvals.queries import may_end
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import Phase
from tests.portal.api.conftest import Caller, is_problem

type Make = Callable[..., Sandbox]


@pytest.fixture
def box(alice: User, sandbox_of: Make) -> Sandbox:
    now = timezone.now()
    return sandbox_of(alice, ready_at=now, expires_at=now + timedelta(hours=1))


def test_sleeping_and_waking_are_the_owners(alice: User, iris: User, box: Sandbox) -> None:
    is_problem(Caller(iris).post(f"/sandboxes/{box.pk}/hibernate"), 403, "refused")
    owner = Caller(alice)
    answer = owner.post(f"/sandboxes/{box.pk}/hibernate")
    assert (answer.status_code, answer.json()["phase"]) == (202, "hibernated")
    assert answer.json()["index_url"] is None
    assert answer.json()["status"].startswith("Falling asleep")
    answer = owner.post(f"/sandboxes/{box.pk}/wake")
    assert (answer.status_code, answer.json()["phase"]) == (202, "probing")
    assert answer.json()["status"] == "Opening again: its seal is tested first."
    assert answer.json()["expires_at"] is not None


def test_isolating_tells_the_owner_why(alice: User, iris: User, box: Sandbox) -> None:
    answer = Caller(iris).post(f"/sandboxes/{box.pk}/isolate", {"reason": "It scans the network."})
    assert (answer.status_code, answer.json()["phase"]) == (202, "isolated")
    seen = Caller(alice).get(f"/sandboxes/{box.pk}").json()
    assert (seen["isolation_reason"], seen["cut_at"], seen["index_url"]) == (
        "It scans the network.",
        None,
        None,
    )
    assert seen["isolated_at"].endswith("Z")


def test_releasing(alice: User, iris: User, box: Sandbox) -> None:
    approver = Caller(iris)
    why = {"reason": "A false alarm."}
    is_problem(approver.post(f"/sandboxes/{box.pk}/release", why), 409, "conflict")
    approver.post(f"/sandboxes/{box.pk}/isolate", {"reason": "odd"})
    is_problem(Caller(alice).post(f"/sandboxes/{box.pk}/release", why), 403, "forbidden")
    is_problem(approver.post(f"/sandboxes/{box.pk}/release", {"reason": " "}), 422, "invalid")
    answer = approver.post(f"/sandboxes/{box.pk}/release", why)
    assert (answer.status_code, answer.json()["phase"]) == (202, "probing")
    assert answer.json()["isolation_reason"] == ""


def test_nobody_releases_their_own(iris: User, ada: User, sandbox_of: Make) -> None:
    now = timezone.now()
    hers = sandbox_of(iris, ready_at=now, expires_at=now + timedelta(hours=1))
    Caller(iris).post(f"/sandboxes/{hers.pk}/isolate", {"reason": "odd"})
    problem = is_problem(Caller(iris).post(f"/sandboxes/{hers.pk}/release", {"reason": "me"}), 403, "refused")
    assert "another approver" in problem["detail"]
    assert Caller(ada).post(f"/sandboxes/{hers.pk}/release", {"reason": "fine"}).status_code == 202


@pytest.mark.parametrize("who", ["alice", "iris", "ada"])
def test_nobody_ends_their_own_while_it_is_isolated(
    alice: User, iris: User, ada: User, who: str, sandbox_of: Make
) -> None:
    owner = {"alice": alice, "iris": iris, "ada": ada}[who]
    now = timezone.now()
    own = sandbox_of(owner, ready_at=now, expires_at=now + timedelta(hours=1))
    other = Caller(ada if owner == iris else iris)
    other.post(f"/sandboxes/{own.pk}/isolate", {"reason": "odd"})
    problem = is_problem(Caller(owner).post(f"/sandboxes/{own.pk}/end"), 403, "refused")
    assert "never its owner" in problem["detail"]
    own.refresh_from_db()
    assert not may_end(owner, own)
    assert other.post(f"/sandboxes/{own.pk}/end").status_code == 202


def test_an_admin_neither_lifts_nor_shortens_the_hold_on_their_own(
    ada: User, bob: User, sandbox_of: Make
) -> None:
    now = timezone.now()
    own = sandbox_of(ada, ready_at=now, expires_at=now + timedelta(hours=1))
    User.objects.filter(pk=bob.pk).update(role=Role.ADMIN)
    bob.refresh_from_db()
    owner, another = Caller(ada), Caller(bob)

    def hold(caller: Caller, days: int) -> Any:
        body = {"until": (now + timedelta(days=days)).isoformat(), "reason": "A dispute."}
        return caller.post(f"/sandboxes/{own.pk}/hold", body)

    assert hold(another, 3).status_code == 200
    for answer in (hold(owner, 2), owner.post(f"/sandboxes/{own.pk}/lift", {"reason": "me"})):
        assert "another admin has to" in is_problem(answer, 403, "refused")["detail"]
    own.refresh_from_db()
    assert own.hold_until == now + timedelta(days=3)
    assert not offered(ada, own).lift
    assert hold(owner, 4).status_code == 200  # longer keeps more
    assert hold(another, 1).status_code == 200
    assert another.post(f"/sandboxes/{own.pk}/lift", {"reason": "Settled."}).status_code == 200


def test_a_hold_for_ever_is_refused_and_the_row_can_still_be_read(ada: User, box: Sandbox) -> None:
    body = {"until": "9999-12-31T23:59:59-14:00", "reason": "for ever"}
    problem = is_problem(Caller(ada).post(f"/sandboxes/{box.pk}/hold", body), 422, "invalid")
    assert "ten years" in problem["detail"]
    assert Caller(ada).get(f"/sandboxes/{box.pk}").status_code == 200


def test_a_hold_stops_every_end(alice: User, iris: User, ada: User, box: Sandbox) -> None:
    until = timezone.now() + timedelta(days=3)
    body = {"until": until.isoformat(), "reason": "A dispute."}
    is_problem(Caller(iris).post(f"/sandboxes/{box.pk}/hold", body), 403, "forbidden")
    held = Caller(ada).post(f"/sandboxes/{box.pk}/hold", body)
    assert held.status_code == 200
    assert (held.json()["hold_reason"], held.json()["hold_by"]) == ("A dispute.", "ada")
    problem = is_problem(Caller(alice).post(f"/sandboxes/{box.pk}/end"), 403, "refused")
    assert "by ada: A dispute." in problem["detail"]
    assert f"{until:%Y-%m-%d}" in problem["detail"]
    is_problem(Caller(alice).post(f"/sandboxes/{box.pk}/hibernate"), 403, "refused")
    lifted = Caller(ada).post(f"/sandboxes/{box.pk}/lift", {"reason": "Settled."})
    assert (lifted.status_code, lifted.json()["hold_until"]) == (200, None)
    assert Caller(alice).post(f"/sandboxes/{box.pk}/end").status_code == 202


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("isolate", {}, "reason"),
        ("isolate", {"reason": "x", "now": True}, "now"),
        ("hold", {"until": "2999-01-01T00:00:00", "reason": "no zone"}, "until"),
        ("hold", {"until": "soon", "reason": "x"}, "until"),
        ("lift", {"reason": "nul\0"}, "reason"),
    ],
)
def test_what_cannot_be_taken_is_named(
    ada: User, box: Sandbox, path: str, body: dict[str, Any], field: str
) -> None:
    problem = is_problem(Caller(ada).post(f"/sandboxes/{box.pk}/{path}", body), 422, "invalid")
    assert field in problem["errors"]
    box.refresh_from_db()
    assert (box.phase, box.hold_until) == (Phase.READY, None)


def test_a_hold_in_the_past_is_refused(ada: User, box: Sandbox) -> None:
    body = {"until": "2020-01-01T00:00:00Z", "reason": "late"}
    problem = is_problem(Caller(ada).post(f"/sandboxes/{box.pk}/hold", body), 422, "invalid")
    assert "in the future" in problem["detail"]
