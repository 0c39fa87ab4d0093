"""What goes wrong with a real cluster: hands, workers that die, and a way to its API that fails in every manner."""

import os
import random
import secrets
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Final, Self

import pytest
from django.conf import settings
from django.db import connections
from django.utils import timezone

from portal.accounts.models import User
from sandboxes.audit.models import Entry
from sandboxes.cluster import api, pacing
from sandboxes.cluster.canary import canary_namespace
from sandboxes.cluster.driver import Cluster, connect
from sandboxes.lifecycle import claims, clock, engine, observing, quota, registry, services
from sandboxes.lifecycle.models import Quota, Receipt, Sandbox
from sandboxes.lifecycle.models.quota import Scope
from sandboxes.lifecycle.phases import Phase
from tests.cluster.conftest import own_address, real_kubeconfig, remove_installation, wait_for
from tests.fault_proxy import FaultProxy, seeded
from tests.sandboxes.lifecycle import whole_lives
from tests.sandboxes.lifecycle.beside import always_at, at_work, beat
from tests.sandboxes.lifecycle.by_hand import MANAGER, ByHand
from tests.sandboxes.lifecycle.whole_lives import Ends, check_the_end, live_until_over
from tests.sandboxes.lifecycle.workers_to_kill import nursery

pytestmark = [pytest.mark.cluster, pytest.mark.enable_socket, pytest.mark.django_db(transaction=True)]

SEED: Final = 5
EACH: Final = 2  # sandboxes that one person may have at once: a test cluster has one node, and not a big one
GIVEN: Final = (
    "KUBECONFIG",
    "KUBE_CONTEXT",
    "INSTALLATION_ID",
    "WORKSPACE_IMAGE",
    "INDEX_URL",
    "LEDGER_ANCHOR",
)


@contextmanager
def answering(address: str) -> Iterator[int]:
    """In the index's place: somebody who takes every call; the port."""

    def accept() -> None:
        while True:
            try:
                server.accept()[0].close()
            except OSError:
                return

    with socket.create_server((address, 0)) as server:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture
def cluster(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Cluster]:
    """The real one, as the lifecycle finds it in its settings. Afterwards nothing of this test is left in it."""
    kubeconfig, address = real_kubeconfig(request.config), own_address(real_kubeconfig(request.config))
    whole_lives.shorten_waits(monkeypatch.setattr, read_seconds=5.0)
    with answering(address) as port:
        values = {
            "KUBECONFIG": kubeconfig,
            "KUBE_CONTEXT": os.environ.get("PETRIDISH_TEST_CONTEXT") or "",
            "INSTALLATION_ID": f"faults-{secrets.token_hex(4)}",
            "WORKSPACE_IMAGE": os.environ.get("PETRIDISH_TEST_IMAGE") or "",
            "INDEX_URL": f"http://{address}:{port}/simple/",
            "LEDGER_ANCHOR": str(tmp_path / "anchor"),
        }
        for name, value in values.items():
            monkeypatch.setattr(settings, name, value)
        whole_lives.forget()
        real = connect("directly", kubeconfig, values["KUBE_CONTEXT"] or None)
        try:
            yield real
        finally:
            remove_installation(real, settings.INSTALLATION_ID)
            real.close()
            whole_lives.forget()
            claims.leave()


@pytest.fixture
def hand(cluster: Cluster) -> Iterator[ByHand]:
    hand = ByHand(settings.KUBECONFIG)
    yield hand
    hand.close()


@pytest.fixture
def ready(alice: User, cluster: Cluster) -> Sandbox:
    """Open, and found right by a listing."""
    (number,) = whole_lives.open_many([alice], 1)
    sandbox = Sandbox.objects.get(pk=number)
    work_until(sandbox, Phase.READY)
    assert not sandbox.simulated
    observing.observe(sandbox.cluster)
    work_until(sandbox, Phase.READY)
    wait_for(lambda: _quiet(sandbox), 30)
    return sandbox


