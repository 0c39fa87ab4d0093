"""What was proven is proven again: on schedule, after a change, and when it is opened anew."""

import time
from dataclasses import replace
from typing import Any

import pytest

from portal.accounts.models import User
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.spec import ProbeResult
from sandboxes.lifecycle import clock, engine, hibernation, isolation, proving
from sandboxes.lifecycle.models import Alarm, Probe, RegisteredCluster, Sandbox
from sandboxes.lifecycle.phases import Phase
from tests.sandboxes.lifecycle.between import Between
from tests.sandboxes.lifecycle.proven import POD, control_state, make_due
from tests.sandboxes.lifecycle.test_journey import reconcile_until

pytestmark = pytest.mark.django_db


def until_run(sandbox: Sandbox, number: int) -> Probe:
    """Works at it as a worker would, until that many runs were kept."""
    deadline = time.monotonic() + 20
    while sandbox.probes.count() < number:
        assert time.monotonic() < deadline, sandbox.last_error
        Sandbox.objects.filter(pk=sandbox.pk).exclude(next_check_at=None).update(next_check_at=clock.Now())
        engine.sweep()
        sandbox.refresh_from_db()
    return sandbox.probes.latest("id")


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
