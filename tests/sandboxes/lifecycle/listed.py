"""A listing of a cluster in which a test says what is found, and rows that agree with it."""

from typing import Any
from uuid import uuid4

import pytest

from portal.accounts.models import User
from sandboxes.cluster import observation
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.observation import Listing, SeenNamespace
from sandboxes.lifecycle import clock
from sandboxes.lifecycle.models import Sandbox
from tests.sandboxes.lifecycle import rows

HERE = "simulated"
DIGEST = "d" * 32


@pytest.fixture(autouse=True)
def own_installation(settings: Any) -> None:
    settings.INSTALLATION_ID = f"watch-{uuid4().hex[:12]}"


@pytest.fixture
def seen(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> dict[str, SeenNamespace]:
    """What the listing finds; tests put in what they like."""
    namespaces: dict[str, SeenNamespace] = {}
    monkeypatch.setattr(observation, "listing", lambda *args: Listing(dict(namespaces)))
    return namespaces


def quiet(owner: User, number: int, seen: dict[str, SeenNamespace], **changes: Any) -> Sandbox:
    """A row, and its namespace as it was last found right."""
    name = f"sbx-quiet-{number}"
    now = clock.now()
    given: dict[str, Any] = {
        "name": name,
        "namespace": name,
        "namespace_uid": f"uid-{number}",
        "observed": DIGEST,
    }
    given |= {"charged": True, "phase_at": now - rows.HOUR, **changes}
    seen[name] = SeenNamespace(name, f"uid-{number}", "Active", {}, DIGEST)
    return rows.ready(owner, **given)
