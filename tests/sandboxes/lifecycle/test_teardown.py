"""Taking a sandbox away: in order, allowed, seen gone, and stuck where the cluster does not let go."""

import contextlib
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from threading import Barrier, Thread
from typing import Any

import pytest
from django.db import connection

from portal.accounts.models import User
from sandboxes.audit.models import Entry
from sandboxes.audit.services import verify
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.kinds import NAMESPACE, PERSISTENT_VOLUME, kind
from sandboxes.cluster.remains import pod_blocker
from sandboxes.cluster.spec import KubeObject, Labels
from sandboxes.errors import ClusterRefusedError, ClusterUnavailableError
from sandboxes.lifecycle import (
    clock,
    clusters,
    engine,
    queries,
    receipts,
    services,
    specs,
    stuck,
    switch,
    teardown,
)
from sandboxes.lifecycle.models import Alarm, Receipt, Sandbox, Step
from sandboxes.lifecycle.moves import move, start_ending
from sandboxes.lifecycle.phases import Phase
from sandboxes.lifecycle.tokens import digest, index_token

pytestmark = pytest.mark.django_db

CONFIG_MAP = kind("v1", "ConfigMap")
POD = kind("v1", "Pod")
NEVER = "example.com/never"
MERGE = "application/merge-patch+json"


@pytest.fixture
def box(sandbox: Sandbox, cluster: Cluster, alice: User) -> Sandbox:
    """Alice's sandbox, ready: everything it is made of is in the cluster."""
    name = f"sbx-teardown-{sandbox.pk}-{time.monotonic_ns() % 10**9}"
    move(sandbox, Phase.PROVISIONING, name=name, namespace=name, simulated=True)
    rendered = specs.rendered(sandbox, cluster)
    sandbox.namespace_uid = cluster.ensure_namespace(rendered.seal[0])
    sandbox.save(update_fields=["namespace_uid"])
    cluster.apply(rendered.seal[1:])
    until(lambda: cluster.quota_ready(name))
    cluster.apply(rendered.workspace)
    cluster.apply(rendered.access)
    until(lambda: cluster.workspace(name).ready)
    move(sandbox, Phase.PROBING)
    now, token = clock.now(), digest(index_token(sandbox))
    move(
        sandbox,
        Phase.READY,
        ready_at=now,
        expires_at=now + sandbox.lease,
        index_token_digest=token,
        charged=True,
    )
    return sandbox


def until(look: Callable[[], Any], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)


def work_until(sandbox: Sandbox, phase: Phase, seconds: float = 20) -> Sandbox:
    """What the workers do, of this sandbox only."""
    deadline = time.monotonic() + seconds
    while sandbox.phase != phase:
        said = f"still {sandbox.phase}: {sandbox.blocker or sandbox.last_error}"
        assert time.monotonic() < deadline, said
        Sandbox.objects.filter(pk=sandbox.pk).update(next_check_at=clock.Now())
        engine.reconcile(sandbox.pk)
        sandbox.refresh_from_db()
    return sandbox


def put_in_its_way(cluster: Cluster, sandbox: Sandbox) -> None:
    """A ConfigMap with a finalizer that nobody serves."""
    metadata = {"name": "stays", "namespace": sandbox.namespace, "finalizers": [NEVER]}
    cluster._api.apply(
        CONFIG_MAP.path(sandbox.namespace, "stays"),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata},
    )


def let_go(cluster: Cluster, path: str) -> None:
    cluster._api._call("PATCH", path, None, {"metadata": {"finalizers": None}}, MERGE)


def document_of(sandbox: Sandbox) -> dict[str, Any]:
    found: dict[str, Any] = Receipt.objects.get(sandbox=sandbox).document
    return found


def moves_of(sandbox: Sandbox, phase: str) -> list[Entry]:
    return list(
        Entry.objects.filter(subject=f"sandbox:{sandbox.pk}", action=f"sandbox.{phase}").order_by("id")
    )


def is_charged(sandbox: Sandbox) -> bool:
    return Sandbox.objects.filter(pk=sandbox.pk, charged=True).exists()


def alarm_of(sandbox: Sandbox) -> Alarm | None:
    return Alarm.objects.filter(kind="stuck", subject=f"sandbox:{sandbox.pk}").order_by("-id").first()


# ---- in order, and seen


def test_every_object_is_named_by_uid_asked_to_go_and_seen_gone(
    box: Sandbox, cluster: Cluster, alice: User
) -> None:
    before = {(one.kind, one.name, one.uid) for one in cluster.inventory(box.namespace or "")}
    services.end(box.pk, by=alice)
    box.refresh_from_db()
    work_until(box, Phase.ENDED)
    document = document_of(box)
    existed = {(one["kind"], one["name"], one["uid"]) for one in document["existed"]}
    assert ("Namespace", box.namespace, box.namespace_uid) in existed
    assert before <= existed
    for one in document["existed"]:
        assert one["uid"]
        assert document["index_token_revoked_at"] <= one["deleted_at"] <= one["absent_at"], one
        assert one["absent_at"] <= document["absent_at"]
    first = {
        name: min(one["deleted_at"] for one in document["existed"] if one["kind"] == name) for name in WAY
    }
    assert list(first) == sorted(first, key=lambda name: first[name])
    assert {"Pod", "Secret", "NetworkPolicy", "PersistentVolume"} <= set(document["listed"])
    assert document["leftovers"] == []
    assert not is_charged(box)


