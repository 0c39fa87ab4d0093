"""From pending to the receipt, against the simulated cluster, and what happens when something goes wrong."""

import time
from collections.abc import Iterable
from datetime import timedelta

import pytest

from portal.accounts.models import User
from sandboxes.audit.models import Entry
from sandboxes.audit.services import verify
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.kinds import kind
from sandboxes.cluster.spec import KubeObject
from sandboxes.errors import ConflictError, NotFoundError
from sandboxes.lifecycle import clock, engine, queries, services, specs, steps
from sandboxes.lifecycle.models import Probe, Receipt, Sandbox
from sandboxes.lifecycle.moves import move
from sandboxes.lifecycle.phases import Phase
from sandboxes.lifecycle.tokens import digest, index_token
from tests.sandboxes.lifecycle.between import Between
from tests.simulator import Simulator

pytestmark = pytest.mark.django_db

POLICY = kind("networking.k8s.io/v1", "NetworkPolicy")
NAMESPACE = kind("v1", "Namespace")


def reconcile_until(sandbox: Sandbox, *phases: str, seconds: float = 20) -> Sandbox:
    """What worker and beat do together: look at whatever is due, again and again."""
    deadline = time.monotonic() + seconds
    while True:
        sandbox.refresh_from_db()
        if sandbox.phase in phases:
            return sandbox
        assert time.monotonic() < deadline, f"still {sandbox.phase}: {sandbox.last_error or sandbox.failure}"
        engine.sweep()
        time.sleep(0.05)


def actions(sandbox: Sandbox) -> list[str]:
    rows = Entry.objects.filter(subject=f"sandbox:{sandbox.pk}").order_by("id")
    return [action.removeprefix("sandbox.") for action in rows.values_list("action", flat=True)]


def test_the_whole_life(sandbox: Sandbox, cluster: Cluster, alice: User) -> None:
    reconcile_until(sandbox, Phase.READY)
    assert sandbox.ready_at is not None
    assert sandbox.expires_at == sandbox.ready_at + sandbox.lease
    assert sandbox.simulated
    probe = Probe.objects.get(sandbox=sandbox)
    assert (probe.passed, probe.simulated) == (True, True)
    assert {(row["expected"], row["result"]) for row in probe.attempts} == {
        ("blocked", "blocked"),
        ("open", "open"),
    }
    assert sandbox.index_token_digest == digest(index_token(sandbox))
    assert index_token(sandbox) in queries.index_url(sandbox)
    state = cluster.namespace(sandbox.namespace or "")
    assert state is not None
    assert state.uid == sandbox.namespace_uid

    services.end(sandbox.pk, by=alice)
    sandbox.refresh_from_db()
    assert sandbox.index_token_digest == ""
    assert queries.index_url(sandbox) == ""
    reconcile_until(sandbox, Phase.ENDED)
    assert cluster.namespace(sandbox.namespace or "") is None
    document = Receipt.objects.get(sandbox=sandbox).document
    assert document["namespace_uid"] == sandbox.namespace_uid
    assert any(one["kind"] == "StatefulSet" and one["uid"] for one in document["existed"])
    times = [
        document[key]
        for key in (
            "index_token_revoked_at",
            "access_revoked_at",
            "workloads_gone_at",
            "namespace_deleted_at",
            "absent_at",
        )
    ]
    assert times == sorted(times)
    assert document["leftovers"] == []
    assert sandbox.next_check_at is None
    assert actions(sandbox) == [
        "pending",
        "provisioning",
        "probing",
        "probe_passed",
        "ready",
        "ending",
        "ended",
    ]
    assert verify().ok


def test_the_annotation_shows_when_it_ends(sandbox: Sandbox, cluster: Cluster, alice: User) -> None:
    reconcile_until(sandbox, Phase.READY)
    for _ in range(2):
        engine.sweep()
        sandbox.refresh_from_db()
        state = cluster.namespace(sandbox.namespace or "")
        assert state is not None
        assert sandbox.expires_at is not None
        assert state.annotations["petridish.dev/expires-at"] == sandbox.expires_at.isoformat()
        services.extend(sandbox_id=sandbox.pk, add=timedelta(hours=1), by=alice)


def test_an_expired_lease_ends_it(sandbox: Sandbox) -> None:
    reconcile_until(sandbox, Phase.READY)
    Sandbox.objects.update(expires_at=clock.now())
    reconcile_until(sandbox, Phase.ENDED)
    assert sandbox.end_reason == "expired"


