"""Words that JSON can carry and a column of text cannot: they cost nobody else's lines."""

import json
from typing import Any

import pytest
from django.test import Client

from sandboxes.lifecycle.models import Sandbox
from sandboxes.usage.models import Connection
from tests.sandboxes.usage.test_policy_logs import line, take, to

pytestmark = pytest.mark.django_db
BAD = ["\0", "\ud800", "a\0b"]


@pytest.mark.parametrize("name", BAD)
def test_the_protocols_name(mine: Sandbox, name: str) -> None:
    layer = {name: {"destination_port": 22}}
    assert take(line(1), line(2, l4=layer)).counted == 2
    assert Connection.objects.get(port=22).protocol in ("unknown", "ab")


@pytest.mark.parametrize("bad", BAD)
def test_the_other_words_of_a_line(mine: Sandbox, bad: str) -> None:
    other = {"namespace": bad, "pod_name": bad}
    lines = [
        line(1, **to(22)),
        line(2, source=other),
        line(
            2, source={"namespace": "sbx-mine", "pod_name": bad}, destination=other, destination_names=[bad]
        ),
        json.dumps({"flow": bad, "log": bad}),
    ]
    assert take(*lines).counted == 2


def test_the_clusters_name(mine: Sandbox, settings: Any) -> None:
    settings.POLICY_LOG_TOKEN = token = "a-token-of-a-shipper-and-of-nobody-else"
    client = Client(headers={"Authorization": f"Bearer {token}"})
    for query, status in (("?cluster=%00", 422), ("?cluster=east", 200), ("", 200)):
        answer = client.post(f"/api/v1/policy-logs{query}", line(1), content_type="application/x-ndjson")
        assert answer.status_code == status, answer.content
