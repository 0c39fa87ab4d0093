"""Every kind of failure has the same shape, and none tells what is inside."""

from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client, override_settings

from portal.accounts.models import User
from sandboxes.errors import PetridishError, TemplateError, TemporaryError
from tests.portal.api.conftest import Caller, is_problem


@pytest.mark.parametrize(
    "path",
    ["/api", "/api/", "/api/v1", "/api/v1/", "/api/v2/requests", "/api/v1/nothing", "/api/v1/requests/"],
)
@pytest.mark.parametrize("method", ["get", "post", "delete"])
def test_unknown_addresses(path: str, method: str) -> None:
    strict = Client(enforce_csrf_checks=True)
    is_problem(getattr(strict, method)(path), 404, "not_found")


@pytest.mark.parametrize("number", ["x", "-1", "1.5", "0", str(10**30)])
def test_numbers_of_no_row(alice: User, number: str) -> None:
    is_problem(Caller(alice).get(f"/requests/{number}"), 404, "not_found")
    is_problem(Caller(alice).get(f"/sandboxes/{number}"), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("put", "/api/v1/requests", "GET, POST"),
        ("delete", "/api/v1/requests/1", "GET"),
        ("get", "/api/v1/requests/1/decision", "POST"),
        ("post", "/api/v1/audit/verify", "GET"),
        ("post", "/api/v1/openapi.json", "GET, HEAD"),
    ],
)
def test_wrong_methods(method: str, path: str, allow: str) -> None:
    response = getattr(Client(enforce_csrf_checks=True), method)(path)
    is_problem(response, 405, "method_not_allowed")
    assert response["Allow"] == allow


@pytest.mark.parametrize("body", ["{", '{"profile": }', "\xff", "[" * 100_000])
def test_bodies_that_do_not_parse(alice: User, body: str) -> None:
    client = Caller(alice).client
    response = client.post("/api/v1/requests", body.encode("latin1"), content_type="application/json")
    is_problem(response, 400, "malformed")


@pytest.mark.parametrize("body", ["", "null", "[]", "7", '"text"'])
def test_bodies_of_another_shape(alice: User, body: str) -> None:
    client = Caller(alice).client
    response = client.post("/api/v1/requests", body, content_type="application/json")
    assert is_problem(response, 422, "invalid")["errors"]


def test_a_body_that_is_too_large(alice: User) -> None:
    with override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=100):
        is_problem(Caller(alice).post("/requests", {"purpose": "x" * 200}), 413, "too_large")


def _failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail() -> Any:
        raise error

    monkeypatch.setattr("sandboxes.audit.services.verify", fail)


@pytest.mark.parametrize(
    "error", [RuntimeError("secret"), PetridishError("secret"), TemplateError("secret: line 3")]
)
def test_what_nobody_foresaw_is_logged_and_kept_inside(
    omar: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    _failing(monkeypatch, error)
    response = Caller(omar).get("/audit/verify")
    is_problem(response, 500, "internal")
    assert b"secret" not in response.content
    assert "secret" in caplog.text


def test_what_may_pass_says_when_to_come_back(omar: User, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = Caller(omar)
    _failing(monkeypatch, TemporaryError("The cluster is busy.", retry_after=12.2))
    response = caller.get("/audit/verify")
    is_problem(response, 503, "temporary")
    assert response["Retry-After"] == "13"
    _failing(monkeypatch, OperationalError("secret host"))
    response = caller.get("/audit/verify")
    is_problem(response, 503, "temporary")
    assert response["Retry-After"] == "5"
    assert b"secret" not in response.content


def test_nothing_on_the_way_keeps_answers(alice: User) -> None:
    assert Caller(alice).get("/sandboxes")["Cache-Control"] == "no-store"
    assert Caller(None).get("/sandboxes")["Cache-Control"] == "no-store"
