"""Somebody changes a sandbox by hand: what may be put right is, and a changed seal isolates."""

import time
from datetime import timedelta
from typing import Any

import pytest

from sandboxes.audit.services import verify
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.kinds import kind
from sandboxes.lifecycle import clock, drift, engine
from sandboxes.lifecycle.models import Alarm, Sandbox
from sandboxes.lifecycle.phases import Phase
from tests.sandboxes.lifecycle.by_hand import MANAGER, ByHand
from tests.sandboxes.lifecycle.drifting import entries, is_quiet, notice, ns, own_installation, ready

__all__ = ["own_installation", "ready"]  # fixtures

pytestmark = pytest.mark.django_db
POLICY = kind("networking.k8s.io/v1", "NetworkPolicy")


def test_what_nobody_touched_is_found_right_and_stays_quiet(ready: Sandbox, cluster: Cluster) -> None:
    assert is_quiet(ready)
    assert "NetworkPolicy/deny-all" in ready.found
    assert drift.keep(ready, cluster) is None
    assert not entries(ready, "sandbox.repaired")
    assert verify().ok


def test_a_quiet_sandbox_costs_no_request(
    ready: Sandbox, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("the cluster was asked")

    monkeypatch.setattr(cluster.api, "_request", asked)
    drift.keep(ready, cluster)


class TestRepair:
    def test_a_workspace_scaled_by_hand_comes_back(
        self, ready: Sandbox, cluster: Cluster, hand: ByHand
    ) -> None:
        hand.scale(ns(ready), 0)
        notice(ready, cluster)
        assert ready.phase == Phase.READY
        assert hand.apps.read_namespaced_stateful_set("workspace", ns(ready)).spec.replicas == 1
        (told,) = entries(ready, "sandbox.repaired")
        assert told["managers"] == [MANAGER]
        assert [each["object"] for each in told["objects"]] == ["StatefulSet/workspace"]
        assert is_quiet(ready)

    def test_a_deleted_workspace_comes_back(self, ready: Sandbox, cluster: Cluster, hand: ByHand) -> None:
        hand.apps.delete_namespaced_stateful_set("workspace", ns(ready))
        notice(ready, cluster)
        assert hand.apps.read_namespaced_stateful_set("workspace", ns(ready))
        assert entries(ready, "sandbox.repaired")[0]["objects"][0]["what"] == "missing"

    def test_a_deleted_secret_comes_back(self, ready: Sandbox, cluster: Cluster, hand: ByHand) -> None:
        hand.core.delete_namespaced_secret("package-index", ns(ready))
        notice(ready, cluster)
        assert hand.core.read_namespaced_secret("package-index", ns(ready))
        assert ready.phase == Phase.READY

    def test_an_owner_locked_out_by_hand_gets_in_again(
        self, ready: Sandbox, cluster: Cluster, hand: ByHand
    ) -> None:
        """A binding that is gone lets nobody in: no reason to isolate."""
        hand.rbac.delete_namespaced_role_binding("owner", ns(ready))
        notice(ready, cluster)
        assert hand.rbac.read_namespaced_role_binding("owner", ns(ready))
        assert ready.phase == Phase.READY

    def test_foreign_things_that_open_nothing_are_left_alone(
        self, ready: Sandbox, cluster: Cluster, hand: ByHand
    ) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "notes"},
            "data": {"text": "mine"},
        }
        hand.core.create_namespaced_config_map(ns(ready), body, field_manager=MANAGER)
        notice(ready, cluster)
        assert hand.core.read_namespaced_config_map("notes", ns(ready))
        assert not entries(ready, "sandbox.repaired")
        assert is_quiet(ready)