WAY = ("RoleBinding", "StatefulSet", "Namespace")


def test_the_timeline_tells_each_step_once(box: Sandbox, alice: User) -> None:
    services.end(box.pk, by=alice)
    box.refresh_from_db()
    work_until(box, Phase.ENDED)
    steps = list(Step.objects.filter(sandbox=box).order_by("started_at", "id"))
    assert [one.name for one in steps] == [
        "revoke access",
        "delete workloads",
        "no pods left",
        "delete namespace",
        "observe absence",
        "receipt",
    ]
    assert all(one.ended_at and not one.error for one in steps)


def test_a_namespace_deleted_by_hand_is_still_seen_gone(box: Sandbox, cluster: Cluster) -> None:
    cluster.delete_namespace(box.namespace or "", box.namespace_uid)
    until(lambda: cluster.namespace(box.namespace or "") is None)
    start_ending(box, reason="its namespace was deleted by somebody else")
    work_until(box, Phase.ENDED)
    (only,) = document_of(box)["existed"]
    assert (only["kind"], only["uid"]) == ("Namespace", box.namespace_uid)
    assert only["absent_at"]


def test_the_same_name_made_anew_by_somebody_else_is_not_ours(box: Sandbox, cluster: Cluster) -> None:
    """Absence is of our uids: what carries the name now is left alone, and is no leftover."""
    name = box.namespace or ""
    cluster.delete_namespace(name, box.namespace_uid)
    until(lambda: cluster.namespace(name) is None)
    foreign = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    other = cluster._api.create(NAMESPACE.collection(), foreign)["metadata"]["uid"]
    start_ending(box, reason="its namespace was deleted by somebody else")
    work_until(box, Phase.ENDED)
    assert document_of(box)["namespace_uid"] == box.namespace_uid != other
    state = cluster.namespace(name)
    assert state is not None
    assert (state.uid, state.phase) == (other, "Active")
    cluster._api.delete(NAMESPACE.path(None, name))


def test_a_volume_that_stays_is_a_leftover_by_name(
    box: Sandbox, cluster: Cluster, alice: User, settings: Any
) -> None:
    labels = {Labels.INSTALLATION: settings.INSTALLATION_ID, Labels.SANDBOX: str(box.pk)}
    path = PERSISTENT_VOLUME.path(None, f"left-{box.namespace}")
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"left-{box.namespace}", "labels": labels},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]},
    }
    cluster._api.apply(path, volume)
    settings.STUCK_AFTER = timedelta(seconds=0.5)
    services.end(box.pk, by=alice)
    box.refresh_from_db()
    work_until(box, Phase.STUCK)
    assert f"PersistentVolume/left-{box.namespace}" in box.blocker
    cluster._api.delete(path)
    work_until(box, Phase.ENDED)


# ---- stuck


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
        until(lambda: (teardown.take(box), len(moves_of(box, "stuck")) == 2)[1])
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
    until(lambda: (teardown.take(box), "ConfigMap/stays" in box.blocker)[1])
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


# ---- when nothing may be destroyed


