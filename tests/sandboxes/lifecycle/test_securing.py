"""What an isolation keeps: the network policies that were there, and the logs of what ran."""

import zlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from portal.accounts.models import User
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.keeping import Container, Log
from sandboxes.errors import ClusterRefusedError, ClusterUnavailableError
from sandboxes.lifecycle import clock, engine, isolation, securing, services
from sandboxes.lifecycle.models import ContainerLog, Isolation, Sandbox
from sandboxes.lifecycle.phases import Phase
from tests.sandboxes.lifecycle.taking_away import wait_until
from tests.sandboxes.lifecycle.working import POD, POLICY, is_in, look, names, until

pytestmark = pytest.mark.django_db
OPEN = {"podSelector": {}, "egress": [{}], "policyTypes": ["Egress"]}

INTRUDER: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "intruder"},
    "spec": {
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "c",
                "image": "python:3",
                "resources": {"limits": {"cpu": "10m", "memory": "16Mi", "ephemeral-storage": "1Mi"}},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
    },
}


def fails(error: Exception) -> Callable[..., Any]:
    def call(*given: Any, **named: Any) -> Any:
        raise error

    return call


def foreign(cluster: Cluster, sandbox: Sandbox, name: str) -> None:
    metadata = {"name": name, "namespace": sandbox.namespace}
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": OPEN,
    }
    cluster.api.create(POLICY.collection(sandbox.namespace), policy)


def kept(sandbox: Sandbox) -> list[str]:
    return sorted(item["metadata"]["name"] for item in sandbox.isolations.get().kept_policies())


def texts(sandbox: Sandbox) -> list[str]:
    rows = ContainerLog.objects.filter(isolation__sandbox=sandbox).order_by("id")
    return [zlib.decompress(bytes(row.data)).decode() for row in rows if row.size]


def due(sandbox: Sandbox) -> int:
    Isolation.objects.filter(sandbox=sandbox).update(logs_due_at=clock.now())
    return securing.read_logs()


