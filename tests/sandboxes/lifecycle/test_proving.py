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
from sandboxes.cluster.kinds import NAMESPACE, kind
from sandboxes.cluster.spec import Attempt, Control, ProbeResult
from sandboxes.errors import ClusterUnavailableError
from sandboxes.lifecycle import clock, controls, engine, hibernation, isolation, proving, services, steps
from sandboxes.lifecycle.models import Alarm, Probe, RegisteredCluster, Sandbox
from sandboxes.lifecycle.phases import Phase
from tests.sandboxes.lifecycle.between import Between
from tests.sandboxes.lifecycle.by_hand import ByHand
from tests.sandboxes.lifecycle.test_journey import actions, reconcile_until
from tests.simulator import Simulator

pytestmark = pytest.mark.django_db

POD = kind("v1", "Pod")
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


def until_run(sandbox: Sandbox, number: int) -> Probe:
    """Works at it as a worker would, until that many runs were kept."""
    deadline = time.monotonic() + 20
    while sandbox.probes.count() < number:
        assert time.monotonic() < deadline, sandbox.last_error
        Sandbox.objects.filter(pk=sandbox.pk).exclude(next_check_at=None).update(next_check_at=clock.Now())
        engine.sweep()
        sandbox.refresh_from_db()
    return sandbox.probes.latest("id")


def make_due(sandbox: Sandbox) -> None:
    """As an hour later."""
    hour = timedelta(hours=1)
    for probe in sandbox.probes.all():
        Probe.objects.filter(pk=probe.pk).update(at=probe.at - hour)
    Sandbox.objects.filter(pk=sandbox.pk).update(probe_due_at=clock.Now())
    sandbox.refresh_from_db()


def control_state() -> dict[str, Any]:
    return dict(RegisteredCluster.objects.get().control)


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


# ---- on schedule


def test_it_is_proven_again_when_that_is_due(sandbox: Sandbox, cluster: Cluster, settings: Any) -> None:
    reconcile_until(sandbox, Phase.READY)
    assert proving.keep(sandbox, cluster) == sandbox.probe_due_at  # not yet
    make_due(sandbox)
    probe = until_run(sandbox, 2)
    assert (probe.passed, probe.cause) == (True, "scheduled")
    assert sandbox.phase == Phase.READY
    assert sandbox.probe_started_at is None
    assert sandbox.probe_due_at is not None
    assert sandbox.probe_due_at > clock.now() + settings.PROBE_EVERY * 0.8
    pods = list(cluster._api.list(POD, sandbox.namespace, "petridish.dev/stage=probe"))
    assert pods == []


def test_a_change_brings_it_forward(sandbox: Sandbox) -> None:
    reconcile_until(sandbox, Phase.READY)
    Sandbox.objects.update(probe_due_at=clock.Now())
    assert until_run(sandbox, 2).cause == "changed"


def test_a_change_during_a_run_is_proven_by_another(sandbox: Sandbox, cluster: Cluster) -> None:
    reconcile_until(sandbox, Phase.READY)
    make_due(sandbox)
    proving.keep(sandbox, cluster)  # starts it
    sandbox.refresh_from_db()
    assert sandbox.probe_started_at is not None
    changed = clock.now()
    Sandbox.objects.update(probe_due_at=changed)
    under_way = Sandbox.objects.filter(pk=sandbox.pk, probe_started_at__isnull=False)
    while under_way.exists():
        sandbox.refresh_from_db()
        proving.keep(sandbox, cluster)
    sandbox.refresh_from_db()
    assert sandbox.probe_due_at == changed


def test_a_row_from_before_gets_its_date(sandbox: Sandbox, cluster: Cluster) -> None:
    reconcile_until(sandbox, Phase.READY)
    Sandbox.objects.update(probe_due_at=None)
    sandbox.refresh_from_db()
    proving.keep(sandbox, cluster)
    sandbox.refresh_from_db()
    assert sandbox.probe_due_at is not None


