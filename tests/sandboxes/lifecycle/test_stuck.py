"""A sandbox that the cluster does not let go of: said, alarmed, and never forced."""

from datetime import timedelta
from typing import Any

import pytest

from portal.accounts.models import User
from sandboxes.audit.services import verify
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.kinds import kind
from sandboxes.cluster.remains import pod_blocker
from sandboxes.cluster.spec import KubeObject
from sandboxes.errors import ClusterRefusedError, ClusterUnavailableError
from sandboxes.lifecycle import (
    clock,
    clusters,
    engine,
    queries,
    services,
    stuck,
    teardown,
)
from sandboxes.lifecycle.models import Alarm, Receipt, Sandbox
from sandboxes.lifecycle.moves import start_ending
from sandboxes.lifecycle.phases import Phase
from tests.sandboxes.lifecycle.taking_away import document_of, is_charged, moves_of, wait_until, work_until

pytestmark = pytest.mark.django_db

CONFIG_MAP = kind("v1", "ConfigMap")
POD = kind("v1", "Pod")
NEVER = "example.com/never"
MERGE = "application/merge-patch+json"


def put_in_its_way(cluster: Cluster, sandbox: Sandbox) -> None:
    """A ConfigMap with a finalizer that nobody serves."""
    metadata = {"name": "stays", "namespace": sandbox.namespace, "finalizers": [NEVER]}
    cluster._api.apply(
        CONFIG_MAP.path(sandbox.namespace, "stays"),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata},
    )


def let_go(cluster: Cluster, path: str) -> None:
    cluster._api._call("PATCH", path, None, {"metadata": {"finalizers": None}}, MERGE)


def alarm_of(sandbox: Sandbox) -> Alarm | None:
    return Alarm.objects.filter(kind="stuck", subject=f"sandbox:{sandbox.pk}").order_by("-id").first()


