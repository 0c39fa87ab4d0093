"""A watch is a hint: a changed policy has its sandbox looked at within a moment, and nothing relies on it."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.db import connection

from portal.accounts.models import User
from sandboxes.cluster import watching
from sandboxes.cluster.driver import Cluster
from sandboxes.lifecycle import clock, registry, watches
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import Phase
from tests.sandboxes.lifecycle import rows
from tests.sandboxes.lifecycle.by_hand import ByHand
from tests.sandboxes.lifecycle.processes import on_this_database
from tests.simulator import ROOT, Simulator

HERE = "simulated"


@pytest.fixture(autouse=True)
def installation(settings: Any) -> str:
    settings.INSTALLATION_ID = f"watcher-{uuid4().hex[:12]}"
    return str(settings.INSTALLATION_ID)


@pytest.fixture
def hand(simulator: Simulator) -> Iterator[ByHand]:
    hand = ByHand(str(simulator.kubeconfig))
    yield hand
    hand.close()


class TestHint:
    pytestmark = pytest.mark.django_db

    def test_a_ready_sandbox_is_inspected_and_proven_again(self, alice: User) -> None:
        row = rows.ready(alice, namespace="sbx-a")
        watches.hint(HERE, "sbx-a")
        row.refresh_from_db()
        now = clock.now()
        assert row.inspect_due
        assert row.probe_due_at is not None
        assert row.probe_due_at <= now
        assert row.next_check_at is not None
        assert row.next_check_at <= now

    @pytest.mark.parametrize("phase", [Phase.HIBERNATED, Phase.ISOLATED])
    def test_a_closed_one_is_inspected(self, alice: User, phase: Phase) -> None:
        row = rows.ready(alice, namespace="sbx-a", phase=phase)
        watches.hint(HERE, "sbx-a")
        row.refresh_from_db()
        assert (row.inspect_due, row.probe_due_at) == (True, None)

    @pytest.mark.parametrize(
        "changes",
        [{"phase": Phase.PROVISIONING}, {"phase": Phase.ENDING}, {"cluster": "elsewhere"}],
        ids=["being made", "ending", "elsewhere"],
    )
    def test_others_are_left_alone(self, alice: User, changes: dict[str, str]) -> None:
        row = rows.ready(alice, namespace="sbx-a", **changes)
        watches.hint(HERE, "sbx-a")
        row.refresh_from_db()
        assert not row.inspect_due


@contextmanager
def watcher(simulator: Simulator, folder: Path, installation: str) -> Iterator[subprocess.Popen[bytes]]:
    """The process as the supervisor starts it, on the test's database; at work when this returns."""
    (folder / "cluster").symlink_to(simulator.folder)
    environ = on_this_database(DATA_DIR=str(folder), INSTALLATION_ID=installation)
    ready = folder / "watcher.ready"
    process = subprocess.Popen(
        [sys.executable, "-m", "sandboxes.lifecycle.watcher", str(ready)], cwd=ROOT, env=environ
    )
    try:
        wait_for(ready.exists, 30)
        wait_for(watched, 30)
        yield process
    finally:
        process.kill()
        process.wait()


def watched() -> bool:
    """Whether somebody holds the lock of whoever watches."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = %s", [0x5065])
        return bool(cursor.fetchone()[0])


def wait_for(holds: Callable[[], object], seconds: float) -> None:
    """Patient: a busy machine starts a process slowly."""
    until = time.monotonic() + 4 * seconds
    while not holds():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


@pytest.mark.django_db(transaction=True)
def test_the_process_hints_within_a_moment_and_ends_when_told(
    simulator: Simulator,
    cluster: Cluster,
    hand: ByHand,
    alice: User,
    installation: str,
    tmp_path: Path,
) -> None:
    name = f"sbx-{uuid4().hex[:8]}"
    uid = hand.make_namespace(name, {"petridish.dev/installation": installation})
    row = rows.ready(alice, name=name, namespace=name, namespace_uid=uid)
    registry.get(HERE)
    with watcher(simulator, tmp_path, installation) as process:
        number = iter(range(1000))

        def noticed() -> bool:
            """The lock is taken a moment before the watch begins, so the first change may be missed."""
            hand.allow_all(name, f"open-{next(number)}")
            time.sleep(0.2)
            return Sandbox.objects.get(pk=row.pk).inspect_due

        wait_for(noticed, 20)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


@pytest.mark.django_db(transaction=True)
def test_of_two_hosts_one_watches_a_cluster(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    row = registry.get(HERE)
    monkeypatch.setattr(watching, "policy_changes", lambda *args: iter(()))
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s, %s)", [0x5065, row.pk])
        assert not watches._watch_if_ours(HERE, threading.Event())
    assert watches._watch_if_ours(HERE, threading.Event())


def test_it_says_what_it_needs(tmp_path: Path) -> None:
    bare = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    command = [sys.executable, "-m", "sandboxes.lifecycle.watcher"]
    done = subprocess.run(command, cwd=ROOT, env=bare, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "DJANGO_SETTINGS_MODULE" in done.stderr
