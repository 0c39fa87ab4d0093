"""Nothing opens unproven, and nothing stays open that is found open: runs, controls, and what they lead to."""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from portal.accounts.models import User
from sandboxes.cluster.canary import canary_namespace
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.kinds import NAMESPACE
from sandboxes.cluster.spec import Attempt, Control, ProbeResult
from sandboxes.errors import ClusterUnavailableError
from sandboxes.lifecycle import clock, controls, engine, proving, services, steps
from sandboxes.lifecycle.models import Alarm, Probe, RegisteredCluster, Sandbox
from sandboxes.lifecycle.phases import Phase
from tests.sandboxes.lifecycle.between import Between
from tests.sandboxes.lifecycle.by_hand import ByHand
from tests.sandboxes.lifecycle.proven import POD, control_state, make_due
from tests.sandboxes.lifecycle.test_journey import actions, reconcile_until
from tests.simulator import Simulator

pytestmark = pytest.mark.django_db

GARBAGE = ProbeResult(
    passed=False,
    simulated=True,
    attempts=(Attempt("probe", "", 0, "blocked", "error", 0, "no usable result"),),
    usable=False,
)


@pytest.fixture
def by_hand(simulator: Simulator, cluster: Cluster) -> Iterator[ByHand]:
    hands = ByHand(str(simulator.kubeconfig))
    yield hands
    hands.close()


def control_pods(cluster: Cluster, settings: Any) -> list[str]:
    where = canary_namespace(settings.INSTALLATION_ID)
    pods = cluster._api.list(POD, where, "petridish.dev/stage=control")
    return [pod["metadata"]["name"] for pod in pods]


def words(probe: Probe) -> dict[str, tuple[str, str]]:
    return {f"{row['target']}/{row['protocol']}": (row["result"], row["control"]) for row in probe.attempts}


# ---- opening


def test_an_opening_is_proven_beside_a_control(sandbox: Sandbox, settings: Any) -> None:
    reconcile_until(sandbox, Phase.READY)
    probe = Probe.objects.get(sandbox=sandbox)
    assert (probe.passed, probe.outcome, probe.cause) == (True, "holds", "opening")
    said = words(probe)
    for name in ("canary/tcp", "canary-dns/udp", "canary-dns/tcp", "api-server/tcp", "kubelet/tcp"):
        assert said[name] == ("blocked", "answered")
    assert said["outside/tcp"] == said["other-dns/udp"] == ("blocked", "answered")
    assert said["metadata/tcp"] == ("blocked", "silent")  # nobody is there: shown, and worth nothing
    assert said["cluster-dns/udp"] == said["index/tcp"] == ("open", "answered")
    assert probe.control["pod"] == control_state()["pod"]
    assert probe.control["started_at"] <= probe.control["finished_at"]
    assert sandbox.ready_at is not None
    assert sandbox.probe_due_at is not None
    assert 0.9 <= (sandbox.probe_due_at - sandbox.ready_at) / settings.PROBE_EVERY <= 1.1
    assert sandbox.probe_started_at is None


def test_an_admins_own_targets_are_tried(sandbox: Sandbox, settings: Any) -> None:
    settings.PROBE_TARGETS = (("payroll", "10.20.30.40", 443),)
    reconcile_until(sandbox, Phase.READY)
    assert words(Probe.objects.get(sandbox=sandbox))["payroll/tcp"] == ("blocked", "answered")


def test_two_sandboxes_share_a_control(sandbox: Sandbox, alice: User) -> None:
    reconcile_until(sandbox, Phase.READY)
    other = services.open_sandbox(
        owner=alice, profile="python", lease=timedelta(hours=1), data_class="public", tools=[], by=None
    )
    reconcile_until(other, Phase.READY)
    pods = set(Probe.objects.values_list("control__pod", flat=True))
    assert len(pods) == 1


def test_of_two_workers_one_starts_the_control(sandbox: Sandbox, cluster: Cluster, settings: Any) -> None:
    reconcile_until(sandbox, Phase.READY)  # the canary answers by now
    RegisteredCluster.objects.update(control={})
    seen = controls._state(cluster.name)
    for _ in range(3):
        controls._advance(cluster, seen)  # each has read the same
    assert len(control_pods(cluster, settings)) == 1
    assert control_pods(cluster, settings) == [control_state()["run"]["pod"]]


def test_preparing_again_and_again_starts_nothing_new(
    sandbox: Sandbox, cluster: Cluster, settings: Any
) -> None:
    reconcile_until(sandbox, Phase.READY)
    before = control_state()
    for _ in range(5):
        proving.prepare(cluster.name)
    assert control_state() == before


def test_an_old_control_serves_nobody(sandbox: Sandbox, cluster: Cluster, alice: User) -> None:
    reconcile_until(sandbox, Phase.READY)
    old = control_state()
    long_ago = {
        key: (datetime.fromisoformat(old[key]) - timedelta(minutes=2)).isoformat()
        for key in ("started_at", "finished_at", "read_at")
    }
    RegisteredCluster.objects.update(control={**old, **long_ago})
    other = services.open_sandbox(
        owner=alice, profile="python", lease=timedelta(hours=1), data_class="public", tools=[], by=None
    )
    reconcile_until(other, Phase.READY)
    assert Probe.objects.get(sandbox=other).control["pod"] not in ("", old["pod"])


