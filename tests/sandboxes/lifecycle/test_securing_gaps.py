"""What an isolation says about logs and policies that nobody could read any more."""

import io
import json
import zipfile
from datetime import timedelta
from typing import Any

import pytest

from portal.accounts.models import User
from portal.reports import evidence
from sandboxes.cluster.driver import Cluster
from sandboxes.errors import ClusterUnavailableError
from sandboxes.lifecycle import clock, clusters, isolation, securing, services
from sandboxes.lifecycle.models import ContainerLog, Isolation, Sandbox
from sandboxes.lifecycle.phases import Phase
from tests.sandboxes.lifecycle.test_securing import due, fails, texts
from tests.sandboxes.lifecycle.working import is_in, look, until

pytestmark = pytest.mark.django_db
OVER = "It was over before its logs were read."
DOWN = ClusterUnavailableError("The cluster is down.")


def told(sandbox: Sandbox, viewer: User) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the signed evidence says of its one isolation: logs, and network policies."""
    _, blocks = evidence.take(sandbox.pk, by=viewer)
    with zipfile.ZipFile(io.BytesIO(b"".join(blocks))) as archive:
        [logs] = json.loads(archive.read("logs.json"))
        [policies] = json.loads(archive.read("network-policies.json"))
    return logs, policies


def test_wanted_from_the_first_moment_though_cutting_fails(
    ready: Sandbox, cluster: Cluster, iris: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    isolation.isolate(ready.pk, by=iris, reason="it scans the network")
    with monkeypatch.context() as refused:
        refused.setattr(Cluster, "apply", fails(DOWN))
        look(ready)
    assert ready.isolations.get().logs_until is None
    assert securing.read_logs() == 1
    assert ContainerLog.objects.get().final is False
    assert "This pod is simulated" in texts(ready)[0]


def test_tried_on_less_often_while_nothing_is_cut(
    ready: Sandbox, iris: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Cluster, "containers", fails(DOWN))
    isolation.isolate(ready.pk, by=iris, reason="it scans the network")
    due(ready)
    soon = ready.isolations.get().logs_due_at
    assert soon is not None
    Isolation.objects.update(began_at=clock.now() - timedelta(hours=1))
    due(ready)
    later = ready.isolations.get().logs_due_at
    assert later is not None
    assert later - soon > timedelta(seconds=30)


def test_over_before_anything_was_read(
    ready: Sandbox, cluster: Cluster, iris: User, omar: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Isolated while its cluster is away, and over when that is back."""
    isolation.isolate(ready.pk, by=iris, reason="it scans the network")
    services.end(ready.pk, by=iris)
    until(ready, is_in(Phase.ENDED))
    assert due(ready) == 1
    logs, policies = told(ready, omar)
    assert (logs["complete"], logs["error"], logs["logs"]) == (False, OVER, [])
    assert policies["error"] == "It was over, or released, before they were read."
    assert policies["read_at"] is not None
    assert securing.read_logs() == 0


def test_what_the_last_look_left_is_not_forgotten(isolated: Sandbox, iris: User, omar: User) -> None:
    with pytest.MonkeyPatch.context() as away:
        away.setattr(Cluster, "containers", fails(DOWN))
        due(isolated)
    Sandbox.objects.filter(pk=isolated.pk).update(phase=Phase.ENDED)
    due(isolated)
    logs, _ = told(isolated, omar)
    assert (logs["complete"], logs["error"]) == (False, f"The cluster is down.\n{OVER}")


def test_a_container_whose_node_was_silent_is_missed(isolated: Sandbox, omar: User) -> None:
    """Its neighbour was asked, which is why it never was: it is known all the same."""
    silent = {(isolated.cluster, node) for node in _nodes(isolated)}
    row = isolated.isolations.get()
    assert securing._claimed_and_read(row, silent)
    Isolation.objects.update(logs_error="")  # whatever the reason was
    Sandbox.objects.filter(pk=isolated.pk).update(phase=Phase.ENDED)
    due(isolated)
    logs, _ = told(isolated, omar)
    assert (logs["complete"], logs["error"], len(logs["logs"])) == (False, OVER, 1)


def _nodes(sandbox: Sandbox) -> list[str]:
    return [each.node for each in clusters.get(sandbox.cluster).containers(sandbox.namespace or "")]


def test_read_to_the_end_and_then_over_is_complete(isolated: Sandbox, iris: User, omar: User) -> None:
    due(isolated)
    services.end(isolated.pk, by=iris)
    until(isolated, is_in(Phase.ENDED))
    due(isolated)
    logs, policies = told(isolated, omar)
    assert (logs["complete"], logs["error"], policies["error"]) == (True, "", "")


def test_a_namespace_that_somebody_deleted(isolated: Sandbox, omar: User) -> None:
    Sandbox.objects.filter(pk=isolated.pk).update(namespace_uid="another")
    due(isolated)
    logs, _ = told(isolated, omar)
    assert (logs["complete"], logs["error"]) == (False, OVER)


def test_what_ends_before_it_is_cut_off_is_read_while_it_runs(ready: Sandbox, iris: User) -> None:
    """And it is not said to be complete as long as it may write."""
    isolation.isolate(ready.pk, by=iris, reason="it scans the network")
    services.end(ready.pk, by=iris)
    due(ready)
    assert ContainerLog.objects.get().final is False
    assert ready.isolations.get().logs_due_at is not None


def test_what_ends_right_after_it_was_cut_off_is_missed_too(
    isolated: Sandbox, iris: User, omar: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pods are gone before its namespace is, and nobody has seen one."""
    services.end(isolated.pk, by=iris)
    monkeypatch.setattr(Cluster, "containers", lambda self, namespace: iter(()))
    due(isolated)
    assert isolated.isolations.get().logs_due_at is not None
    Sandbox.objects.filter(pk=isolated.pk).update(phase=Phase.ENDED)
    due(isolated)
    logs, _ = told(isolated, omar)
    assert (logs["complete"], logs["error"]) == (False, OVER)


def test_released_before_it_was_cut_off(ready: Sandbox, iris: User, omar: User) -> None:
    isolation.isolate(ready.pk, by=iris, reason="it scans the network")
    isolation.release(ready.pk, by=iris, reason="nothing found")
    due(ready)
    logs, policies = told(ready, omar)
    assert (logs["complete"], logs["error"]) == (False, "It was released before it was cut off.")
    assert policies["error"] == "It was over, or released, before they were read."


def test_a_container_that_is_gone_before_its_end_was_read(
    isolated: Sandbox, omar: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = isolated.isolations.get()
    ContainerLog.objects.create(
        isolation=row, key="gone", pod="side-0", pod_uid="u", container="side", final=False
    )
    due(isolated)
    logs, _ = told(isolated, omar)
    assert not logs["complete"]
    assert logs["error"] == "side-0 side: it was gone before its log was read to the end."


def test_what_runs_on_after_all_tries_is_told(
    ready: Sandbox, cluster: Cluster, iris: User, omar: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    isolation.isolate(ready.pk, by=iris, reason="it scans the network")
    with monkeypatch.context() as deaf:
        deaf.setattr(Cluster, "freeze", lambda self, namespace: ["Pod/workspace-0: workspace"])
        look(ready)
    Isolation.objects.update(logs_until=clock.now())
    due(ready)
    logs, _ = told(ready, omar)
    assert (logs["complete"], logs["error"]) == (False, "Something ran still when the logs were read last.")
