"""Something with our labels that belongs to nobody, in an installation of a test's own."""

import time
from typing import Any
from uuid import uuid4

import pytest

from sandboxes.audit.models import Entry
from sandboxes.cluster.driver import Cluster
from sandboxes.lifecycle import clock, observing, orphans
from sandboxes.lifecycle.models import Orphan, RegisteredCluster
from tests.sandboxes.lifecycle.by_hand import ByHand

HERE = "simulated"


@pytest.fixture(autouse=True)
def installation(settings: Any) -> str:
    """The simulated cluster is shared with other tests, whose sandboxes are none of ours."""
    settings.INSTALLATION_ID = f"orphans-{uuid4().hex[:12]}"
    return str(settings.INSTALLATION_ID)


@pytest.fixture
def labels(installation: str) -> dict[str, str]:
    return {"petridish.dev/installation": installation, "petridish.dev/sandbox": "4711"}


@pytest.fixture
def orphan(cluster: Cluster, hand: ByHand, labels: dict[str, str]) -> Orphan:
    """A namespace with our labels that no row knows, just found."""
    hand.make_namespace(new_name(), labels)
    assert observing.observe(HERE).orphans == 1
    return Orphan.objects.get()


def new_name() -> str:
    return f"sbx-nobodys-{uuid4().hex[:8]}"


def look() -> None:
    """A listing, and the sweep after it, as if everything were due."""
    RegisteredCluster.objects.update(compared_at=None)
    observing.observe(HERE)
    Orphan.objects.update(check_at=clock.now())
    orphans.sweep()


def let_grace_end() -> None:
    Orphan.objects.filter(delete_after__isnull=False).update(delete_after=clock.now())


def look_until_gone(hand: ByHand, name: str) -> None:
    deadline = time.monotonic() + 20
    while name in hand.namespaces():
        assert time.monotonic() < deadline, Orphan.objects.values("name", "last_error")
        look()
        time.sleep(0.02)
    look()


def told(orphan: Orphan) -> list[str]:
    found = Entry.objects.filter(subject=f"orphan:{orphan.pk}").order_by("id")
    return [action.removeprefix("orphan.") for action in found.values_list("action", flat=True)]
