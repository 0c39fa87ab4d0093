"""A sandbox that was found right once, and the look that notices what differs since."""

import time
from typing import Any

import pytest

from sandboxes.audit.models import Entry
from sandboxes.cluster.driver import Cluster
from sandboxes.lifecycle import drift, engine, observing
from sandboxes.lifecycle.models import Alarm, Sandbox
from sandboxes.lifecycle.phases import Phase


@pytest.fixture(autouse=True)
def own_installation(settings: Any) -> None:
    """The simulated cluster is shared with other tests, whose sandboxes are none of ours."""
    settings.INSTALLATION_ID = f"drift-{time.monotonic_ns()}"


@pytest.fixture
def ready(sandbox: Sandbox, cluster: Cluster) -> Sandbox:
    """Open, and found right once."""
    deadline = time.monotonic() + 20
    while sandbox.phase != Phase.READY:
        assert time.monotonic() < deadline, f"still {sandbox.phase}: {sandbox.last_error or sandbox.failure}"
        engine.sweep()
        sandbox.refresh_from_db()
        time.sleep(0.02)
    notice(sandbox, cluster)
    assert sandbox.observed
    assert not Alarm.objects.exists()
    return sandbox


def notice(sandbox: Sandbox, cluster: Cluster) -> None:
    """A listing, and then the look at what differs."""
    observing.observe("simulated")
    sandbox.refresh_from_db()
    drift.keep(sandbox, cluster)
    sandbox.refresh_from_db()


def entries(sandbox: Sandbox, action: str) -> list[dict[str, Any]]:
    rows = Entry.objects.filter(subject=f"sandbox:{sandbox.pk}", action=action).order_by("id")
    return list(rows.values_list("data", flat=True))


def is_quiet(sandbox: Sandbox) -> bool:
    """Whether a listing finds nothing to say."""
    assert observing.observe("simulated").marked == 0
    sandbox.refresh_from_db()
    return not sandbox.inspect_due


def ns(sandbox: Sandbox) -> str:
    return sandbox.namespace or ""
