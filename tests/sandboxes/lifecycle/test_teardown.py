"""Taking a sandbox away: in order, allowed, and seen gone."""

import time
from datetime import timedelta
from typing import Any

import pytest

from portal.accounts.models import User
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.kinds import NAMESPACE, PERSISTENT_VOLUME
from sandboxes.cluster.spec import Labels
from sandboxes.lifecycle import (
    clock,
    engine,
    queries,
    services,
    switch,
    teardown,
)
from sandboxes.lifecycle.models import Sandbox, Step
from sandboxes.lifecycle.moves import start_ending
from sandboxes.lifecycle.phases import Phase
from tests.sandboxes.lifecycle.taking_away import document_of, is_charged, wait_until, work_until

pytestmark = pytest.mark.django_db


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
    wait_until(lambda: cluster.namespace(box.namespace or "") is None)
    start_ending(box, reason="its namespace was deleted by somebody else")
    work_until(box, Phase.ENDED)
    (only,) = document_of(box)["existed"]
    assert (only["kind"], only["uid"]) == ("Namespace", box.namespace_uid)
    assert only["absent_at"]


def test_the_same_name_made_anew_by_somebody_else_is_not_ours(box: Sandbox, cluster: Cluster) -> None:
    """Absence is of our uids: what carries the name now is left alone, and is no leftover."""
    name = box.namespace or ""
    cluster.delete_namespace(name, box.namespace_uid)
    wait_until(lambda: cluster.namespace(name) is None)
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
            wait_until(lambda: (teardown.take(box), switch.state().deletions_stopped)[1])
        state = cluster.namespace(box.namespace or "")
        assert state is not None
        assert state.phase == "Active"
        switch.allow_deletions(ada, "Go on.")
        box.refresh_from_db()
        work_until(box, Phase.ENDED)
