"""What carries our labels and belongs to nobody: cut off, told, and deleted only after its grace."""

from datetime import timedelta
from uuid import uuid4

import pytest

from portal.accounts.models import User
from sandboxes.audit.models import Entry
from sandboxes.audit.services import verify
from sandboxes.cluster import freezing
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.kinds import kind
from sandboxes.cluster.tending import QUARANTINED
from sandboxes.lifecycle import clearing, clock, observing, orphans, registry
from sandboxes.lifecycle.models import Alarm, Orphan, RegisteredCluster, Sandbox
from sandboxes.lifecycle.phases import Phase
from tests.sandboxes.lifecycle import rows
from tests.sandboxes.lifecycle.by_hand import ByHand
from tests.sandboxes.lifecycle.orphaned import (
    HERE,
    installation,
    labels,
    let_grace_end,
    look,
    look_until_gone,
    new_name,
    orphan,
    told,
)

__all__ = ["installation", "labels", "orphan"]  # fixtures

pytestmark = pytest.mark.django_db
POLICIES = {"deny-all"}


def bind(hand: ByHand, namespace: str) -> None:
    body = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "back-door"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "mallory"}],
    }
    hand.rbac.create_namespaced_role_binding(namespace, body)


def start_pod(hand: ByHand, namespace: str, name: str) -> None:
    container = {"name": "c", "image": "python:3"}
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [container]},
    }
    hand.core.create_namespaced_pod(namespace, body)