class TestPolicies:
    def test_as_they_were_before_they_were_taken_away(
        self, ready: Sandbox, cluster: Cluster, iris: User
    ) -> None:
        foreign(cluster, ready, "mine")
        before = names(cluster, ready, POLICY)
        isolation.isolate(ready.pk, by=iris, reason="it scans the network")
        until(ready, lambda sandbox: sandbox.cut_at)
        assert names(cluster, ready, POLICY) == ["deny-all"]
        assert kept(ready) == before
        assert {"deny-all", "mine", "allow-index"} <= set(before)
        (mine,) = [
            item for item in ready.isolations.get().kept_policies() if item["metadata"]["name"] == "mine"
        ]
        assert mine["spec"]["egress"] == [{}]

    def test_a_worker_that_died_after_reading_them_reads_them_no_second_time(
        self, ready: Sandbox, cluster: Cluster, iris: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        isolation.isolate(ready.pk, by=iris, reason="it scans the network")
        with monkeypatch.context() as died:
            died.setattr(Cluster, "freeze", fails(ClusterUnavailableError("gone in the middle")))
            look(ready)
        assert names(cluster, ready, POLICY) == ["deny-all"], "they were pruned before it died"
        until(ready, lambda sandbox: sandbox.cut_at)
        assert "allow-index" in kept(ready)

    @pytest.mark.parametrize("error", [ClusterUnavailableError("silence"), ValueError("nonsense")])
    def test_that_they_cannot_be_read_holds_nothing_back_and_is_told(
        self, ready: Sandbox, cluster: Cluster, iris: User, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        monkeypatch.setattr(Cluster, "policies", fails(error))
        isolation.isolate(ready.pk, by=iris, reason="it scans the network")
        until(ready, lambda sandbox: sandbox.cut_at)
        assert names(cluster, ready, POLICY) == ["deny-all"]
        row = ready.isolations.get()
        assert (kept(ready), row.policies_error) == ([], str(error))

    def test_as_long_as_nothing_was_taken_away_they_are_asked_for_again(
        self, ready: Sandbox, cluster: Cluster, iris: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        isolation.isolate(ready.pk, by=iris, reason="it scans the network")
        down = ClusterUnavailableError("down")
        with monkeypatch.context() as silent:
            silent.setattr(Cluster, "policies", fails(down))
            silent.setattr(Cluster, "apply", fails(down))
            look(ready)
        assert ready.isolations.get().policies_at is None
        until(ready, lambda sandbox: sandbox.cut_at)
        assert "allow-index" in kept(ready)
        assert ready.isolations.get().policies_error == ""

    def test_those_that_are_too_long_are_left_out_and_that_is_told(
        self, ready: Sandbox, cluster: Cluster, iris: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(securing, "_POLICY_BYTES", 2000)
        isolation.isolate(ready.pk, by=iris, reason="it scans the network")
        until(ready, lambda sandbox: sandbox.cut_at)
        row = ready.isolations.get()
        assert row.policies_error.startswith(f"Only {len(kept(ready))} of them were kept")

    def test_each_isolation_has_its_own(self, ready: Sandbox, cluster: Cluster, iris: User) -> None:
        for number in (1, 2):
            isolation.isolate(ready.pk, by=iris, reason="a look")
            until(ready, lambda sandbox: sandbox.cut_at)
            assert ready.isolations.count() == number
            isolation.release(ready.pk, by=iris, reason="looked")
            until(ready, is_in(Phase.READY))
        for row in ready.isolations.all():
            assert "allow-index" in [item["metadata"]["name"] for item in row.kept_policies()]

    def test_one_from_before_says_that_nothing_was_kept(self, isolated: Sandbox, cluster: Cluster) -> None:
        ContainerLog.objects.all().delete()
        Isolation.objects.all().delete()
        foreign(cluster, isolated, "back")
        look(isolated)
        until(isolated, lambda sandbox: sandbox.cut_at)
        row = isolated.isolations.get()
        assert (kept(isolated), row.began_at) == ([], isolated.isolated_at)
        assert "by a release that did not keep them" in row.policies_error


class TestLogs:
    def test_read_once_it_is_cut_off_and_kept_once(self, isolated: Sandbox, cluster: Cluster) -> None:
        assert ContainerLog.objects.count() == 0, "cutting off waits for no log"
        for _ in range(2):
            due(isolated)
        row = ContainerLog.objects.get()
        assert (row.pod, row.container, row.final, row.error) == ("workspace-0", "workspace", True, "")
        assert row.exit_code == 137
        assert "This pod is simulated" in texts(isolated)[0]
        assert (isolated.isolations.get().logs_due_at, isolated.isolations.get().logs_error) == (None, "")
        assert securing.read_logs() == 0

    def test_what_runs_still_is_read_and_read_again_when_it_stopped(
        self, ready: Sandbox, cluster: Cluster, iris: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        isolation.isolate(ready.pk, by=iris, reason="it scans the network")
        with monkeypatch.context() as deaf:  # its node does not hear of it
            deaf.setattr(Cluster, "freeze", lambda self, namespace: ["Pod/workspace-0: workspace"])
            look(ready)
        assert securing.read_logs() == 1
        early = ContainerLog.objects.get()
        assert not early.final
        assert early.size > 0
        assert ready.isolations.get().logs_due_at is not None
        until(ready, lambda sandbox: sandbox.cut_at)
        due(ready)
        late = ContainerLog.objects.get()
        assert (late.pk, late.key, late.final) == (early.pk, early.key, True)
        assert late.read_at > early.read_at

    def test_what_is_put_back_and_runs_is_read_too(self, isolated: Sandbox, cluster: Cluster) -> None:
        due(isolated)
        cluster.api.create(POD.collection(isolated.namespace), INTRUDER)
        wait_until(lambda: cluster.api.get(POD.path(isolated.namespace, "intruder"))["status"].get("podIP"))
        look(isolated)
        until(isolated, lambda sandbox: sandbox.cut_at)
        due(isolated)
        assert set(ContainerLog.objects.values_list("pod", flat=True)) == {"workspace-0", "intruder"}

    def test_a_cluster_that_is_silent_is_asked_once_in_a_look_and_told(
        self, isolated: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []

        def silent(self: Cluster, namespace: str, container: Container, **limits: Any) -> Log:
            asked.append(container.name)
            raise ClusterUnavailableError("The node does not answer.")

        other = Isolation.objects.create(
            sandbox=isolated, logs_until=clock.now() + timedelta(minutes=1), policies_at=clock.now()
        )
        monkeypatch.setattr(Cluster, "logs", silent)
        assert due(isolated) == 2
        assert asked == ["workspace"], "the node was asked again"
        errors = {row.logs_error for row in Isolation.objects.all()}
        assert errors == {
            "workspace-0 workspace: The node does not answer.",
            "workspace-0 workspace: the node does not answer, or it takes too long.",
        }
        monkeypatch.undo()
        due(isolated)
        assert other.logs.get().final
        assert {row.logs_error for row in Isolation.objects.all()} == {""}

    def test_no_tries_for_ever(self, isolated: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Cluster, "containers", fails(ClusterUnavailableError("The cluster is down.")))
        due(isolated)
        assert isolated.isolations.get().logs_due_at is not None
        Isolation.objects.update(logs_until=clock.now())
        due(isolated)
        row = isolated.isolations.get()
        assert (row.logs_due_at, row.logs_error) == (None, "The cluster is down.")

    def test_what_is_refused_is_told_and_not_asked_for_again(
        self, isolated: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Cluster, "logs", fails(ClusterRefusedError("pods/log is\0forbidden")))
        due(isolated)
        row = ContainerLog.objects.get()
        assert (row.final, row.size, row.error) == (True, 0, "pods/log isforbidden")
        assert isolated.isolations.get().logs_due_at is None

    def test_no_more_containers_than_so_many(
        self, isolated: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(securing, "CONTAINERS", 0)
        due(isolated)
        assert ContainerLog.objects.count() == 0
        assert "more than 0 containers" in isolated.isolations.get().logs_error

    def test_of_two_workers_one_reads(self, isolated: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        row = Isolation.objects.get()
        assert securing._claimed_and_read(row, set())
        stale = Isolation(pk=row.pk, sandbox=isolated, logs_due_at=clock.now())
        assert not securing._claimed_and_read(stale, set())

    def test_one_that_is_over_is_not_looked_for(self, isolated: Sandbox, iris: User) -> None:
        services.end(isolated.pk, by=iris)
        until(isolated, is_in(Phase.ENDED))
        due(isolated)
        assert isolated.isolations.get().logs_due_at is None
        assert ContainerLog.objects.count() == 0

    def test_of_a_released_one_only_what_ended_is_read(self, isolated: Sandbox, iris: User) -> None:
        isolation.release(isolated.pk, by=iris, reason="nothing found")
        until(isolated, is_in(Phase.READY))
        due(isolated)
        row = ContainerLog.objects.get()
        assert (row.final, row.exit_code) == (True, 137), "what runs now is none of the evidence"

    def test_a_sweep_of_the_engine_reads_none(self, ready: Sandbox, iris: User) -> None:
        isolation.isolate(ready.pk, by=iris, reason="it scans the network")
        engine.sweep()
        assert ready.isolations.get().logs_until is not None
        assert ContainerLog.objects.count() == 0
