"""The OpenAPI document holds together, and what the API answers is what it says."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from portal.accounts.models import User
from portal.reports.usage import By
from sandboxes.lifecycle.models import Probe, Receipt, Sandbox
from sandboxes.usage.models import Install
from tests.portal.api.conftest import Caller
from tests.portal.api.schemas import fault, resolve

METHODS = {"get", "post"}


@pytest.fixture
def document() -> dict[str, Any]:
    """As anybody gets it, with no token."""
    response = Client().get("/api/v1/openapi.json")
    assert response.status_code == 200
    found: dict[str, Any] = response.json()
    return found


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield path, method, operation


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for each in part.values():
            yield from _references(each)
    elif isinstance(part, list):
        for each in part:
            yield from _references(each)


def test_it_is_a_document(document: dict[str, Any]) -> None:
    """What OpenAPI 3.1 asks of the parts we use."""
    assert document["openapi"].startswith("3.1.")
    assert {"title", "version"} <= set(document["info"])
    for reference in _references(document):
        resolve(reference, document)
    ids = [operation["operationId"] for _, _, operation in _operations(document)]
    assert len(ids) == len(set(ids))
    for path, method, operation in _operations(document):
        assert method in METHODS
        assert path.startswith("/api/v1/")
        _check_operation(path, operation, set(document["components"]["securitySchemes"]))


def _check_operation(path: str, operation: dict[str, Any], schemes: set[str]) -> None:
    named = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
    assert named == set(re.findall(r"{(\w+)}", path))
    assert all(one["required"] for one in operation["parameters"] if one["in"] == "path")
    keys = [(one["in"], one["name"]) for one in operation["parameters"]]
    assert len(keys) == len(set(keys))
    assert [scheme for one in operation["security"] for scheme in one] == ["Bearer"]
    assert "Bearer" in schemes
    assert all(response["description"] for response in operation["responses"].values())
    assert "application/problem+json" in operation["responses"]["default"]["content"]


def test_no_page_that_loads_scripts_from_elsewhere() -> None:
    assert Client().get("/api/v1/docs").status_code == 404


class Checked:
    """A caller whose every answer is held against the document."""

    def __init__(self, person: User | None, document: dict[str, Any]) -> None:
        self._caller = Caller(person)
        self._document = document

    def __call__(self, method: str, template: str, body: object = None, /, **values: Any) -> Any:
        path, _, query = template.partition("?")
        given = path.format(**values) + (f"?{query}" if query else "")
        response = self._caller.call(method, given, body)
        described = self._document["paths"][f"/api/v1{path}"][method.lower()]["responses"]
        media_type = response["Content-Type"].partition(";")[0]
        status = str(response.status_code)
        schema = described[status if status in described else "default"]["content"][media_type]["schema"]
        answer = json.loads(response.getvalue())
        assert not fault(answer, schema, self._document), answer
        return answer


def test_answers_agree(
    document: dict[str, Any],
    alice: User,
    iris: User,
    omar: User,
    sandbox_of: Callable[..., Sandbox],
    asked: dict[str, Any],
    undecided: dict[str, Any],
) -> None:
    as_alice, as_iris, as_omar = (Checked(person, document) for person in (alice, iris, omar))
    sandbox = sandbox_of(alice, ready_at=timezone.now(), expires_at=timezone.now())
    Probe.objects.create(
        sandbox=sandbox, passed=True, simulated=True, attempts=[{"target": "internet", "port": 443}]
    )
    Receipt.objects.create(sandbox=sandbox_of(alice, phase="ended"), document={"pods": 0})
    Install.objects.create(
        sandbox=sandbox,
        project="six",
        version="1.17.0",
        filename="six.whl",
        sha256="0" * 64,
        size=9,
        client="pip 26",
    )
    as_alice("POST", "/requests", asked)
    pending = as_alice("POST", "/requests", undecided)["id"]
    taken_back = as_alice("POST", "/requests", undecided)["id"]
    as_alice("POST", "/requests/{request_id}/withdraw", request_id=taken_back)
    as_alice("GET", "/requests/{request_id}", request_id=pending)
    as_iris("POST", "/requests/{request_id}/decision", {"decision": "approve"}, request_id=pending)
    assert len(as_alice("GET", "/requests")) == 3
    as_alice("GET", "/sandboxes/{sandbox_id}", sandbox_id=sandbox.pk)
    assert len(as_omar("GET", "/sandboxes")) == 4
    more = {"duration": "PT1H", "reason": "more"}
    as_alice("POST", "/sandboxes/{sandbox_id}/extend", more, sandbox_id=sandbox.pk)
    assert len(as_alice("GET", "/sandboxes/{sandbox_id}/installs", sandbox_id=sandbox.pk)) == 1
    as_alice("POST", "/sandboxes/{sandbox_id}/end", sandbox_id=sandbox.pk)
    for by in By:
        assert len(as_omar("GET", f"/reports/usage?by={by}")) == 1
    assert as_omar("GET", "/audit")
    assert as_omar("GET", "/audit/verify")["ok"]


def test_problems_agree(document: dict[str, Any], alice: User, asked: dict[str, Any]) -> None:
    as_alice, as_nobody = Checked(alice, document), Checked(None, document)
    assert as_nobody("GET", "/requests")["status"] == 401
    assert as_alice("GET", "/audit")["status"] == 403
    assert as_alice("POST", "/requests", {**asked, "duration": "soon"})["status"] == 422
    assert as_alice("GET", "/requests/{request_id}", request_id=7)["status"] == 404