class TestNotAllowed:
    def _destroys_nothing(self, box: Sandbox, cluster: Cluster) -> None:
        for _ in range(2):
            Sandbox.objects.filter(pk=box.pk).update(next_check_at=clock.Now())
            engine.reconcile(box.pk)
        box.refresh_from_db()
        assert box.phase == Phase.ENDING
        assert box.index_token_digest == ""
        kinds = {one.kind for one in cluster.inventory(box.namespace or "") if one.ours}
        assert {"StatefulSet", "NetworkPolicy"} <= kinds
        assert not kinds & {"RoleBinding", "Secret"}  # nobody gets in all the same
        assert cluster.pods_left(box.namespace or "")

    def test_while_deletions_are_stopped(self, box: Sandbox, cluster: Cluster, ada: User) -> None:
        switch.stop_deletions("Too many at once.")
        start_ending(box, reason="expired")
        self._destroys_nothing(box, cluster)
        assert "Deletions are stopped" in queries.status(box)
        assert "Too many at once." in queries.status(box)
        switch.allow_deletions(ada, "They are meant to go.")
        work_until(box, Phase.ENDED)

    def test_while_it_is_under_legal_hold(self, box: Sandbox, cluster: Cluster) -> None:
        Sandbox.objects.update(hold_until=clock.now() + timedelta(hours=1), hold_reason="A case")
        box.refresh_from_db()
        start_ending(box, reason="expired")
        self._destroys_nothing(box, cluster)
        assert "legal hold" in queries.status(box)
        Sandbox.objects.update(hold_until=clock.now())
        work_until(box, Phase.ENDED)

    def test_the_time_it_was_not_allowed_does_not_count(
        self, box: Sandbox, cluster: Cluster, ada: User, settings: Any
    ) -> None:
        settings.STUCK_AFTER = timedelta(seconds=0.2)
        switch.stop_deletions("Too many at once.")
        start_ending(box, reason="expired")
        self._destroys_nothing(box, cluster)
        time.sleep(0.3)
        self._destroys_nothing(box, cluster)
        settings.STUCK_AFTER = timedelta(minutes=5)
        switch.allow_deletions(ada, "They are meant to go.")
        work_until(box, Phase.ENDED)
        assert document_of(box)["stuck"] == []

    def test_stopped_between_workloads_and_namespace(
        self, box: Sandbox, cluster: Cluster, ada: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        start_ending(box, reason="expired")
        pods_left = cluster.pods_left

        def stop(namespace: str) -> int:
            left = pods_left(namespace)
            if not left:
                switch.stop_deletions("Just now.")
            return left

        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(cluster, "pods_left", stop)
            until(lambda: (teardown.take(box), switch.state().deletions_stopped)[1])
        state = cluster.namespace(box.namespace or "")
        assert state is not None
        assert state.phase == "Active"
        switch.allow_deletions(ada, "Go on.")
        box.refresh_from_db()
        work_until(box, Phase.ENDED)


# ---- dying, and two at once


class KilledError(BaseException):
    """Not an Exception: nothing in the code may catch it, as nothing catches `kill -9`."""


CALLS = [
    "namespace",
    "inventory",
    "revoke_access",
    "delete_workloads",
    "pods_left",
    "delete_namespace",
    "leftovers",
]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("call", CALLS)
def test_killed_at_any_call_another_worker_ends_it(
    box: Sandbox, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, call: str, moment: str
) -> None:
    start_ending(box, reason="expired")
    method = getattr(cluster, call)
    deaths: list[str] = []

    def dying(*args: Any, **options: Any) -> Any:
        if deaths:
            return method(*args, **options)
        if moment == "after":
            method(*args, **options)
        deaths.append(call)
        raise KilledError

    monkeypatch.setattr(cluster, call, dying)
    with contextlib.suppress(KilledError):
        until(lambda: teardown.take(box) is None and box.phase != Phase.ENDING)
    assert deaths
    again = Sandbox.objects.get(pk=box.pk)  # another worker knows only the row
    until(lambda: teardown.take(again) is None and again.phase == Phase.ENDED)
    _is_whole(again)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_the_receipt_it_is_written_by_the_next_one_once(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    start_ending(box, reason="expired")
    issue = receipts.issue

    def dying(*args: Any, **options: Any) -> Receipt:
        if moment == "after":
            issue(*args, **options)
        raise KilledError

    with monkeypatch.context() as once:
        once.setattr(receipts, "issue", dying)
        with pytest.raises(KilledError):
            until(lambda: teardown.take(box) is None and box.phase != Phase.ENDING)
    assert not Receipt.objects.filter(sandbox=box).exists()
    again = Sandbox.objects.get(pk=box.pk)
    assert again.phase == Phase.ENDING
    until(lambda: teardown.take(again) is None and again.phase == Phase.ENDED)
    _is_whole(again)


def _is_whole(sandbox: Sandbox) -> None:
    receipt = Receipt.objects.get(sandbox=sandbox)
    assert receipts.verify(receipt.document, receipt.key_id, receipt.signature).ok
    names = ("access_revoked_at", "workloads_gone_at", "namespace_deleted_at", "absent_at")
    times = [receipt.document[name] for name in names]
    assert times == sorted(times)
    assert all(one["absent_at"] for one in receipt.document["existed"])
    assert len(moves_of(sandbox, "ended")) == 1
    assert verify().ok


@pytest.mark.django_db(transaction=True)
def test_two_workers_write_one_receipt(box: Sandbox) -> None:
    """Both saw it gone, both come to write: one does, and the other finds nothing left to do."""
    start_ending(box, reason="expired")
    until(lambda: (teardown.take(box), "namespace_deleted_at" in box.teardown)[1])
    cluster = clusters.get(box.cluster)
    until(lambda: cluster.namespace(box.namespace or "") is None)
    both, said = Barrier(2), []

    def worker() -> None:
        mine = Sandbox.objects.select_related("owner").get(pk=box.pk)
        both.wait()
        try:
            said.append(teardown.take(mine))
        finally:
            connection.close()

    threads = [Thread(target=worker) for _ in range(2)]
    _run(threads)
    assert said == [None, None]
    assert Receipt.objects.filter(sandbox=box).count() == 1
    assert len(moves_of(box, "ended")) == 1
    assert verify().ok


def _run(threads: Iterable[Thread]) -> None:
    started = list(threads)
    for thread in started:
        thread.start()
    for thread in started:
        thread.join(30)
