"""What policies dropped, sent by whoever ships the cluster's logs."""

from typing import Any

import pytest
from django.test import Client

from portal.accounts.models import User
from sandboxes.lifecycle.models import Sandbox
from sandboxes.usage.models import Connection
from tests.portal.api.conftest import Caller, is_problem
from tests.sandboxes.usage.test_policy_logs import line

TOKEN = "a-token-of-a-shipper-and-of-nobody-else"


def send(token: str, *lines: str, query: str = "") -> Any:
    client = Client(headers={"Authorization": f"Bearer {token}"})
    body = "\n".join(lines).encode()
    return client.post(f"/api/v1/policy-logs{query}", body, content_type="application/x-ndjson")


def test_a_shipper_sends_lines(mine: Sandbox, alice: User, settings: Any) -> None:
    settings.POLICY_LOG_TOKEN = TOKEN
    answer = send(TOKEN, line(1), line(2), "nonsense", query="?cluster=east")
    assert answer.status_code == 200
    assert answer.json() == {
        "lines": 3,
        "counted": 2,
        "known": 0,
        "passed": 0,
        "elsewhere": 0,
        "unknown": 1,
        "named": ["3: it is no JSON"],
    }
    [attempt] = Caller(alice).get(f"/sandboxes/{mine.pk}/attempts").json()
    assert (attempt["source"], attempt["host"], attempt["port"]) == ("policy", "203.0.113.7", 443)
    assert (attempt["repeats"], attempt["protocol"]) == (1, "tcp")
    assert attempt["at"] < attempt["last_at"]
    assert Caller(alice).get(f"/sandboxes/{mine.pk}/connections").json() == []


def test_its_token_opens_nothing_else(mine: Sandbox, settings: Any) -> None:
    settings.POLICY_LOG_TOKEN = TOKEN
    client = Client(headers={"Authorization": f"Bearer {TOKEN}"})
    is_problem(client.get("/api/v1/sandboxes"), 401, "unauthenticated")
    assert not User.objects.filter(username="program").exists()


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], f"{TOKEN}x", "pdt_x", "tökén"])
def test_another_token_is_none(mine: Sandbox, settings: Any, token: str) -> None:
    settings.POLICY_LOG_TOKEN = TOKEN
    is_problem(send(token, line(1)), 401, "unauthenticated")
    assert not Connection.objects.exists()


def test_without_the_setting_no_empty_token_is_right(mine: Sandbox, settings: Any) -> None:
    settings.POLICY_LOG_TOKEN = ""
    is_problem(send("", line(1)), 401, "unauthenticated")


def test_a_batch_that_is_too_large(mine: Sandbox, settings: Any) -> None:
    settings.POLICY_LOG_TOKEN = TOKEN
    is_problem(send(TOKEN, "x" * 3_000_000), 413, "too_large")


def test_bytes_that_are_no_text(mine: Sandbox, settings: Any) -> None:
    settings.POLICY_LOG_TOKEN = TOKEN
    client = Client(headers={"Authorization": f"Bearer {TOKEN}"})
    body = b"\xff\xfe\0\n" + line(1).encode()
    answer = client.post("/api/v1/policy-logs", body, content_type="application/octet-stream")
    assert (answer.json()["counted"], answer.json()["unknown"]) == (1, 1)