class TestNamespace:
    def test_it_is_cut_off_and_told_and_not_deleted(self, orphan: Orphan, hand: ByHand) -> None:
        hand.allow_all(orphan.name)
        look()
        orphan.refresh_from_db()
        assert orphan.quarantined_at is not None
        assert orphan.delete_after == pytest.approx(
            orphan.quarantined_at + timedelta(days=1), abs=timedelta(seconds=5)
        )
        assert hand.policies(orphan.name) == POLICIES
        assert QUARANTINED in hand.core.read_namespace(orphan.name).metadata.labels
        alarm = Alarm.objects.get(kind=orphans.ALARM, cleared_at=None)
        assert orphan.name in alarm.message
        look()
        assert orphan.name in hand.namespaces()
        assert told(orphan) == ["quarantined"]

    def test_one_that_is_not_named_as_ours_is_only_told_of(
        self, cluster: Cluster, hand: ByHand, labels: dict[str, str], ada: User
    ) -> None:
        """Whoever may label a namespace could else have it cut off and deleted."""
        name = f"payroll-{uuid4().hex[:8]}"
        hand.make_namespace(name, labels)
        hand.allow_all(name)
        look()
        orphan = Orphan.objects.get(name=name)
        assert hand.policies(name) == {"open-sesame"}
        assert (orphan.quarantined_at, orphan.delete_after) == (None, None)
        assert "not named as any of ours" in orphan.last_error
        assert name in Alarm.objects.get(subject=f"orphan:{orphan.pk}", cleared_at=None).message
        assert orphan in orphans.open_ones()
        orphans.delete_now(orphan.pk, by=ada)
        look_until_gone(hand, name)
        assert not Alarm.objects.filter(kind=orphans.ALARM, cleared_at=None).exists()

    def test_what_is_put_back_is_taken_away_at_every_look_and_told_once(
        self, orphan: Orphan, hand: ByHand, cluster: Cluster
    ) -> None:
        look()
        subject = f"orphan:{orphan.pk}"
        for _ in range(2):
            hand.allow_all(orphan.name)
            look()
            assert hand.policies(orphan.name) == POLICIES
            assert told(orphan) == ["quarantined", "alarm.raised", "quarantine_broken"]
        alarm = Alarm.objects.get(subject=subject)
        assert (alarm.count, alarm.cleared_at) == (2, None)
        assert "this came back: NetworkPolicy/open-sesame" in alarm.message
        bind(hand, orphan.name)
        look()
        assert hand.rbac.list_namespaced_role_binding(orphan.name).items == []
        deny_all = f"/apis/networking.k8s.io/v1/namespaces/{orphan.name}/networkpolicies/deny-all"
        hand.call("PATCH", deny_all, {"spec": {"egress": [{}]}})
        look()
        assert not hand.call("GET", deny_all)["spec"].get("egress")
        found = [entry.data["found"] for entry in Entry.objects.filter(action="orphan.quarantine_broken")]
        assert found == [
            ["NetworkPolicy/open-sesame"],
            ["RoleBinding/back-door"],
            ["NetworkPolicy/deny-all"],
        ]
        let_grace_end()
        look_until_gone(hand, orphan.name)
        assert not Alarm.objects.filter(subject=subject, cleared_at=None).exists()
        assert verify().ok

    def test_a_pod_runs_neither_in_it_nor_again(self, orphan: Orphan, hand: ByHand, cluster: Cluster) -> None:
        start_pod(hand, orphan.name, "worker")
        look()
        assert told(orphan) == ["quarantined"]
        look()
        assert told(orphan) == ["quarantined"], "a frozen pod is none that came back"
        start_pod(hand, orphan.name, "again")
        look()
        pods = list(cluster.api.list(kind("v1", "Pod"), orphan.name))
        assert {pod["metadata"]["name"] for pod in pods} == {"worker", "again"}  # and with them their files
        assert all(freezing.freezing(pod) is None for pod in pods)
        (entry,) = Entry.objects.filter(action="orphan.quarantine_broken")
        assert entry.data["found"] == ["Pod/again"]

    def test_it_is_looked_at_long_before_its_grace_ends(self, orphan: Orphan) -> None:
        look()
        orphan.refresh_from_db()
        assert orphan.check_at <= clock.now() + timedelta(minutes=5)

    def test_it_is_deleted_after_its_grace(self, orphan: Orphan, hand: ByHand) -> None:
        look()
        let_grace_end()
        look_until_gone(hand, orphan.name)
        orphan.refresh_from_db()
        assert orphan.gone_at is not None
        assert told(orphan) == ["quarantined", "deleted", "closed"]
        assert not Alarm.objects.filter(kind=orphans.ALARM, cleared_at=None).exists()
        assert verify().ok

    def test_found_again_it_is_the_same_orphan_and_nothing_is_written(self, orphan: Orphan) -> None:
        before = Orphan.objects.values().get()
        assert observing.observe(HERE).orphans == 0
        assert Orphan.objects.values().get() == before

    def test_one_of_a_sandbox_that_is_over(
        self, cluster: Cluster, hand: ByHand, labels: dict[str, str], alice: User
    ) -> None:
        name = new_name()
        uid = hand.make_namespace(name, labels)
        now = clock.now()
        rows.ready(
            alice, name=name, namespace=name, namespace_uid=uid, phase=Phase.ENDED, ended_at=now - rows.HOUR
        )
        assert observing.observe(HERE).orphans == 1

    def test_one_that_was_closed_while_the_listing_ran_is_none(
        self, cluster: Cluster, hand: ByHand, labels: dict[str, str], alice: User
    ) -> None:
        name = new_name()
        uid = hand.make_namespace(name, labels)
        later = clock.now() + rows.HOUR
        rows.ready(alice, name=name, namespace=name, namespace_uid=uid, phase=Phase.ENDED, ended_at=later)
        assert observing.observe(HERE).orphans == 0

    @pytest.mark.parametrize("charged", [True, False])
    @pytest.mark.parametrize("phase", [Phase.PROVISIONING, Phase.READY, Phase.ENDING, Phase.STUCK])
    def test_one_that_a_row_answers_for_is_none(
        self,
        cluster: Cluster,
        hand: ByHand,
        labels: dict[str, str],
        alice: User,
        phase: Phase,
        charged: bool,
    ) -> None:
        name = new_name()
        uid = hand.make_namespace(name, labels)
        known = "" if phase == Phase.PROVISIONING else uid  # created, and not written down yet
        rows.ready(alice, name=name, namespace=name, namespace_uid=known, phase=phase, charged=charged)
        assert observing.observe(HERE).orphans == 0

    def test_one_that_took_a_live_sandboxs_name(
        self, cluster: Cluster, hand: ByHand, labels: dict[str, str], alice: User
    ) -> None:
        name = new_name()
        hand.make_namespace(name, labels)
        rows.ready(alice, name=name, namespace=name, namespace_uid="the-one-we-made", charged=True)
        assert observing.observe(HERE).orphans == 1

    def test_it_is_no_orphan_once_a_row_answers_for_it(
        self, orphan: Orphan, hand: ByHand, alice: User
    ) -> None:
        look()
        let_grace_end()
        rows.ready(alice, name=orphan.name, namespace=orphan.name, namespace_uid=orphan.uid)
        look()
        orphan.refresh_from_db()
        assert orphan.gone_at is not None
        assert orphan.name in hand.namespaces()


