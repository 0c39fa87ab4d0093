"""What should be there changed with our release, or is of an older one: nobody touched the sandbox."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from portal.accounts.models import User
from sandboxes.cluster.driver import Cluster
from sandboxes.lifecycle import drift, engine, isolation, specs
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import Phase
from tests.sandboxes.lifecycle.by_hand import MANAGER, ByHand
from tests.sandboxes.lifecycle.drifting import entries, is_quiet, notice, ns, own_installation, ready

__all__ = ["own_installation", "ready"]  # fixtures

pytestmark = pytest.mark.django_db
SHARED = ("replicas", "selector", "template")  # of a StatefulSet and a Deployment
RULES = [{"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create", "get"]}]
EVERYTHING = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}


class TestOurOwnChange:
    """What should be there changes: another release, another DNS address. Nobody touched the sandbox."""

    def test_the_seal_is_brought_up_to_date_and_proven_again(
        self, ready: Sandbox, cluster: Cluster, hand: ByHand, settings: Any
    ) -> None:
        settings.INDEX_URL = "http://192.0.2.77:8081"
        Sandbox.objects.filter(pk=ready.pk).update(probe_due_at=None)
        ready.refresh_from_db()
        before = ready.spec_hash
        drift.keep(ready, cluster)  # no listing would notice: nothing changed in the cluster
        ready.refresh_from_db()
        assert ready.phase == Phase.READY
        assert ready.spec_hash != before
        assert ready.probe_due_at is not None
        allowed = hand.networking.read_namespaced_network_policy("allow-index", ns(ready))
        assert allowed.spec.egress[0].to[0].ip_block.cidr == "192.0.2.77/32"
        (told,) = entries(ready, "sandbox.updated")
        assert "NetworkPolicy/allow-index" in [each["object"] for each in told["objects"]]
        assert not entries(ready, "sandbox.seal_changed")
        assert is_quiet(ready)

    def test_a_policy_of_ours_that_is_no_longer_wanted_goes(
        self, ready: Sandbox, cluster: Cluster, hand: ByHand, settings: Any
    ) -> None:
        old = specs.rendered(ready, cluster).seal
        item = next(each for each in old if each["metadata"]["name"] == "allow-index")
        cluster.apply([{**item, "metadata": {**item["metadata"], "name": "of-an-older-release"}}])
        settings.INDEX_URL = "http://192.0.2.77:8081"
        notice(ready, cluster)
        assert ready.phase == Phase.READY
        assert "of-an-older-release" not in hand.policies(ns(ready))

    def test_somebody_elses_change_is_not_taken_for_it(
        self, ready: Sandbox, cluster: Cluster, hand: ByHand, settings: Any
    ) -> None:
        settings.INDEX_URL = "http://192.0.2.77:8081"
        hand.allow_all(ns(ready))
        notice(ready, cluster)
        assert ready.phase == Phase.ISOLATED

    def test_nor_is_a_policy_that_was_there_and_is_gone(
        self, ready: Sandbox, cluster: Cluster, hand: ByHand, settings: Any
    ) -> None:
        settings.INDEX_URL = "http://192.0.2.77:8081"
        hand.delete_policy(ns(ready), "deny-all")
        notice(ready, cluster)
        assert ready.phase == Phase.ISOLATED

    def test_a_workspace_is_left_as_it_was_made(
        self, ready: Sandbox, cluster: Cluster, hand: ByHand, settings: Any
    ) -> None:
        """Another image would restart it, and its files would be gone."""
        before = hand.apps.read_namespaced_stateful_set("workspace", ns(ready)).metadata.generation
        settings.WORKSPACE_IMAGE = "registry.example/another:2"
        specs.templates.cache_clear()
        for _ in range(2):
            Sandbox.objects.filter(pk=ready.pk).update(inspect_due=True)
            ready.refresh_from_db()
            drift.keep(ready, cluster)
            ready.refresh_from_db()
        assert hand.apps.read_namespaced_stateful_set("workspace", ns(ready)).metadata.generation == before
        assert ready.phase == Phase.READY
        assert is_quiet(ready)


class TestOlderShape:
    """Made by a release whose workspace was a Deployment, and whose Role named no pod."""

    @pytest.fixture
    def old(self, ready: Sandbox, cluster: Cluster, hand: ByHand) -> Sandbox:
        rendered = specs.rendered(ready, cluster)
        (workspace,) = rendered.workspace
        hand.apps.delete_namespaced_stateful_set("workspace", ns(ready))
        spec = {name: value for name, value in workspace["spec"].items() if name in SHARED}
        role = next(item for item in rendered.access if item["kind"] == "Role")
        cluster.apply([{**workspace, "kind": "Deployment", "spec": spec}, {**role, "rules": RULES}])
        Sandbox.objects.filter(pk=ready.pk).update(spec_hash="of-the-release-before")
        ready.refresh_from_db()
        return ready

    def is_as_made(self, sandbox: Sandbox, hand: ByHand) -> bool:
        apps, (role,) = hand.apps, hand.rbac.list_namespaced_role(ns(sandbox)).items
        deployments = [item.metadata.name for item in apps.list_namespaced_deployment(ns(sandbox)).items]
        sets = apps.list_namespaced_stateful_set(ns(sandbox)).items
        return (deployments, sets, role.rules[-1].resource_names) == (["workspace"], [], None)

    def test_it_is_kept_and_falls_quiet(self, old: Sandbox, cluster: Cluster, hand: ByHand) -> None:
        for _ in range(2):  # the second time it counts as up to date
            Sandbox.objects.filter(pk=old.pk).update(inspect_due=True)
            old.refresh_from_db()
            drift.keep(old, cluster)
            old.refresh_from_db()
            assert (old.phase, self.is_as_made(old, hand)) == (Phase.READY, True)
        assert old.spec_hash == specs.rendered(old, cluster).spec_hash
        assert is_quiet(old)

    def test_a_role_changed_by_somebody_else_is_not_excused(
        self, old: Sandbox, cluster: Cluster, hand: ByHand
    ) -> None:
        hand.rbac.patch_namespaced_role(
            "owner", ns(old), {"rules": [*RULES, EVERYTHING]}, field_manager=MANAGER
        )
        notice(old, cluster)
        assert old.phase == Phase.ISOLATED

    def test_released_it_is_still_as_it_was_made(
        self, old: Sandbox, cluster: Cluster, hand: ByHand, iris: User
    ) -> None:
        isolation.isolate(old.pk, by=iris, reason="a look")
        self.work_until(old, lambda: old.cut_at is not None)
        isolation.release(old.pk, by=iris, reason="looked")
        self.work_until(old, lambda: old.phase == Phase.READY)
        assert self.is_as_made(old, hand)
        assert hand.rbac.read_namespaced_role_binding("owner", ns(old))

    def work_until(self, sandbox: Sandbox, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        sandbox.refresh_from_db()
        while not holds():
            assert time.monotonic() < deadline, f"{sandbox.phase}: {sandbox.last_error}"
            engine.sweep()
            sandbox.refresh_from_db()
            time.sleep(0.02)