def test_a_quiet_sandbox_costs_its_cluster_nothing_until_its_own_next_event(
    sandbox: Sandbox, between: Between
) -> None:
    reconcile_until(sandbox, Phase.READY)
    engine.sweep()
    between.calls.clear()
    for _ in range(3):
        Sandbox.objects.update(next_check_at=clock.now())
        assert engine.sweep() == 1
    assert between.calls == []
    sandbox.refresh_from_db()
    assert sandbox.next_check_at is not None
    assert sandbox.probe_due_at is not None
    assert sandbox.expires_at is not None
    assert sandbox.next_check_at - clock.now() > timedelta(minutes=1)
    nearest = min(sandbox.probe_due_at, sandbox.expires_at)
    assert sandbox.next_check_at <= nearest + timedelta(seconds=1)


def test_an_extension_lengthens_the_lease_and_warns_again(sandbox: Sandbox, alice: User) -> None:
    services.extend(sandbox_id=sandbox.pk, add=timedelta(minutes=5), by=alice)  # before it is ready
    reconcile_until(sandbox, Phase.READY)
    assert sandbox.ready_at is not None
    assert sandbox.expires_at == sandbox.ready_at + timedelta(minutes=15)
    Sandbox.objects.update(warned_at=clock.now())
    services.extend(sandbox_id=sandbox.pk, add=timedelta(minutes=5), by=alice)
    sandbox.refresh_from_db()
    assert sandbox.expires_at == sandbox.ready_at + timedelta(minutes=20)
    assert sandbox.warned_at is None
    assert actions(sandbox).count("extended") == 2


def test_a_stale_reader_moves_nothing(sandbox: Sandbox, alice: User) -> None:
    stale = Sandbox.objects.get(pk=sandbox.pk)
    services.end(sandbox.pk, by=alice)
    before = actions(sandbox)
    assert move(stale, Phase.PROVISIONING) is False
    assert actions(sandbox) == before
    with pytest.raises(ConflictError):
        move(stale, Phase.READY)  # no such move, whoever reads what