class TestVolume:
    def test_one_that_outlived_its_sandbox_goes_after_its_grace(
        self, cluster: Cluster, hand: ByHand, alice: User
    ) -> None:
        claim = new_name()
        over = clock.now() - rows.HOUR
        rows.ready(alice, name=claim, namespace=claim, namespace_uid="u", phase=Phase.ENDED, ended_at=over)
        name = f"pv-{uuid4().hex[:8]}"
        hand.make_volume(name, claim=claim)
        look()
        orphan = Orphan.objects.get()
        assert (orphan.kind, orphan.name) == ("PersistentVolume", name)
        assert hand.core.read_persistent_volume(name)
        let_grace_end()
        look()
        look()
        orphan.refresh_from_db()
        assert orphan.gone_at is not None
        assert name not in {item.metadata.name for item in hand.core.list_persistent_volume().items}

    def test_one_with_our_label_needs_no_row(
        self, cluster: Cluster, hand: ByHand, labels: dict[str, str]
    ) -> None:
        hand.make_volume(f"pv-{uuid4().hex[:8]}", claim="gone", labels=labels)
        look()
        assert Orphan.objects.get().sandbox_label == "4711"

    def test_one_without_it_whose_namespace_nobody_knew_may_be_another_installations(
        self, cluster: Cluster, hand: ByHand
    ) -> None:
        hand.make_volume(f"pv-{uuid4().hex[:8]}", claim=new_name())
        look()
        assert not Orphan.objects.exists()

    def test_one_of_a_sandbox_that_lives_or_is_being_taken_down_is_none(
        self, cluster: Cluster, hand: ByHand, alice: User
    ) -> None:
        claim = new_name()
        rows.ready(alice, name=claim, namespace=claim, namespace_uid="u", phase=Phase.ENDING)
        hand.make_volume(f"pv-{uuid4().hex[:8]}", claim=claim)
        look()
        assert not Orphan.objects.exists()


def test_a_kind_that_nobody_knows_how_to_delete_is_left_alone(cluster: Cluster) -> None:
    registry.get(HERE)
    Orphan.objects.create(cluster=HERE, kind="Node", name="n", uid="u")
    assert clearing.sweep() == 1
    assert "Nobody here knows" in Orphan.objects.get().last_error


def test_a_cluster_that_does_not_answer_holds_up_nobody_elses(
    orphan: Orphan, monkeypatch: pytest.MonkeyPatch
) -> None:
    RegisteredCluster.objects.create(name="elsewhere", open_until=clock.now() + rows.HOUR)
    Orphan.objects.create(cluster="elsewhere", kind="Namespace", name="n", uid="u")
    assert orphans.sweep() == 1
    orphan.refresh_from_db()
    assert orphan.quarantined_at is not None
    assert Sandbox.objects.count() == 0