class TestChangedSeal:
    def broken(self, sandbox: Sandbox, cluster: Cluster, what: str) -> dict[str, Any]:
        """What the ledger says of the object that had been changed, after the sandbox was isolated."""
        notice(sandbox, cluster)
        assert sandbox.phase == Phase.ISOLATED
        assert sandbox.index_token_digest == ""
        (told,) = entries(sandbox, "sandbox.seal_changed")
        alarm = Alarm.objects.get(subject=f"sandbox:{sandbox.pk}")  # one, for one event
        assert alarm.kind == "isolated"
        assert f"of alice is isolated: Its seal was changed: {what}: " in alarm.message
        assert verify().ok
        return next(each for each in told["objects"] if each["object"] == what)

    def test_a_policy_deleted_by_hand(self, ready: Sandbox, cluster: Cluster, hand: ByHand) -> None:
        hand.delete_policy(ns(ready), "deny-all")
        assert self.broken(ready, cluster, "NetworkPolicy/deny-all")["what"] == "missing"

    def test_a_policy_widened_by_hand(self, ready: Sandbox, cluster: Cluster, hand: ByHand) -> None:
        patch: dict[str, Any] = {"spec": {"egress": [{}]}}
        hand.networking.patch_namespaced_network_policy("deny-all", ns(ready), patch, field_manager=MANAGER)
        told = self.broken(ready, cluster, "NetworkPolicy/deny-all")
        assert (told["what"], told["managers"]) == ("changed", [MANAGER])

    def test_a_foreign_policy_that_allows_everything(
        self, ready: Sandbox, cluster: Cluster, hand: ByHand
    ) -> None:
        hand.allow_all(ns(ready))
        told = self.broken(ready, cluster, "NetworkPolicy/open-sesame")
        assert (told["what"], told["managers"]) == ("foreign", [MANAGER])
        deadline = time.monotonic() + 20
        while hand.policies(ns(ready)) != {"deny-all"}:  # a worker carries it out
            assert time.monotonic() < deadline
            engine.sweep()
            time.sleep(0.02)

    @pytest.mark.parametrize(
        "labels",
        [{"_sandbox": "999"}, {"_sandbox": None}, {"pod-security.kubernetes.io/enforce": "privileged"}],
        ids=["another", "none", "pod security"],
    )
    def test_a_label_edited_by_hand(
        self, ready: Sandbox, cluster: Cluster, hand: ByHand, labels: dict[str, str | None]
    ) -> None:
        hand.label(ns(ready), **labels)
        assert self.broken(ready, cluster, f"Namespace/{ready.namespace}")["what"] == "changed"

    def test_an_extension_does_not_put_a_label_back_unseen(
        self, ready: Sandbox, cluster: Cluster, hand: ByHand
    ) -> None:
        enforce = "pod-security.kubernetes.io/enforce"
        hand.label(ns(ready), **{enforce: "privileged"})
        ends = clock.now() + timedelta(hours=1)
        Sandbox.objects.filter(pk=ready.pk).update(expires_at=ends, next_check_at=clock.now())
        engine.sweep()
        ready.refresh_from_db()
        metadata = hand.core.read_namespace(ns(ready)).metadata
        assert ready.expiry_shown == ends
        assert metadata.annotations["petridish.dev/expires-at"] == ends.isoformat()
        assert metadata.labels[enforce] == "privileged"
        assert self.broken(ready, cluster, f"Namespace/{ready.namespace}")["managers"] == [MANAGER]

    def test_a_quota_raised_by_hand(self, ready: Sandbox, cluster: Cluster, hand: ByHand) -> None:
        hand.raise_quota(ns(ready))
        assert self.broken(ready, cluster, "ResourceQuota/sandbox")["managers"] == [MANAGER]

    def test_a_binding_of_somebody_else(self, ready: Sandbox, cluster: Cluster, hand: ByHand) -> None:
        body = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "friends"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "owner"},
            "subjects": [
                {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "petridish:mallory"}
            ],
        }
        hand.rbac.create_namespaced_role_binding(ns(ready), body, field_manager=MANAGER)
        assert self.broken(ready, cluster, "RoleBinding/friends")["what"] == "foreign"


class TestGone:
    def test_a_namespace_deleted_by_hand_ends_the_sandbox(
        self, ready: Sandbox, cluster: Cluster, hand: ByHand
    ) -> None:
        hand.core.delete_namespace(ns(ready))
        notice(ready, cluster)
        assert ready.phase == Phase.ENDING
        assert "deleted by somebody else" in ready.end_reason

    def test_one_made_again_by_hand_is_not_the_one_that_was(
        self, ready: Sandbox, cluster: Cluster, hand: ByHand
    ) -> None:
        labels = dict(hand.core.read_namespace(ns(ready)).metadata.labels)
        hand.core.delete_namespace(ns(ready))
        deadline = time.monotonic() + 20
        while ns(ready) in hand.namespaces():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        hand.make_namespace(ns(ready), labels)
        notice(ready, cluster)
        assert ready.phase == Phase.ENDING


class TestClosed:
    """Asleep or isolated."""

    def test_asleep_it_is_inspected_too(self, ready: Sandbox, cluster: Cluster, hand: ByHand) -> None:
        cluster.scale_workspace(ns(ready), 0)
        Sandbox.objects.filter(pk=ready.pk).update(phase=Phase.HIBERNATED)
        ready.refresh_from_db()
        notice(ready, cluster)
        assert is_quiet(ready)
        assert hand.apps.read_namespaced_stateful_set("workspace", ns(ready)).spec.replicas == 0
        hand.allow_all(ns(ready))
        notice(ready, cluster)
        assert ready.phase == Phase.ISOLATED

    def test_isolated_its_seal_is_put_right_and_it_falls_quiet(
        self, ready: Sandbox, cluster: Cluster, hand: ByHand
    ) -> None:
        hand.allow_all(ns(ready))
        notice(ready, cluster)
        deadline = time.monotonic() + 20
        while ready.cut_at is None:
            assert time.monotonic() < deadline, ready.last_error
            engine.sweep()
            ready.refresh_from_db()
            time.sleep(0.02)
        hand.raise_quota(ns(ready))
        Sandbox.objects.filter(pk=ready.pk).update(inspect_due=True)
        ready.refresh_from_db()
        drift.keep(ready, cluster)
        ready.refresh_from_db()
        assert hand.pods_allowed(ns(ready)) == "4"
        assert entries(ready, "sandbox.repaired")[-1]["managers"] == [MANAGER]
        assert is_quiet(ready)
