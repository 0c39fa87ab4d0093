"""/sandboxes as a script speaks it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from portal.accounts.models import User
from sandboxes.lifecycle.models import Probe, Receipt, Sandbox
from sandboxes.lifecycle.phases import Phase
from sandboxes.lifecycle.queries import index_url
from sandboxes.usage.models import Install
from tests.portal.api.conftest import Caller, is_problem

type Make = Callable[..., Sandbox]


def test_the_owner_sees_the_way_in(alice: User, sandbox_of: Make) -> None:
    now = timezone.now()
    sandbox = sandbox_of(alice, ready_at=now, expires_at=now)
    Probe.objects.create(sandbox=sandbox, passed=False, simulated=True, attempts=[])
    Probe.objects.create(sandbox=sandbox, passed=True, simulated=True, attempts=[{"target": "internet"}])
    shown = Caller(alice).get(f"/sandboxes/{sandbox.pk}").json()
    assert shown["index_url"] == index_url(sandbox)
    assert f"{sandbox.name}:" in shown["index_url"]
    assert (shown["name"], shown["namespace"], shown["cluster"]) == (
        sandbox.name,
        sandbox.namespace,
        "simulated",
    )
    assert (shown["phase"], shown["owner"], shown["simulated"]) == ("ready", "alice", True)
    assert shown["status"]
    assert shown["ready_at"].endswith("Z")
    assert shown["probe"]["passed"] is True
    assert shown["probe"]["attempts"] == [{"target": "internet"}]
    assert shown["receipt"] is None


def test_nobody_else_sees_the_way_in(
    alice: User, omar: User, iris: User, ada: User, sandbox_of: Make
) -> None:
    sandbox = sandbox_of(alice)
    for other in (omar, iris, ada):
        caller = Caller(other)
        assert caller.get(f"/sandboxes/{sandbox.pk}").json()["index_url"] is None
        assert [row["index_url"] for row in caller.get("/sandboxes").json()] == [None]


def test_no_way_in_before_it_is_ready(alice: User, sandbox_of: Make) -> None:
    sandbox = sandbox_of(alice, phase=Phase.PROBING)
    assert Caller(alice).get(f"/sandboxes/{sandbox.pk}").json()["index_url"] is None


def test_the_receipt(alice: User, sandbox_of: Make) -> None:
    sandbox = sandbox_of(alice, phase=Phase.ENDED, end_reason="expired")
    Receipt.objects.create(sandbox=sandbox, document={"namespace": "gone"})
    shown = Caller(alice).get(f"/sandboxes/{sandbox.pk}").json()
    assert shown["receipt"]["document"] == {"namespace": "gone"}
    assert shown["end_reason"] == "expired"


def test_a_list_costs_the_same_for_many(
    alice: User, sandbox_of: Make, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(12):
        Probe.objects.create(sandbox=sandbox_of(alice), passed=True, simulated=True, attempts=[])
    caller = Caller(alice)
    caller.get("/sandboxes")  # notes the token's use, once a minute
    with django_assert_max_num_queries(4):  # the token, the sandboxes, their probes, their ways out
        rows = caller.get("/sandboxes").json()
    assert len(rows) == 12
    assert all(row["probe"]["passed"] for row in rows)
    assert rows[0] == caller.get(f"/sandboxes/{rows[0]['id']}").json()


def test_by_phase(alice: User, sandbox_of: Make) -> None:
    sandbox_of(alice)
    failed = sandbox_of(alice, phase=Phase.FAILED, failure="no quota")
    (row,) = Caller(alice).get("/sandboxes", phase="failed").json()
    assert (row["id"], row["failure"]) == (failed.pk, "no quota")
    is_problem(Caller(alice).get("/sandboxes", phase="asleep"), 422, "invalid")


def test_end(alice: User, sandbox_of: Make) -> None:
    sandbox, caller = sandbox_of(alice), Caller(alice)
    response = caller.post(f"/sandboxes/{sandbox.pk}/end")
    assert (response.status_code, response.json()["phase"]) == (202, "ending")
    assert response.json()["index_url"] is None
    assert caller.post(f"/sandboxes/{sandbox.pk}/end").status_code == 202
    Sandbox.objects.filter(pk=sandbox.pk).update(phase=Phase.ENDED)
    is_problem(caller.post(f"/sandboxes/{sandbox.pk}/end"), 409, "conflict")


def test_who_ends_whose(alice: User, omar: User, iris: User, sandbox_of: Make) -> None:
    sandbox = sandbox_of(alice)
    is_problem(Caller(omar).post(f"/sandboxes/{sandbox.pk}/end"), 403, "refused")
    assert Caller(iris).post(f"/sandboxes/{sandbox.pk}/end").status_code == 202


def test_extend(alice: User, iris: User, sandbox_of: Make) -> None:
    sandbox = sandbox_of(alice)
    more = {"duration": "PT1H", "reason": "the test takes longer"}
    response = Caller(alice).post(f"/sandboxes/{sandbox.pk}/extend", more)
    assert response.status_code == 201
    made = response.json()
    assert (made["kind"], made["sandbox"], made["duration"]) == ("extension", sandbox.pk, "PT1H")
    assert made["purpose"] == "the test takes longer"
    is_problem(Caller(iris).post(f"/sandboxes/{sandbox.pk}/extend", more), 404, "not_found")


@pytest.mark.parametrize("change", [{"duration": "more"}, {"reason": 7}])
def test_an_extension_that_cannot_be_taken(alice: User, sandbox_of: Make, change: dict[str, Any]) -> None:
    more = {"duration": "PT1H", "reason": "the test takes longer", **change}
    response = Caller(alice).post(f"/sandboxes/{sandbox_of(alice).pk}/extend", more)
    assert set(is_problem(response, 422, "invalid")["errors"]) == set(change)


def test_installs(alice: User, omar: User, sandbox_of: Make) -> None:
    sandbox = sandbox_of(alice)
    for version in ("1.0", "1.1", "1.2"):
        Install.objects.create(
            sandbox=sandbox,
            project="polars",
            version=version,
            filename=f"polars-{version}-py3-none-any.whl",
            sha256=version.ljust(64, "0"),
            size=1024,
            client="pip 26.3",
        )
    first = Caller(omar).get(f"/sandboxes/{sandbox.pk}/installs", limit=2)
    assert [row["version"] for row in first.json()] == ["1.2", "1.1"]
    assert first.json()[0]["client"] == "pip 26.3"
    address = first["Link"].partition(">")[0].removeprefix("<http://testserver/api/v1")
    rest = Caller(omar).get(address)
    assert [row["version"] for row in rest.json()] == ["1.0"]
    assert "Link" not in rest