def test_a_probe_that_ran_long_before_its_control_runs_again(sandbox: Sandbox, between: Between) -> None:
    early = ProbeResult(
        passed=True,
        simulated=True,
        attempts=(Attempt("canary", "10.244.9.9", 8080, "blocked", "blocked", 600, ""),),
        started_at="2026-01-01T00:00:00+00:00",
        finished_at="2026-01-01T00:00:01+00:00",
    )
    between.first = {"probe": [early]}
    reconcile_until(sandbox, Phase.READY)
    probe = Probe.objects.get(sandbox=sandbox)  # the early one left nothing
    assert probe.passed
    assert between.calls.count("start_probe") == 2


def test_a_worker_that_died_after_its_claim_holds_nobody_up(sandbox: Sandbox, cluster: Cluster) -> None:
    reconcile_until(sandbox, Phase.READY)
    claimed = (clock.now() - timedelta(minutes=1)).isoformat()
    dead = {"canary": control_state()["canary"], "run": {"pod": "control-dead", "claimed_at": claimed}}
    RegisteredCluster.objects.update(control=dead)
    proving.prepare(cluster.name)
    assert control_state()["run"]["pod"] != "control-dead"


def test_a_canary_that_moved_is_found_again(
    sandbox: Sandbox, cluster: Cluster, alice: User, settings: Any
) -> None:
    reconcile_until(sandbox, Phase.READY)
    RegisteredCluster.objects.update(control={})
    where = canary_namespace(settings.INSTALLATION_ID)
    cluster._api.delete(POD.collection(where), {"gracePeriodSeconds": 0}, "petridish.dev/stage=canary")
    other = services.open_sandbox(
        owner=alice, profile="python", lease=timedelta(hours=1), data_class="public", tools=[], by=None
    )
    reconcile_until(other, Phase.READY)
    canary = next(row for row in Probe.objects.get(sandbox=other).attempts if row["target"] == "canary")
    assert (canary["host"], canary["control"]) == (control_state()["canary"], "answered")


# ---- without a canary


def test_a_canary_that_may_not_be_made_keeps_everything_closed(
    sandbox: Sandbox, cluster: Cluster, settings: Any
) -> None:
    settings.INSTALLATION_ID = "without-canary"
    name = canary_namespace("without-canary")
    foreign = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    uid = cluster._api.create(NAMESPACE.collection(), foreign)["metadata"]["uid"]
    try:
        reconcile_until(sandbox, Phase.PROBING)
        wait_for_trouble(sandbox, "The canary cannot run")
        assert "is not our canary's" in sandbox.last_error
        assert sandbox.phase == Phase.PROBING
        assert not Probe.objects.exists()
    finally:
        cluster._api.delete(NAMESPACE.path(None, name), {"preconditions": {"uid": uid}})
    Sandbox.objects.update(next_check_at=clock.Now())
    wait_until_gone(cluster, name)
    reconcile_until(sandbox, Phase.READY)
    cluster.delete_canary(name)


def test_a_canary_whose_image_is_missing_says_so(sandbox: Sandbox, cluster: Cluster, settings: Any) -> None:
    settings.INSTALLATION_ID = "without-image"
    settings.PROBE_IMAGE = "registry.invalid/nothing:1"
    try:
        reconcile_until(sandbox, Phase.PROBING)
        wait_for_trouble(sandbox, "registry.invalid/nothing:1")
        assert "The canary does not answer yet" in sandbox.last_error
        assert sandbox.phase == Phase.PROBING
    finally:
        cluster.delete_canary(canary_namespace("without-image"))


def test_a_canary_whose_image_may_not_come_in_keeps_everything_closed(
    sandbox: Sandbox, settings: Any
) -> None:
    settings.INSTALLATION_ID = "without-registry"
    settings.PROBE_IMAGE, settings.IMAGE_REGISTRIES = "elsewhere.example/x:1", ("docker.io",)
    reconcile_until(sandbox, Phase.PROBING)
    wait_for_trouble(sandbox, "The canary cannot run: Image 'elsewhere.example/x:1'")
    assert sandbox.phase == Phase.PROBING


def test_a_control_that_could_not_be_started_is_tried_again_at_once(
    sandbox: Sandbox, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    reconcile_until(sandbox, Phase.READY)
    RegisteredCluster.objects.update(control={})

    def busy(pod: object) -> None:
        raise ClusterUnavailableError("busy", retry_after=1)

    with monkeypatch.context() as now:
        now.setattr(cluster, "start_control", busy)
        proving.prepare(cluster.name)  # whoever needs it finds out; a provision goes on
        assert "run" not in control_state()
    proving.prepare(cluster.name)
    assert "run" in control_state()


def wait_for_trouble(sandbox: Sandbox, text: str) -> None:
    deadline = time.monotonic() + 15
    while text not in sandbox.last_error:
        assert time.monotonic() < deadline, (sandbox.phase, sandbox.last_error)
        Sandbox.objects.filter(phase=Phase.PROBING).update(next_check_at=clock.Now())
        engine.sweep()
        sandbox.refresh_from_db()


def wait_until_gone(cluster: Cluster, name: str) -> None:
    deadline = time.monotonic() + 10
    while cluster.namespace(name) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.05)