class TestFailure:
    def test_a_seal_that_does_not_hold_never_opens(
        self, sandbox: Sandbox, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        start_probe = cluster.start_probe

        def start_without_policies(objects: Iterable[KubeObject]) -> None:
            cluster._api.delete(POLICY.collection(sandbox.namespace), selector="")
            start_probe(objects)

        monkeypatch.setattr(cluster, "start_probe", start_without_policies)
        steps.take(sandbox)  # names the namespace
        reconcile_until(sandbox, Phase.FAILED)
        assert "The seal does not hold" in sandbox.failure
        assert not Probe.objects.get(sandbox=sandbox).passed
        assert "ready" not in actions(sandbox)
        assert "probe_failed" in actions(sandbox)
        assert Receipt.objects.get(sandbox=sandbox).document["leftovers"] == []
        assert cluster.namespace(sandbox.namespace or "") is None
        assert "should be blocked, was open" in queries.status(sandbox)

    def test_an_image_that_cannot_be_pulled_is_named(self, sandbox: Sandbox, settings: object) -> None:
        settings.WORKSPACE_IMAGE = "registry.invalid/nothing:1"  # type: ignore[attr-defined]
        reconcile_until(sandbox, Phase.FAILED)
        assert "The workspace does not start" in sandbox.failure
        assert "registry.invalid/nothing:1" in sandbox.failure

    @pytest.mark.parametrize(
        "rule", [{"IMAGE_REGISTRIES": ("registry.example.com/ok",)}, {"IMAGE_DIGESTS_REQUIRED": True}]
    )
    def test_an_image_that_may_not_come_in_is_named(
        self, sandbox: Sandbox, cluster: Cluster, settings: object, rule: dict[str, object]
    ) -> None:
        for name, value in rule.items():
            setattr(settings, name, value)
        reconcile_until(sandbox, Phase.FAILED)
        assert specs.templates().profiles["python"].image in sandbox.failure
        assert cluster.namespace(sandbox.namespace or "") is None

    def test_a_namespace_of_somebody_else_is_neither_taken_nor_deleted(
        self, sandbox: Sandbox, cluster: Cluster
    ) -> None:
        steps.take(sandbox)
        foreign = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": sandbox.namespace}}
        uid = cluster._api.create(NAMESPACE.collection(), foreign)["metadata"]["uid"]
        reconcile_until(sandbox, Phase.FAILED)
        assert "not this sandbox's" in sandbox.failure
        state = cluster.namespace(sandbox.namespace or "")
        assert state is not None
        assert (state.uid, state.phase) == (uid, "Active")

    def test_a_namespace_deleted_while_it_was_made_is_not_made_again(
        self, sandbox: Sandbox, cluster: Cluster
    ) -> None:
        steps.take(sandbox)
        uid = cluster.ensure_namespace(specs.rendered(sandbox, cluster).seal[0])
        Sandbox.objects.update(namespace_uid=uid)
        cluster.delete_namespace(sandbox.namespace or "", uid)
        while cluster.namespace(sandbox.namespace or "") is not None:
            time.sleep(0.05)
        reconcile_until(sandbox, Phase.FAILED)
        assert "deleted by somebody else" in sandbox.failure
        assert cluster.namespace(sandbox.namespace or "") is None

    def test_a_profile_that_is_gone(self, sandbox: Sandbox) -> None:
        Sandbox.objects.update(profile="abacus")
        reconcile_until(sandbox, Phase.FAILED)
        assert "no profile 'abacus'" in sandbox.failure
        assert Receipt.objects.get(sandbox=sandbox).document["leftovers"] is None

    def test_it_gives_up_after_the_deadline_with_the_newest_trouble(
        self, sandbox: Sandbox, settings: object
    ) -> None:
        steps.take(sandbox)
        settings.PROVISION_DEADLINE = timedelta(0)  # type: ignore[attr-defined]
        Sandbox.objects.update(last_error="The quota is slow.", attempts=3)
        reconcile_until(sandbox, Phase.FAILED)
        assert "not ready after 0 minutes. The quota is slow." in sandbox.failure

    def test_a_namespace_deleted_by_hand_ends_the_sandbox(self, sandbox: Sandbox, cluster: Cluster) -> None:
        reconcile_until(sandbox, Phase.READY)
        cluster.delete_namespace(sandbox.namespace or "", sandbox.namespace_uid)
        Sandbox.objects.update(inspect_due=True, next_check_at=clock.now())  # as the listing sees it
        reconcile_until(sandbox, Phase.ENDED)
        assert "deleted by somebody else" in sandbox.end_reason

    def test_a_namespace_made_anew_under_the_name_is_left_alone(
        self, sandbox: Sandbox, cluster: Cluster
    ) -> None:
        reconcile_until(sandbox, Phase.READY)
        Sandbox.objects.update(
            namespace_uid="00000000-0000-0000-0000-000000000000", inspect_due=True, next_check_at=clock.now()
        )
        reconcile_until(sandbox, Phase.ENDING)
        engine.reconcile(sandbox.pk)
        sandbox.refresh_from_db()
        assert sandbox.phase == Phase.ENDING
        assert "another uid" in sandbox.last_error
        assert cluster.namespace(sandbox.namespace or "") is not None

    def test_a_cluster_that_is_down_delays_and_loses_nothing(
        self, sandbox: Sandbox, simulator: Simulator
    ) -> None:
        steps.take(sandbox)
        simulator.kill()
        try:
            engine.reconcile(sandbox.pk)
            sandbox.refresh_from_db()
            assert sandbox.phase == Phase.PROVISIONING
            assert sandbox.attempts > 0
            assert sandbox.last_error
            assert sandbox.next_check_at is not None
            assert sandbox.next_check_at > clock.now()
        finally:
            simulator.start()
        reconcile_until(sandbox, Phase.READY)
        assert (sandbox.attempts, sandbox.last_error) == (0, "")

    def test_a_lost_hint_is_made_good_by_the_sweep(self, sandbox: Sandbox) -> None:
        assert engine.due() == [sandbox.pk]  # nobody sent a hint
        Sandbox.objects.update(next_check_at=clock.now() + timedelta(minutes=1))
        assert engine.due() == []
        assert engine.sweep() == 0


class TestEnd:
    def test_before_it_opened_when_its_owner_is_disabled(self, sandbox: Sandbox) -> None:
        User.objects.update(is_active=False)  # as by a hand that tells nobody
        reconcile_until(sandbox, Phase.ENDED)
        assert "its owner was disabled" in sandbox.end_reason

    def test_what_a_disabled_person_has_open_is_cut_off_and_kept(self, sandbox: Sandbox) -> None:
        reconcile_until(sandbox, Phase.READY)
        User.objects.update(is_active=False)
        Sandbox.objects.update(next_check_at=clock.now())
        reconcile_until(sandbox, Phase.ISOLATED)
        assert sandbox.index_token_digest == ""
        assert sandbox.isolation_reason == "its owner was disabled"

    def test_before_it_was_ready(self, sandbox: Sandbox, alice: User, cluster: Cluster) -> None:
        steps.take(sandbox)
        steps.take(sandbox)
        services.end(sandbox.pk, by=alice)
        reconcile_until(sandbox, Phase.ENDED)
        assert cluster.namespace(sandbox.namespace or "") is None

    def test_twice_is_once_and_after_the_end_a_conflict(self, sandbox: Sandbox, alice: User) -> None:
        services.end(sandbox.pk, by=alice)
        services.end(sandbox.pk, by=alice)
        assert actions(sandbox).count("ending") == 1
        reconcile_until(sandbox, Phase.ENDED)
        with pytest.raises(ConflictError):
            services.end(sandbox.pk, by=alice)
        with pytest.raises(NotFoundError):
            services.end(10**9, by=alice)