class TestStuck:
    @pytest.fixture(autouse=True)
    def short(self, settings: Any) -> None:
        settings.STUCK_AFTER = timedelta(seconds=0.5)

    def test_a_finalizer_that_never_goes(self, box: Sandbox, cluster: Cluster, alice: User) -> None:
        put_in_its_way(cluster, box)
        services.end(box.pk, by=alice)
        box.refresh_from_db()
        work_until(box, Phase.STUCK)
        assert "NamespaceFinalizersRemaining" in box.blocker
        assert f"ConfigMap/stays is held by finalizer {NEVER}" in box.blocker
        assert box.blocker in queries.status(box)
        assert is_charged(box)
        assert box.stuck_since is not None
        alarm = alarm_of(box)
        assert alarm is not None
        assert alarm.cleared_at is None
        assert NEVER in alarm.message
        for _ in range(3):  # tried again, and nothing is forced
            Sandbox.objects.filter(pk=box.pk).update(next_check_at=clock.Now())
            engine.reconcile(box.pk)
        item = cluster._api.get(CONFIG_MAP.path(box.namespace, "stays"))
        assert item["metadata"]["finalizers"] == [NEVER]
        assert not Receipt.objects.filter(sandbox=box).exists()

        let_go(cluster, CONFIG_MAP.path(box.namespace, "stays"))
        box.refresh_from_db()
        work_until(box, Phase.ENDED)
        assert not is_charged(box)
        assert Sandbox.objects.filter(pk=box.pk, blocker="", stuck_since=None).exists()
        assert Alarm.objects.filter(pk=alarm.pk, cleared_at__isnull=False).exists()
        (period,) = document_of(box)["stuck"]
        assert NEVER in period["blocker"]
        assert period["since"] < period["until"]
        assert len(moves_of(box, "stuck")) == 1
        assert verify().ok

    def test_pods_that_never_go(self, box: Sandbox, cluster: Cluster, alice: User) -> None:
        """The namespace is not touched while a pod is left, however long that takes."""
        pod = next(cluster._api.list(POD, box.namespace))["metadata"]["name"]
        path = POD.path(box.namespace, pod)
        cluster._api._call("PATCH", path, None, {"metadata": {"finalizers": [NEVER]}}, MERGE)
        services.end(box.pk, by=alice)
        box.refresh_from_db()
        work_until(box, Phase.STUCK)
        assert f"Pod {pod} is held by finalizer {NEVER}" in box.blocker
        state = cluster.namespace(box.namespace or "")
        assert state is not None
        assert state.phase == "Active"
        let_go(cluster, path)
        work_until(box, Phase.ENDED)
        (period,) = document_of(box)["stuck"]
        assert pod in period["blocker"]
        alarm = alarm_of(box)
        assert alarm is not None
        assert alarm.cleared_at is not None

    def test_stuck_on_one_thing_after_another(self, box: Sandbox, cluster: Cluster, alice: User) -> None:
        """Each wait has its own clock, and the receipt tells of both."""
        put_in_its_way(cluster, box)
        pod = next(cluster._api.list(POD, box.namespace))["metadata"]["name"]
        cluster._api._call(
            "PATCH", POD.path(box.namespace, pod), None, {"metadata": {"finalizers": [NEVER]}}, MERGE
        )
        services.end(box.pk, by=alice)
        box.refresh_from_db()
        work_until(box, Phase.STUCK)
        let_go(cluster, POD.path(box.namespace, pod))
        wait_until(lambda: (teardown.take(box), len(moves_of(box, "stuck")) == 2)[1])
        first, between = moves_of(box, "ending")
        assert "stuck_seconds" not in first.data
        assert pod in between.data["blocker"]
        box.refresh_from_db()
        let_go(cluster, CONFIG_MAP.path(box.namespace, "stays"))
        work_until(box, Phase.ENDED)
        before, after = document_of(box)["stuck"]
        assert pod in before["blocker"]
        assert "ConfigMap/stays" in after["blocker"]

    def test_it_is_tried_ever_less_often(self, box: Sandbox, cluster: Cluster) -> None:
        put_in_its_way(cluster, box)
        start_ending(box, reason="expired")
        work_until(box, Phase.STUCK)
        waits = []
        for stuck_for in (timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=3)):
            Sandbox.objects.update(stuck_since=clock.now() - stuck_for)
            box.refresh_from_db()
            wait = teardown.take(box)
            assert wait is not None
            waits.append(wait)
        assert waits == sorted(waits)
        assert waits[0] >= timedelta(seconds=1)
        assert waits[-1] == timedelta(minutes=5)
        let_go(cluster, CONFIG_MAP.path(box.namespace, "stays"))

    def test_a_cluster_that_is_down_is_not_stuck(self, box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing is known then, so nothing is said; it goes on when the cluster answers."""
        start_ending(box, reason="expired")
        Sandbox.objects.update(phase_at=clock.now() - timedelta(hours=1))

        def down(name: str) -> Cluster:
            raise ClusterUnavailableError("It does not answer.")

        with monkeypatch.context() as away:
            away.setattr(clusters, "get", down)
            with pytest.raises(ClusterUnavailableError):
                teardown.take(box)
        box.refresh_from_db()
        assert box.phase == Phase.ENDING
        work_until(box, Phase.ENDED)

    def test_what_the_cluster_keeps_refusing(
        self, box: Sandbox, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A permission that was taken from us: the row is not lost in retries, a person is told."""

        def forbidden(namespace: str) -> None:
            raise ClusterRefusedError("statefulsets.apps is forbidden")

        with monkeypatch.context() as refused:
            refused.setattr(cluster, "delete_workloads", forbidden)
            start_ending(box, reason="expired")
            work_until(box, Phase.STUCK)
            assert "statefulsets.apps is forbidden" in box.blocker
        work_until(box, Phase.ENDED)


def test_a_wait_that_is_still_short_is_nobodys_business(box: Sandbox, cluster: Cluster, alice: User) -> None:
    put_in_its_way(cluster, box)
    services.end(box.pk, by=alice)
    for _ in range(3):
        Sandbox.objects.filter(pk=box.pk).update(next_check_at=clock.Now())
        engine.reconcile(box.pk)
    box.refresh_from_db()
    assert (box.phase, box.blocker) == (Phase.ENDING, "")
    assert alarm_of(box) is None
    let_go(cluster, CONFIG_MAP.path(box.namespace, "stays"))


def test_after_a_minute_the_page_says_what_it_waits_for(
    box: Sandbox, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stuck, "_TELL_AFTER", timedelta(0))
    put_in_its_way(cluster, box)
    start_ending(box, reason="expired")
    wait_until(lambda: (teardown.take(box), "ConfigMap/stays" in box.blocker)[1])
    assert box.phase == Phase.ENDING
    assert "ConfigMap/stays" in queries.status(box)
    let_go(cluster, CONFIG_MAP.path(box.namespace, "stays"))


@pytest.mark.parametrize(
    ("pod", "node", "said"),
    [
        ({"metadata": {"name": "a", "finalizers": ["x/y"]}}, None, "held by finalizer x/y"),
        ({"metadata": {"name": "a"}, "spec": {"nodeName": "n1"}}, None, "node n1, which is gone"),
        (
            {"metadata": {"name": "a", "deletionTimestamp": "2026"}, "spec": {"nodeName": "n1"}},
            {
                "status": {
                    "conditions": [{"type": "Ready", "status": "Unknown", "message": "Kubelet is silent"}]
                }
            },
            "does not respond (Kubelet is silent)",
        ),
        (
            {"metadata": {"name": "a", "deletionTimestamp": "2026"}, "spec": {"nodeName": "n1"}},
            {"status": {"conditions": [{"type": "Ready", "status": "True"}]}},
            "still being stopped on node n1",
        ),
        ({"metadata": {"name": "a"}}, None, "refuses to be deleted"),
    ],
)
def test_why_a_pod_is_still_there(pod: KubeObject, node: KubeObject | None, said: str) -> None:
    assert said in pod_blocker(pod, node)