def _quiet(sandbox: Sandbox) -> bool:
    """Its workspace's status changes for a moment still; the seal does not."""
    observing.observe(sandbox.cluster)
    engine.sweep()
    sandbox.refresh_from_db()
    return not sandbox.inspect_due


def work_until(sandbox: Sandbox, phase: Phase, *, look: bool = False, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while True:
        if look:
            observing.observe(sandbox.cluster)
        engine.sweep()
        sandbox.refresh_from_db()
        if sandbox.phase == phase:
            return
        assert time.monotonic() < end, f"still {sandbox.phase}: {sandbox.last_error or sandbox.blocker}"
        time.sleep(0.1)


def end_it(sandbox: Sandbox) -> None:
    services.end(sandbox.pk, by=sandbox.owner)
    work_until(sandbox, Phase.ENDED)
    assert Receipt.objects.get(sandbox=sandbox).document["leftovers"] == []


def entry(sandbox: Sandbox, action: str) -> dict[str, Any]:
    found = Entry.objects.get(subject=f"sandbox:{sandbox.pk}", action=f"sandbox.{action}")
    return dict(found.data)


# ---- hands


def test_a_namespace_deleted_by_hand_ends_the_sandbox(ready: Sandbox, hand: ByHand) -> None:
    hand.core.delete_namespace(ready.namespace)
    work_until(ready, Phase.ENDED, look=True)
    assert "deleted by somebody else" in ready.end_reason
    document = Receipt.objects.get(sandbox=ready).document
    assert document["leftovers"] == []
    assert document["absent_at"]


def test_a_policy_deleted_by_hand_isolates_the_sandbox(
    ready: Sandbox, hand: ByHand, cluster: Cluster
) -> None:
    hand.delete_policy(ready.namespace or "", "deny-all")
    work_until(ready, Phase.ISOLATED, look=True)
    assert "NetworkPolicy/deny-all: missing" in ready.isolation_reason
    wait_for(lambda: engine.sweep() or Sandbox.objects.get(pk=ready.pk).cut_at)
    assert hand.policies(ready.namespace or "") == {"deny-all"}
    end_it(ready)


def test_a_label_edited_by_hand_isolates_the_sandbox_and_names_who(ready: Sandbox, hand: ByHand) -> None:
    hand.label(ready.namespace or "", **{"pod-security.kubernetes.io/enforce": "privileged"})
    work_until(ready, Phase.ISOLATED, look=True)
    assert entry(ready, "seal_changed")["managers"] == [MANAGER]
    end_it(ready)


# ---- clocks and crowds


@pytest.mark.parametrize("minutes", [-10, 10])
def test_a_worker_whose_clock_is_ten_minutes_off(
    cluster: Cluster, alice: User, minutes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of its own clock there is Django's, and that of the driver: both are wrong here, and the cluster's is not."""
    off, real = timedelta(minutes=minutes), timezone.now
    monkeypatch.setattr(timezone, "now", lambda: real() + off)

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = UTC) -> Self:
            return cls.fromtimestamp(time.time() + off.total_seconds(), tz)

    for module in (api, pacing):
        monkeypatch.setattr(module, "datetime", Shifted)
    (number,) = ids = whole_lives.open_many([alice], 1)
    sandbox = Sandbox.objects.get(pk=number)
    work_until(sandbox, Phase.READY, look=True)
    assert sandbox.ready_at is not None
    assert sandbox.expires_at == sandbox.ready_at + sandbox.lease
    end_it(sandbox)
    told = [sandbox.ready_at, sandbox.revoked_at, sandbox.workloads_gone_at, sandbox.ended_at]
    assert all(moment and abs(moment - clock.now()) < timedelta(minutes=8) for moment in told)
    check_the_end(ids, Ends([]), cluster)


def test_of_fifty_at_once_for_the_last_slot_one_is_made(cluster: Cluster) -> None:
    """And when that one has gone, exactly one more."""
    registry.ensure_environment_cluster()
    Quota.objects.update_or_create(scope=Scope.PROFILE, subject="python", defaults={"sandboxes": 1})
    people = [User.objects.create_user(f"person-{number}") for number in range(50)]
    together = threading.Barrier(len(people))

    def ask(person: User) -> int:
        try:
            together.wait(30)
            return whole_lives.open_many([person], 1)[0]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(people)) as pool:
        ids = list(pool.map(ask, people))
    asked = Sandbox.objects.filter(pk__in=ids)
    assert asked.filter(phase=Phase.QUEUED).count() == 49  # before anything is made
    for waiting in (49, 48):
        with at_work(4) as crew:
            crew.wake()
            wait_for(lambda: asked.filter(phase=Phase.READY).exists(), 120)
        assert asked.filter(phase=Phase.QUEUED).count() == waiting
        assert len(_sandboxes_in(cluster)) == 1
        end_it(asked.get(phase=Phase.READY))
        assert quota.admit() == 1
    assert asked.filter(phase=Phase.QUEUED).count() == 47


def _sandboxes_in(cluster: Cluster) -> set[str]:
    installation = settings.INSTALLATION_ID
    return {state.name for state in cluster.namespaces(installation)} - {canary_namespace(installation)}


# ---- workers


def test_two_workers_and_one_row(cluster: Cluster, alice: User) -> None:
    """Both are always at it; each thing is done once."""
    ids = whole_lives.open_many([alice], 1)
    with always_at(ids[0]), always_at(ids[0]):
        live_until_over(ids, Ends([]), each=1, seconds=120)
    check_the_end(ids, Ends([]), cluster)


def test_workers_killed_at_any_moment_lose_nothing(cluster: Cluster, alice: User, bob: User) -> None:
    whole_lives.set_limits(each=EACH)
    ids = whole_lives.open_many([alice, bob], 8)
    ends, dice, killed = Ends(ids), random.Random(SEED), 0
    with nursery(2, **{name: str(getattr(settings, name)) for name in GIVEN}) as born:
        lives = [(born.worker(), dice.randint(1, 30)) for _ in range(2)]

        def kill_and_replace() -> None:
            nonlocal killed
            taken = whole_lives.steps_taken()
            for place, (number, until) in enumerate(lives):
                if taken >= until:
                    born.kill(number)
                    killed += 1
                    lives[place] = born.worker(), taken + dice.randint(1, 30)

        live_until_over(ids, ends, each=EACH, seconds=300, meanwhile=kill_and_replace)
    assert killed >= 5
    check_the_end(ids, ends, cluster)


# ---- the way to the API


@contextmanager
def plainly(kubeconfig: str, context: str) -> Iterator[int]:
    """The API server without TLS, on loopback; the port. `kubectl proxy` speaks TLS, and for us, on the other side."""
    command = ["kubectl", "--kubeconfig", kubeconfig, *(["--context", context] if context else [])]
    command += ["proxy", "--address=127.0.0.1", "--port=0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline().rpartition(":")[2])
    finally:
        process.kill()
        process.communicate()


def test_ten_seeded_lives_through_a_cluster_that_fails_in_every_way(
    cluster: Cluster, alice: User, bob: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl, through which the API is reached without TLS")
    whole_lives.set_limits(each=EACH)
    ids = whole_lives.open_many([alice, bob], 10)
    ends = Ends(ids)
    with (
        plainly(settings.KUBECONFIG, settings.KUBE_CONTEXT) as port,
        FaultProxy(port, seeded(SEED, share=0.05), stall_seconds=7.0) as proxy,
    ):
        way = whole_lives.kubeconfig_through(Path(settings.KUBECONFIG), proxy.url, tmp_path)
        monkeypatch.setattr(settings, "KUBECONFIG", str(way))
        with at_work(4) as crew, beat():
            crew.wake()
            live_until_over(ids, ends, each=EACH, seconds=400)
    assert len(proxy.met) >= 7, proxy.met
    assert sum(proxy.met.values()) > 2 * len(ids)
    check_the_end(ids, ends, cluster)
