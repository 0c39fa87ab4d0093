"""Inventories: who has them taken, when, and what is kept of them. The pod's answer is a real server's."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from portal.accounts.models import User
from sandboxes.audit.models import Entry
from sandboxes.cluster.driver import connect
from sandboxes.cluster.simulator.server import kubeconfig
from sandboxes.errors import ConflictError
from sandboxes.lifecycle import clock, clusters
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import Phase
from sandboxes.usage import taking, wanting
from sandboxes.usage.models import Inventory
from tests.portal.web import world
from tests.sandboxes.cluster.pod_server import serving

type Says = Callable[[Any], None]


@pytest.fixture
def box(alice: User) -> Sandbox:
    """Ready for two days, on a cluster that is not simulated."""
    sandbox = world.ready(alice)
    Sandbox.objects.filter(pk=sandbox.pk).update(simulated=False, ready_at=clock.now() - timedelta(days=2))
    sandbox.refresh_from_db()
    return sandbox


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Says]:
    """Sets what the pod prints."""
    printed = [b""]
    with serving(lambda _: (printed[0], 0)) as server:
        path = tmp_path / "kubeconfig"
        path.write_text(kubeconfig(f"http://127.0.0.1:{server.port}", "token"))
        monkeypatch.setattr(clusters, "get", lambda name: connect(name, str(path), None))
        yield lambda items: printed.__setitem__(0, json.dumps({"items": items, "complete": True}).encode())


def item(name: str, **more: Any) -> dict[str, Any]:
    return {"ecosystem": "pypi", "name": name, "version": "1.0", "path": "/workspace/x", **more}


def test_what_is_there_is_compared_and_kept(box: Sandbox, says: Says, alice: User) -> None:
    for name in ("six", "flask", "gone"):
        world.install(box, name)
    says([item("six"), item("evil"), item("flask", altered=["flask/app.py"], altered_count=1)])
    wanted = wanting.want(box, by=alice)
    assert taking.run() == 1
    wanted.refresh_from_db()
    assert (wanted.error, wanted.complete) == ("", True)
    assert wanted.counts == {"altered": 1, "sideloaded": 1, "missing": 1, "as_received": 1}
    assert [(each["name"], each["state"]) for each in wanted.entries] == [
        ("flask", "altered"),
        ("evil", "sideloaded"),
        ("gone", "missing"),
        ("six", "as_received"),
    ]
    entry = Entry.objects.get(action="sandbox.inventory_differs")
    assert entry.subject == f"sandbox:{box.pk}"
    assert entry.data["odd"] == ["pypi flask 1.0: altered", "pypi evil 1.0: sideloaded"]
    assert taking.run() == 0


def test_what_is_as_it_came_is_no_news(box: Sandbox, says: Says) -> None:
    world.install(box, "six")
    says([item("six")])
    taking.run()
    assert Inventory.objects.get().counts == {"as_received": 1}
    assert not Entry.objects.filter(action="sandbox.inventory_differs").exists()


def test_once_in_a_while_without_being_asked(box: Sandbox, says: Says) -> None:
    says([])
    assert (taking.run(), taking.run()) == (1, 0)
    Inventory.objects.update(wanted_at=clock.now() - timedelta(days=1, minutes=1))
    assert taking.run() == 1
    assert not Inventory.objects.exclude(wanted_by=None).exists()


@pytest.mark.parametrize(
    "changes",
    [{"simulated": True}, {"phase": Phase.HIBERNATED}, {"phase": Phase.ENDED}, {"ready_at": None}],
)
def test_of_others_it_is_not_due(box: Sandbox, changes: dict[str, Any]) -> None:
    Sandbox.objects.filter(pk=box.pk).update(**changes)
    assert taking.run() == 0


def test_asking_twice_is_one_look(box: Sandbox, alice: User) -> None:
    assert wanting.want(box, by=alice) == wanting.want(box, by=alice)
    assert Entry.objects.filter(action="sandbox.inventory_wanted").count() == 1


def test_only_one_that_is_ready_can_be_looked_into(box: Sandbox, alice: User, says: Says) -> None:
    wanting.want(box, by=alice)
    Sandbox.objects.filter(pk=box.pk).update(phase=Phase.ISOLATED)
    assert taking.run() == 1
    assert "isolated by now" in Inventory.objects.get().error
    box.refresh_from_db()
    with pytest.raises(ConflictError):
        wanting.want(box, by=alice)


def test_a_simulated_one_says_that_there_is_no_pod(box: Sandbox, alice: User) -> None:
    Sandbox.objects.filter(pk=box.pk).update(simulated=True)
    wanting.want(box, by=alice)
    taking.run()
    assert "there is no pod to look into" in Inventory.objects.get().error


def test_a_pod_that_says_nonsense_is_asked_once(box: Sandbox, says: Says) -> None:
    says(7)
    assert taking.run() == 1
    row = Inventory.objects.get()
    assert row.taken_at is not None
    assert "no inventory" in row.error
    assert taking.run() == 0
