"""Every operation of the document, as each role and as nobody."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from portal.accounts.models import User
from portal.accounts.permissions import Role
from portal.api.app import api
from sandboxes.lifecycle.models import Sandbox
from tests.portal.api.conftest import Caller, is_problem

EVERYBODY = frozenset(Role)
TABLE: dict[tuple[str, str], frozenset[Role]] = {
    ("POST", "/requests"): EVERYBODY,
    ("GET", "/requests"): EVERYBODY,
    ("GET", "/requests/{request_id}"): EVERYBODY,
    ("POST", "/requests/{request_id}/decision"): frozenset({Role.APPROVER, Role.ADMIN}),
    ("POST", "/requests/{request_id}/withdraw"): EVERYBODY,
    ("GET", "/sandboxes"): EVERYBODY,
    ("GET", "/sandboxes/{sandbox_id}"): EVERYBODY,
    ("POST", "/sandboxes/{sandbox_id}/extend"): EVERYBODY,
    ("POST", "/sandboxes/{sandbox_id}/end"): EVERYBODY,
    ("GET", "/sandboxes/{sandbox_id}/installs"): EVERYBODY,
    ("GET", "/sandboxes/{sandbox_id}/older"): EVERYBODY,
    ("GET", "/sandboxes/{sandbox_id}/refused"): EVERYBODY,
    ("GET", "/sandboxes/{sandbox_id}/run-time"): EVERYBODY,
    ("GET", "/sandboxes/{sandbox_id}/attempts"): EVERYBODY,
    ("GET", "/sandboxes/{sandbox_id}/honeytokens"): EVERYBODY,
    ("GET", "/sandboxes/{sandbox_id}/inventory"): EVERYBODY,
    ("POST", "/sandboxes/{sandbox_id}/inventory"): EVERYBODY,
    ("POST", "/requests/preview"): EVERYBODY,
    ("GET", "/sandboxes/{sandbox_id}/receipt"): EVERYBODY,
    ("GET", "/sandboxes/{sandbox_id}/egress"): EVERYBODY,
    ("POST", "/sandboxes/{sandbox_id}/egress"): EVERYBODY,
    ("POST", "/sandboxes/{sandbox_id}/egress/{exception_id}/end"): EVERYBODY,
    ("GET", "/sandboxes/{sandbox_id}/connections"): EVERYBODY,
    ("POST", "/sandboxes/{sandbox_id}/hibernate"): EVERYBODY,
    ("POST", "/sandboxes/{sandbox_id}/wake"): EVERYBODY,
    ("POST", "/sandboxes/{sandbox_id}/isolate"): frozenset({Role.APPROVER, Role.ADMIN}),
    ("POST", "/sandboxes/{sandbox_id}/release"): frozenset({Role.APPROVER, Role.ADMIN}),
    ("POST", "/sandboxes/{sandbox_id}/hold"): frozenset({Role.ADMIN}),
    ("POST", "/sandboxes/{sandbox_id}/lift"): frozenset({Role.ADMIN}),
    ("GET", "/sandboxes/{sandbox_id}/sbom"): EVERYBODY,
    ("GET", "/sandboxes/{sandbox_id}/evidence"): frozenset({Role.APPROVER, Role.AUDITOR, Role.ADMIN}),
    ("GET", "/exposure"): EVERYBODY,
    ("GET", "/exposure/totals"): frozenset({Role.APPROVER, Role.AUDITOR, Role.ADMIN}),
    ("GET", "/exposure/sbom"): EVERYBODY,
    ("GET", "/waivers"): EVERYBODY,
    ("POST", "/waivers"): EVERYBODY,
    ("POST", "/waivers/break-glass"): frozenset({Role.ADMIN}),
    ("GET", "/waivers/why"): EVERYBODY,
    ("GET", "/waivers/{waiver_id}"): EVERYBODY,
    ("POST", "/waivers/{waiver_id}/decision"): frozenset({Role.APPROVER, Role.ADMIN}),
    ("POST", "/waivers/{waiver_id}/withdraw"): EVERYBODY,
    ("POST", "/waivers/{waiver_id}/end"): EVERYBODY,
    ("GET", "/policy"): EVERYBODY,
    ("POST", "/policy"): frozenset({Role.ADMIN}),
    ("POST", "/policy/reset"): frozenset({Role.ADMIN}),
    ("GET", "/policy/entries"): EVERYBODY,
    ("POST", "/policy/entries"): frozenset({Role.ADMIN}),
    ("POST", "/policy/entries/{entry_id}/end"): frozenset({Role.ADMIN}),
    ("POST", "/policy-logs"): frozenset({Role.ADMIN}),
    ("GET", "/advisories"): EVERYBODY,
    ("POST", "/advisories"): frozenset({Role.ADMIN}),
    ("GET", "/advisories/{advisory_id}"): EVERYBODY,
    ("GET", "/verdicts"): frozenset({Role.APPROVER, Role.AUDITOR, Role.ADMIN}),
    ("GET", "/verdicts/{sha256}"): frozenset({Role.APPROVER, Role.AUDITOR, Role.ADMIN}),
    ("POST", "/verdicts/{sha256}/release"): frozenset({Role.APPROVER, Role.ADMIN}),
    ("POST", "/verdicts/{sha256}/block"): frozenset({Role.APPROVER, Role.ADMIN}),
    ("POST", "/verdicts/{sha256}/reopen"): frozenset({Role.APPROVER, Role.ADMIN}),
    ("GET", "/reports/usage"): frozenset({Role.AUDITOR, Role.ADMIN}),
    ("GET", "/audit"): frozenset({Role.AUDITOR, Role.ADMIN}),
    ("GET", "/audit/verify"): frozenset({Role.AUDITOR, Role.ADMIN}),
}
OPERATIONS = sorted(TABLE)


def _path(template: str) -> str:
    return template.format(
        request_id=1,
        sandbox_id=1,
        exception_id=1,
        waiver_id=1,
        entry_id=1,
        advisory_id="PETRI-1-1",
        sha256="0" * 64,
    )


def test_the_table_names_every_operation() -> None:
    document = api.get_openapi_schema()
    found = {
        (method.upper(), path.removeprefix("/api/v1"))
        for path, operations in document["paths"].items()
        for method in operations
    }
    assert found == set(TABLE)


@pytest.mark.parametrize("role", list(Role))
def test_each_role(db: None, role: Role) -> None:
    caller = Caller(User.objects.create_user("somebody", role=role))
    for method, template in OPERATIONS:
        response = caller.call(method, _path(template))
        if role in TABLE[method, template]:
            assert response.status_code in {200, 404, 422}, (
                method,
                template,
            )  # let in, to find nothing there
        else:
            is_problem(response, 403, "forbidden")


@pytest.mark.parametrize(("method", "template"), OPERATIONS)
def test_nobody(db: None, method: str, template: str) -> None:
    response = Caller(None).call(method, _path(template))
    is_problem(response, 401, "unauthenticated")
    assert response["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "template"), OPERATIONS)
def test_somebody_without_a_role(db: None, method: str, template: str) -> None:
    """An unknown role has no permissions, so nothing opens."""
    caller = Caller(User.objects.create_user("guest", role="guest"))
    is_problem(caller.call(method, _path(template)), 403, "forbidden")


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Bearer wrong", "Basic YTpi", "Bearer pdt_wrong", "pdt_x"]
)
def test_a_token_that_is_none(db: None, header: str) -> None:
    response = Client(headers={"Authorization": header}).get("/api/v1/requests")
    is_problem(response, 401, "unauthenticated")


def test_a_session_opens_nothing(alice: User, client_of: Callable[[User], Any]) -> None:
    is_problem(client_of(alice).get("/api/v1/requests"), 401, "unauthenticated")


def test_a_disabled_person_is_nobody(alice: User) -> None:
    caller = Caller(alice)
    User.objects.filter(pk=alice.pk).update(is_active=False)
    is_problem(caller.get("/requests"), 401, "unauthenticated")


def test_others_rows_are_not_there(
    alice: User, bob: User, sandbox_of: Callable[..., Sandbox], asked: dict[str, Any]
) -> None:
    theirs = sandbox_of(alice)
    request = Caller(alice).post("/requests", asked).json()["id"]
    stranger = Caller(bob)
    for method, path in (
        ("GET", f"/sandboxes/{theirs.pk}"),
        ("GET", f"/sandboxes/{theirs.pk}/installs"),
        ("GET", f"/sandboxes/{theirs.pk}/older"),
        ("GET", f"/sandboxes/{theirs.pk}/refused"),
        ("GET", f"/sandboxes/{theirs.pk}/sbom"),
        ("GET", f"/sandboxes/{theirs.pk}/run-time"),
        ("GET", f"/sandboxes/{theirs.pk}/attempts"),
        ("GET", f"/sandboxes/{theirs.pk}/honeytokens"),
        ("POST", f"/sandboxes/{theirs.pk}/end"),
        ("GET", f"/requests/{request}"),
        ("POST", f"/requests/{request}/withdraw"),
    ):
        is_problem(stranger.call(method, path), 404, "not_found")
    extension = {"duration": "PT1H", "reason": "more"}
    is_problem(stranger.post(f"/sandboxes/{theirs.pk}/extend", extension), 404, "not_found")
    assert stranger.get("/sandboxes").json() == stranger.get("/requests").json() == []
