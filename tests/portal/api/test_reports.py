"""/reports/usage as JSON and as a file, under the test client and as an ASGI server sends it."""

import asyncio
import csv
import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.utils import timezone

from portal.accounts.models import User
from sandboxes.lifecycle.models import Sandbox
from sandboxes.usage.models import Install
from tests.portal.api.conftest import Caller, is_problem


@pytest.fixture
def installed(alice: User, sandbox_of: Callable[..., Sandbox]) -> str:
    """alice received six today, through a client with a dangerous name; the day."""
    Install.objects.create(
        sandbox=sandbox_of(alice),
        project="six",
        version="1.17.0",
        filename="six-1.17.0-py3-none-any.whl",
        sha256="0" * 64,
        size=9,
        client="=cmd|calc",
    )
    return timezone.now().date().isoformat()


def _json(response: Any) -> Any:
    return json.loads(response.getvalue())


def test_json(omar: User, installed: str) -> None:
    response = Caller(omar).get("/reports/usage", **{"from": installed, "to": installed, "by": "version"})
    assert (response.status_code, response["Content-Type"]) == (200, "application/json")
    (row,) = _json(response)
    assert (row["tool"], row["version"], row["people"], row["clients"]) == ("six", "1.17.0", 1, ["=cmd|calc"])
    assert row["first_at"].endswith("Z")


def test_the_last_thirty_days_by_person_if_nothing_is_said(omar: User, installed: str) -> None:
    (row,) = _json(Caller(omar).get("/reports/usage"))
    assert (row["username"], row["installs"]) == ("alice", 1)
    assert _json(Caller(omar).get("/reports/usage", **{"from": "2026-01-01", "to": "2026-01-02"})) == []


def test_csv(omar: User, installed: str) -> None:
    query = {"from": installed, "to": installed, "by": "install", "format": "csv"}
    response = Caller(omar).get("/reports/usage", **query)
    assert response.streaming
    assert response["Content-Type"].startswith("text/csv")
    assert f"usage-by-install-{installed}-to-{installed}.csv" in response["Content-Disposition"]
    (row,) = csv.DictReader(io.StringIO(response.getvalue().decode(), newline=""))
    assert (row["username"], row["tool"], row["client"]) == ("alice", "six", "'=cmd|calc")


@pytest.mark.parametrize(
    "query",
    [
        {"from": "yesterday"},
        {"from": "2026-11-02", "to": "2026-11-01"},
        {"from": "0001-01-01"},
        {"to": "9999-12-31"},
        {"to": "0001-01-03"},
        {"by": "salary"},
        {"format": "xlsx"},
    ],
)
def test_what_cannot_be_reported(omar: User, query: dict[str, str]) -> None:
    is_problem(Caller(omar).get("/reports/usage", **query), 422, "invalid")


@pytest.fixture
def auditor(transactional_db: None, omar: User, installed: str) -> Caller:
    """omar, after rows that other connections see too."""
    return Caller(omar)


async def test_an_asgi_server_streams_it(auditor: Caller) -> None:
    """The real handler, messages and threads: no warning that the rows were read at once, the cursor works."""
    sent: list[Any] = []
    asked = {"type": "http.request", "body": b"", "more_body": False}
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/v1/reports/usage",
        "query_string": b"by=tool&format=csv",
        "headers": [
            (b"host", b"testserver"),
            (b"authorization", auditor.headers["Authorization"].encode()),
        ],
    }
    await _serve(scope, asked, sent)
    assert sent[0]["status"] == 200
    body = b"".join(message.get("body", b"") for message in sent[1:]).decode()
    assert body.splitlines()[1].startswith("six,1,1,1,1,")


async def _serve(scope: dict[str, Any], asked: dict[str, Any], sent: list[Any]) -> None:
    waiting = [asked]

    async def receive() -> dict[str, Any]:
        if waiting:
            return waiting.pop()
        await asyncio.Event().wait()  # the client stays
        raise AssertionError

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message)

    handler = ASGIHandler()
    handler.load_middleware(is_async=True)
    await handler(scope, receive, send)
