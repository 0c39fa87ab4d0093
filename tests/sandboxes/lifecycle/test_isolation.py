"""Cutting a live sandbox off: at once in the row, then on the cluster, and kept so."""

import shutil
import time
from datetime import timedelta
from pathlib import Path

import pytest
from pytest_django import Settings

from portal.accounts.models import User
from sandboxes.audit.models import Entry
from sandboxes.audit.services import record, verify
from sandboxes.cluster import freezing
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.kinds import kind
from sandboxes.errors import ConflictError, NotFoundError, TemplateError
from sandboxes.lifecycle import (
    alarms,
    clock,
    engine,
    expiry,
    hibernation,
    isolation,
    late,
    observing,
    queries,
    services,
    specs,
    switch,
)
from sandboxes.lifecycle.models import Alarm, Sandbox
from sandboxes.lifecycle.phases import Phase
from tests.sandboxes.lifecycle.working import (
    BINDING,
    POD,
    POLICY,
    SECRET,
    actions,
    bind,
    is_in,
    look,
    names,
    pods,
    until,
)

pytestmark = pytest.mark.django_db
QUOTA = kind("v1", "ResourceQuota")


class TestAtOnce:
    def test_phase_token_reason_and_alarm_in_one_commit(self, ready: Sandbox, iris: User) -> None:
        isolation.isolate(ready.pk, by=iris, reason="it scans the network")
        ready.refresh_from_db()
        assert ready.phase == Phase.ISOLATED
        assert ready.index_token_digest == ""
        assert queries.index_url(ready) == ""
        assert (ready.isolation_reason, ready.cut_at) == ("it scans the network", None)
        assert ready.isolated_at is not None
        entry = Entry.objects.get(action="sandbox.isolated")
        assert (entry.actor_id, entry.data) == (
            iris.pk,
            {"reason": "it scans the network", "from": "ready"},
        )
        raised = Alarm.objects.get(kind="isolated", subject=f"sandbox:{ready.pk}", cleared_at=None)
        assert "alice is isolated: it scans the network" in raised.message
        assert verify().ok

    def test_again_adds_the_reason_once(self, isolated: Sandbox, iris: User, ada: User) -> None:
        since = isolated.isolated_at
        for _ in range(2):
            isolation.isolate(isolated.pk, by=ada, reason="its owner left")
        isolated.refresh_from_db()
        assert isolated.isolation_reason.splitlines() == [
            "a package in it turned out to be malicious",
            "its owner left",
        ]
        assert isolated.isolated_at == since
        assert actions(isolated).count("isolation_noted") == 1
        assert Alarm.objects.get(kind="isolated").count == 2

    def test_what_never_opened_ends(self, sandbox: Sandbox, iris: User) -> None:
        isolation.isolate(sandbox.pk, by=iris, reason="asked for by mistake")
        sandbox.refresh_from_db()
        assert (sandbox.phase, sandbox.failure) == (Phase.ENDING, "")
        assert sandbox.end_reason == "isolated before it opened: asked for by mistake"

    def test_what_is_ending_or_unknown_cannot_be_isolated(
        self, ready: Sandbox, alice: User, iris: User
    ) -> None:
        services.end(ready.pk, by=alice)
        with pytest.raises(ConflictError, match="ending"):
            isolation.isolate(ready.pk, by=iris, reason="late")
        with pytest.raises(NotFoundError):
            isolation.isolate(0, by=iris, reason="whose")

    def test_from_sleep_and_from_waking(self, ready: Sandbox, alice: User, iris: User) -> None:
        hibernation.hibernate(ready.pk, by=alice)
        isolation.isolate(ready.pk, by=iris, reason="while it slept")
        isolation.release(ready.pk, by=iris, reason="nothing found")
        ready.refresh_from_db()
        assert ready.phase == Phase.PROBING
        isolation.isolate(ready.pk, by=iris, reason="while it woke")
        ready.refresh_from_db()
        assert (ready.phase, ready.isolation_reason) == (Phase.ISOLATED, "while it woke")


