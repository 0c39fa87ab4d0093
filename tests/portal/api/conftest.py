"""People as the API sees them: each with a real token, over HTTP."""

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from portal.accounts.models import User
from portal.accounts.tokens import issue
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import Phase

V1 = "/api/v1"


class Caller:
    """Somebody with a token; without a person, somebody without one."""

    def __init__(self, person: User | None) -> None:
        self.headers: dict[str, str] = {}
        if person is not None:
            _, token = issue(user=person, name="tests", expires_in=timedelta(hours=1), by=None)
            self.headers["Authorization"] = f"Bearer {token}"
        self.client = Client(headers=self.headers)

    def get(self, path: str, **query: str | int) -> Any:
        return self.client.get(V1 + path, query)

    def post(self, path: str, body: object = None) -> Any:
        return self.client.post(V1 + path, {} if body is None else body, content_type="application/json")

    def call(self, method: str, path: str, body: object = None) -> Any:
        return self.get(path) if method == "GET" else self.post(path, body)


@pytest.fixture
def asked() -> dict[str, Any]:
    """A request that policy approves at once."""
    return {
        "profile": "python",
        "purpose": "See whether polars reads our CSV files faster.",
        "tools": ["polars"],
        "duration": "PT4H",
        "data_class": "public",
        "answers": {"why": "pandas is slow here", "licence": "MIT"},
    }


@pytest.fixture
def undecided(asked: dict[str, Any]) -> dict[str, Any]:
    """A request that policy leaves to an approver."""
    return {**asked, "profile": "gpu"}


@pytest.fixture
def sandbox_of() -> Callable[..., Sandbox]:
    """A sandbox row, ready unless said otherwise."""

    def make(owner: User, **fields: Any) -> Sandbox:
        given = {
            "cluster": "simulated",
            "simulated": True,
            "profile": "python",
            "data_class": "public",
            "lease": timedelta(hours=1),
            "phase": Phase.READY,
            "tools": ["polars"],
            **fields,
        }
        sandbox = Sandbox.objects.create(owner=owner, **given)
        sandbox.name = sandbox.namespace = f"pd-{owner.username}-{sandbox.pk}"
        sandbox.index_token_digest = "0" * 64
        sandbox.save(update_fields=["name", "namespace", "index_token_digest"])
        return sandbox

    return make


def is_problem(response: Any, status: int, code: str) -> Mapping[str, Any]:
    """Asserts the shape that every refusal has, and gives its body."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = json.loads(response.content)
    assert {"type", "title", "status", "detail", "code"} <= set(body)
    assert (body["status"], body["code"]) == (status, code)
    assert body["detail"]
    return body