def test_an_index_that_is_down_closes_nobody(sandbox: Sandbox, cluster: Cluster, between: Between) -> None:
    reconcile_until(sandbox, Phase.READY)
    make_due(sandbox)
    proving.keep(sandbox, between)  # type: ignore[arg-type]
    sandbox.refresh_from_db()
    between.first = {"probe": [without_index(cluster, sandbox)]}
    state = control_state()
    index = [line for line in state["results"] if line[0] == "127.0.0.1"]
    assert index
    for line in index:
        line[3] = False
    RegisteredCluster.objects.update(control=state)
    proving.keep(sandbox, between)  # type: ignore[arg-type]
    sandbox.refresh_from_db()
    assert sandbox.phase == Phase.READY
    assert sandbox.probes.latest("id").outcome == "unproven"
    alarm = Alarm.objects.get(kind="seal_unproven", subject=f"sandbox:{sandbox.pk}")
    assert "did not answer the control either" in alarm.message
    assert alarm.cleared_at is None
    Sandbox.objects.update(probe_due_at=clock.Now())
    until_run(sandbox, 3)
    alarm.refresh_from_db()
    assert alarm.cleared_at is not None


def without_index(cluster: Cluster, sandbox: Sandbox) -> ProbeResult:
    """What the run under way saw, but for the index, which was closed."""
    deadline = time.monotonic() + 10
    while (found := cluster.probe(sandbox.namespace or "")) is None:
        assert time.monotonic() < deadline
    attempts = tuple(
        replace(each, result="blocked") if each.host == "127.0.0.1" else each for each in found.attempts
    )
    return replace(found, attempts=attempts)


# ---- opened anew


def test_waking_is_proven_and_the_lease_went_on(sandbox: Sandbox, alice: User) -> None:
    reconcile_until(sandbox, Phase.READY)
    ready_at, expires_at = sandbox.ready_at, sandbox.expires_at
    hibernation.hibernate(sandbox.pk, by=alice)
    sandbox.refresh_from_db()
    until_asleep(sandbox)
    hibernation.wake(sandbox.pk, by=alice)
    reconcile_until(sandbox, Phase.READY)
    assert sandbox.probes.latest("id").cause == "waking"
    assert sandbox.probes.count() == 2
    assert (sandbox.ready_at, sandbox.expires_at) == (ready_at, expires_at)


def until_asleep(sandbox: Sandbox) -> None:
    deadline = time.monotonic() + 10
    while sandbox.hibernated_at is None:
        assert time.monotonic() < deadline
        engine.sweep()
        sandbox.refresh_from_db()


def test_a_release_is_proven_anew_whatever_an_earlier_run_left(
    sandbox: Sandbox, cluster: Cluster, ada: User, settings: Any
) -> None:
    """A run of before the isolation may have left its result: it proves nothing about now."""
    reconcile_until(sandbox, Phase.READY)
    make_due(sandbox)
    proving.keep(sandbox, cluster)  # its pod will have passed
    isolation.isolate(sandbox.pk, by=ada, reason="to look at it")
    sandbox.refresh_from_db()
    isolation.release(sandbox.pk, by=ada, reason="looked at")
    reconcile_until(sandbox, Phase.READY)
    probe = sandbox.probes.latest("id")
    assert probe.cause == "release"
    assert sandbox.probes.count() == 2
    assert sandbox.index_token_digest != ""


def test_a_worker_that_stalled_over_a_release_does_not_revive_a_token(sandbox: Sandbox, iris: User) -> None:
    """The phase is the same again, but not the time, and its token was revoked."""
    reconcile_until(sandbox, Phase.READY)
    stale = None
    for _ in range(2):
        isolation.isolate(sandbox.pk, by=iris, reason="a look")
        isolation.release(sandbox.pk, by=iris, reason="looked")
        sandbox.refresh_from_db()
        if stale is None:
            stale = Sandbox.objects.get(pk=sandbox.pk)
            reconcile_until(sandbox, Phase.READY)
    assert stale is not None
    assert (stale.phase, sandbox.phase) == (Phase.PROBING, Phase.PROBING)
    proving._open(stale)
    sandbox.refresh_from_db()
    assert (sandbox.phase, sandbox.index_token_digest) == (Phase.PROBING, "")