# ---- runs that prove nothing


def test_a_run_of_no_use_is_made_again(sandbox: Sandbox, between: Between) -> None:
    between.first = {"probe": [GARBAGE, GARBAGE]}
    reconcile_until(sandbox, Phase.READY)
    assert list(sandbox.probes.order_by("id").values_list("outcome", flat=True)) == [
        *("unusable", "unusable", "holds")
    ]
    assert RegisteredCluster.objects.get().trusted


def test_three_of_no_use_and_it_never_opens(sandbox: Sandbox, between: Between) -> None:
    between.first = {"probe": [GARBAGE, GARBAGE, GARBAGE]}
    reconcile_until(sandbox, Phase.FAILED)
    assert "could not be proven" in sandbox.failure
    assert sandbox.probes.count() == 3
    assert "ready" not in actions(sandbox)
    assert RegisteredCluster.objects.get().trusted  # nothing was found open
    told = Alarm.objects.get(cleared_at=None)
    assert (told.kind, told.subject) == ("seal_failed", "cluster:simulated")
    assert f"{sandbox.name} of alice on simulated: The seal could not be proven" in told.message


def test_a_control_that_saw_nothing_proves_nothing(
    sandbox: Sandbox, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the canary had been down while the first control ran, and up when the second did."""
    real, first = cluster.control, ""

    def deaf_at_first(namespace: str, name: str) -> Control | None:
        nonlocal first
        first = first or name
        found = real(namespace, name)
        if found is None or name != first:
            return found
        return replace(found, answers=tuple(replace(each, open=False) for each in found.answers))

    monkeypatch.setattr(cluster, "control", deaf_at_first)
    reconcile_until(sandbox, Phase.READY)
    outcomes = list(sandbox.probes.order_by("id").values_list("outcome", flat=True))
    assert outcomes == ["unproven", "holds"]
    pods = list(sandbox.probes.order_by("id").values_list("control__pod", flat=True))
    assert pods[0] == first != pods[1]
    assert {word for _, word in words(sandbox.probes.earliest("id")).values()} == {"silent"}
    assert "probe_unproven" in actions(sandbox)
    assert RegisteredCluster.objects.get().trusted


# ---- a seal that does not hold


def test_a_seal_found_open_never_opens_and_its_cluster_is_not_trusted(
    sandbox: Sandbox, by_hand: ByHand, between: Between
) -> None:
    def open_up(call: str) -> None:
        if call == "start_probe" and not opened:
            opened.append(call)
            by_hand.allow_all(sandbox.namespace or "")

    opened: list[str] = []
    steps.take(sandbox)  # names the namespace
    between.before = open_up
    reconcile_until(sandbox, Phase.FAILED)
    assert "The seal does not hold: " in sandbox.failure
    assert "canary (" in sandbox.failure
    assert Probe.objects.get(sandbox=sandbox).outcome == "open"
    row = RegisteredCluster.objects.get()
    assert not row.trusted
    assert "does not hold" in row.distrust_reason
    told = Alarm.objects.get(cleared_at=None)
    assert (told.kind, told.subject) == ("cluster_untrusted", "cluster:simulated")
    assert f"{sandbox.name}: The seal does not hold: " in told.message


def test_a_distrusted_cluster_takes_nothing_new(sandbox: Sandbox, between: Between, alice: User) -> None:
    leak = Attempt("canary", "10.244.0.9", 8080, "blocked", "open", 1, "connected")
    between.first = {"probe": [ProbeResult(passed=False, simulated=True, attempts=(leak,))]}
    reconcile_until(sandbox, Phase.FAILED)
    other = services.open_sandbox(
        owner=alice, profile="python", lease=timedelta(hours=1), data_class="public", tools=[], by=None
    )
    assert other.phase == Phase.QUEUED
    assert "not trusted" in other.last_error


def test_an_open_sandbox_whose_seal_breaks_is_cut_off_at_once(sandbox: Sandbox, by_hand: ByHand) -> None:
    reconcile_until(sandbox, Phase.READY)
    by_hand.allow_all(sandbox.namespace or "")
    make_due(sandbox)
    Sandbox.objects.update(next_check_at=clock.Now())
    reconcile_until(sandbox, Phase.ISOLATED)
    assert "The seal does not hold" in sandbox.isolation_reason
    assert sandbox.index_token_digest == ""
    assert sandbox.probes.latest("id").outcome == "open"
    assert not RegisteredCluster.objects.get().trusted
    alarm = Alarm.objects.get(subject=f"sandbox:{sandbox.pk}")  # one, for one event
    assert alarm.kind == "isolated"
    assert "of alice is isolated: The seal does not hold: " in alarm.message
    told = actions(sandbox)
    assert "isolated" in told
    assert "probe_failed" in told
