"""Somebody changes a sandbox by hand: what may be put right is, and a changed seal isolates."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from portal.accounts.models import User
from sandboxes.audit.models import Entry
from sandboxes.audit.services import verify
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.kinds import kind
from sandboxes.lifecycle import clock, drift, engine, isolation, observing, specs
from sandboxes.lifecycle.models import Alarm, Sandbox
from sandboxes.lifecycle.phases import Phase
from tests.sandboxes.lifecycle.by_hand import MANAGER, ByHand
from tests.simulator import Simulator

pytestmark = pytest.mark.django_db

POLICY = kind("networking.k8s.io/v1", "NetworkPolicy")
SHARED = ("replicas", "selector", "template")  # of a StatefulSet and a Deployment
RULES = [{"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create", "get"]}]
EVERYTHING = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}


@pytest.fixture(autouse=True)
def own_installation(settings: Any) -> None:
    """The simulated cluster is shared with other tests, whose sandboxes are none of ours."""
    settings.INSTALLATION_ID = f"drift-{time.monotonic_ns()}"


@pytest.fixture
def hand(simulator: Simulator) -> Iterator[ByHand]:
    hand = ByHand(str(simulator.kubeconfig))
    yield hand
    hand.close()


@pytest.fixture
def ready(sandbox: Sandbox, cluster: Cluster) -> Sandbox:
    """Open, and found right once."""
    deadline = time.monotonic() + 20
    while sandbox.phase != Phase.READY:
        assert time.monotonic() < deadline, f"still {sandbox.phase}: {sandbox.last_error or sandbox.failure}"
        engine.sweep()
        sandbox.refresh_from_db()
        time.sleep(0.02)
    notice(sandbox, cluster)
    assert sandbox.observed
    assert not Alarm.objects.exists()
    return sandbox


def notice(sandbox: Sandbox, cluster: Cluster) -> None:
    """A listing, and then the look at what differs."""
    observing.observe("simulated")
    sandbox.refresh_from_db()
    drift.keep(sandbox, cluster)
    sandbox.refresh_from_db()


def entries(sandbox: Sandbox, action: str) -> list[dict[str, Any]]:
    rows = Entry.objects.filter(subject=f"sandbox:{sandbox.pk}", action=action).order_by("id")
    return list(rows.values_list("data", flat=True))


def is_quiet(sandbox: Sandbox) -> bool:
    """Whether a listing finds nothing to say."""
    assert observing.observe("simulated").marked == 0
    sandbox.refresh_from_db()
    return not sandbox.inspect_due


def ns(sandbox: Sandbox) -> str:
    return sandbox.namespace or ""


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