class TestOnTheCluster:
    def test_nothing_gets_in_or_out_and_nothing_runs(
        self, ready: Sandbox, cluster: Cluster, iris: User
    ) -> None:
        foreign = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "mine", "namespace": ready.namespace},
            "spec": {"podSelector": {}, "egress": [{}], "policyTypes": ["Egress"]},
        }
        cluster._api.create(POLICY.collection(ready.namespace), foreign)
        bind(cluster, ready)
        workspace = pods(cluster, ready)[0]["metadata"]["uid"]
        isolation.isolate(ready.pk, by=iris, reason="it scans the network")
        until(ready, lambda sandbox: sandbox.cut_at)
        assert names(cluster, ready, POLICY) == ["deny-all"]
        assert names(cluster, ready, BINDING) == []
        assert "package-index" not in names(cluster, ready, SECRET)
        (pod,) = pods(cluster, ready)
        assert pod["metadata"]["uid"] == workspace, "its files are gone"
        assert freezing.still_running(pod) == []
        assert actions(ready)[-2:] == ["isolated", "cut_off"]
        assert cluster.ways_in(ready.namespace or "", frozenset({"deny-all"})) == []

    def test_it_is_cut_even_when_it_cannot_be_rendered_any_more(
        self, ready: Sandbox, cluster: Cluster, iris: User
    ) -> None:
        Sandbox.objects.update(profile="abacus")
        cluster._api.delete(POLICY.path(ready.namespace, "deny-all"))
        isolation.isolate(ready.pk, by=iris, reason="it scans the network")
        until(ready, lambda sandbox: sandbox.cut_at)
        assert names(cluster, ready, POLICY) == ["deny-all"]
        cluster._api.merge(POLICY.path(ready.namespace, "deny-all"), {"spec": {"egress": [{}]}})
        look(ready)
        policy = cluster._api.get(POLICY.path(ready.namespace, "deny-all"))
        assert not policy["spec"].get("egress"), "at every look, for nothing can tell what else it lacks"

    def test_by_a_template_that_is_broken_what_needs_none_is_done(
        self, ready: Sandbox, cluster: Cluster, iris: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken() -> None:
            raise TemplateError("isolated/20-deny-all.yaml:1: bad YAML")

        with monkeypatch.context() as wrong:
            wrong.setattr(specs, "isolated_templates", broken)
            isolation.isolate(ready.pk, by=iris, reason="it scans the network")
            look(ready)
            assert names(cluster, ready, BINDING) == []
            assert [freezing.freezing(pod) for pod in pods(cluster, ready)] == [None]
            assert "allow-index" in names(cluster, ready, POLICY), "without one that denies all would be open"
            assert (ready.cut_at, "bad YAML" in ready.last_error) == (None, True)
        Sandbox.objects.update(next_check_at=clock.now())
        until(ready, lambda sandbox: sandbox.cut_at)

    def test_what_an_admin_adds_takes_its_place_until_the_release(
        self, ready: Sandbox, cluster: Cluster, iris: User, tmp_path: Path, settings: Settings
    ) -> None:
        shutil.copytree(settings.TEMPLATES_ROOT, tmp_path / "own")
        (quota,) = cluster._api.list(QUOTA, ready.namespace)
        name, hard = quota["metadata"]["name"], quota["spec"]["hard"]
        head = f"apiVersion: v1\nkind: ResourceQuota\nmetadata:\n  name: {name}\n"
        (tmp_path / "own/isolated/10-quota.yaml").write_text(f"{head}spec:\n  hard:\n    pods: '0'\n")
        settings.TEMPLATES_ROOT = tmp_path / "own"
        specs.templates.cache_clear()
        specs.isolated_templates.cache_clear()
        isolation.isolate(ready.pk, by=iris, reason="it scans the network")
        until(ready, lambda sandbox: sandbox.cut_at)
        (quota,) = cluster._api.list(QUOTA, ready.namespace)
        assert quota["spec"]["hard"] == {"pods": "0"}
        assert names(cluster, ready, POLICY) == ["deny-all"]
        Sandbox.objects.update(inspect_due=True)
        look(ready)
        assert "repaired" not in actions(ready), "it is as it should be"
        isolation.release(ready.pk, by=iris, reason="nothing found")
        until(ready, is_in(Phase.READY))
        (quota,) = cluster._api.list(QUOTA, ready.namespace)
        assert quota["spec"]["hard"] == hard

    def test_what_is_put_back_is_taken_away_and_told(self, isolated: Sandbox, cluster: Cluster) -> None:
        cluster.apply(specs.rendered(isolated, cluster).access)
        cluster._api.delete(POLICY.path(isolated.namespace, "deny-all"))
        look(isolated)
        until(isolated, lambda sandbox: sandbox.cut_at)
        assert names(cluster, isolated, BINDING) == []
        assert names(cluster, isolated, POLICY) == ["deny-all"]
        entry = Entry.objects.get(action="sandbox.isolation_broken")
        assert entry.data == {"found": ["no NetworkPolicy/deny-all", "RoleBinding/owner"]}
        assert "came back" in Alarm.objects.get(kind="isolated").message

    def test_a_foreign_binding_is_taken_away_and_told_at_every_look(
        self, isolated: Sandbox, cluster: Cluster
    ) -> None:
        for told in (1, 2):
            bind(cluster, isolated)
            look(isolated)
            until(isolated, lambda sandbox: sandbox.cut_at)
            assert names(cluster, isolated, BINDING) == []
            found = [entry.data for entry in Entry.objects.filter(action="sandbox.isolation_broken")]
            assert found == [{"found": ["RoleBinding/back-door"]}] * told

    def test_a_deny_all_that_allows_something_is_put_right_and_told(
        self, isolated: Sandbox, cluster: Cluster
    ) -> None:
        observing.observe("simulated")
        until(isolated, lambda sandbox: not sandbox.inspect_due)
        cluster._api.merge(POLICY.path(isolated.namespace, "deny-all"), {"spec": {"egress": [{}]}})
        observing.observe("simulated")
        isolated.refresh_from_db()
        assert isolated.inspect_due
        until(isolated, lambda sandbox: not sandbox.inspect_due)
        policy = cluster._api.get(POLICY.path(isolated.namespace, "deny-all"))
        assert not policy["spec"].get("egress")
        assert "repaired" in actions(isolated)

    def test_a_pod_that_somebody_starts_is_stopped(self, isolated: Sandbox, cluster: Cluster) -> None:
        (old,) = pods(cluster, isolated)
        cluster._api.delete(POD.path(isolated.namespace, old["metadata"]["name"]))
        time.sleep(0.5)
        look(isolated)
        until(isolated, lambda sandbox: sandbox.cut_at)
        assert [running for pod in pods(cluster, isolated) for running in freezing.still_running(pod)] == []

    def test_a_namespace_deleted_by_hand_ends_it(self, isolated: Sandbox, cluster: Cluster) -> None:
        cluster.delete_namespace(isolated.namespace or "", isolated.namespace_uid)
        look(isolated)
        until(isolated, is_in(Phase.ENDED))
        assert "deleted by somebody else" in isolated.end_reason

    def test_its_lease_goes_on_and_ends_it(self, isolated: Sandbox) -> None:
        Sandbox.objects.update(expires_at=clock.now())
        expiry.run()
        until(isolated, is_in(Phase.ENDED))
        assert isolated.end_reason == "expired"

    def test_its_alarms_end_with_it(self, isolated: Sandbox, iris: User) -> None:
        subject = f"sandbox:{isolated.pk}"
        alarms.alarm("drift_stays", subject, "Something does not stay.")
        alarms.alarm("drift_stays", "sandbox:0", "Another one's.")
        services.end(isolated.pk, by=iris)
        isolated.refresh_from_db()
        assert Alarm.objects.filter(subject=subject, cleared_at=None).count() == 2  # it is not over yet
        until(isolated, is_in(Phase.ENDED))
        assert not Alarm.objects.filter(subject=subject, cleared_at=None).exists()
        assert actions(isolated).count("alarm.cleared") == 2
        assert Alarm.objects.filter(subject="sandbox:0", cleared_at=None).exists()
        assert verify().ok

    @pytest.mark.parametrize("action", ["seal_changed", "probe_failed", "isolation_broken"])
    def test_one_about_its_seal_waits_for_a_person(self, isolated: Sandbox, iris: User, action: str) -> None:
        """Else whoever tampered with it would only have to delete the namespace."""
        subject = f"sandbox:{isolated.pk}"
        alarms.alarm("drift_stays", subject, "Something does not stay.")
        record(actor=None, action=f"sandbox.{action}", subject=subject)
        services.end(isolated.pk, by=iris)
        until(isolated, is_in(Phase.ENDED))
        standing = Alarm.objects.get(subject=subject, cleared_at=None)
        assert standing.kind == "isolated"
        alarms.clear_one(standing.pk, by=iris)
        assert not Alarm.objects.filter(subject=subject, cleared_at=None).exists()

    def test_what_was_released_since_does_not_count(self, isolated: Sandbox, iris: User) -> None:
        subject = f"sandbox:{isolated.pk}"
        record(actor=None, action="sandbox.seal_changed", subject=subject)
        isolation.release(isolated.pk, by=iris, reason="looked into")
        until(isolated, is_in(Phase.READY))
        isolation.isolate(isolated.pk, by=iris, reason="its owner left")
        services.end(isolated.pk, by=iris)
        until(isolated, is_in(Phase.ENDED))
        assert not Alarm.objects.filter(subject=subject, cleared_at=None).exists()


class TestLate:
    """What the row says at once, and no cluster carries out."""

    def wait(self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, minutes: float) -> None:
        later = clock.now() + timedelta(minutes=minutes)
        Sandbox.objects.filter(pk=sandbox.pk).update(next_check_at=later, last_error="The node is silent.")
        past = clock.now() - timedelta(minutes=minutes)
        Sandbox.objects.filter(pk=sandbox.pk).update(phase_at=past)
        monkeypatch.setattr(clock, "now", lambda: later)
        late.check()
        monkeypatch.undo()

    def test_an_alarm_after_two_minutes_until_it_is_cut_off(
        self, ready: Sandbox, iris: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        isolation.isolate(ready.pk, by=iris, reason="it scans the network")
        rows = Alarm.objects.filter(kind=late.ALARM, subject=f"sandbox:{ready.pk}")
        self.wait(ready, monkeypatch, 1)
        assert not rows.exists()
        for _ in range(2):
            self.wait(ready, monkeypatch, 3)
            assert (rows.get().count, rows.get().cleared_at) == (1, None)
        assert "The node is silent." in rows.get().message
        Sandbox.objects.update(next_check_at=clock.now())
        until(ready, lambda sandbox: sandbox.cut_at)
        assert rows.get().cleared_at is not None

    def test_a_sweep_says_so_and_a_pause_hides_it_not(
        self, ready: Sandbox, iris: User, ada: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        switch.pause(ada, "a look")
        isolation.isolate(ready.pk, by=iris, reason="it scans the network")
        Sandbox.objects.update(phase_at=clock.now() - timedelta(minutes=3))
        monkeypatch.setattr(late, "_AFTER", timedelta())
        engine.sweep()
        assert Alarm.objects.filter(kind=late.ALARM, cleared_at=None).exists()

    def test_what_is_being_cut_off_anew_is_not_late(self, isolated: Sandbox) -> None:
        Sandbox.objects.update(phase_at=clock.now() - timedelta(hours=1), cut_at=None)
        record(actor=None, action="sandbox.isolation_broken", subject=f"sandbox:{isolated.pk}")
        late.check()
        assert not Alarm.objects.filter(kind=late.ALARM).exists()
