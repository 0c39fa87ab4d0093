"""In which order the cluster is called, and what a death at any line does."""

import re
import time
import traceback
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from portal.accounts.models import User
from sandboxes.audit.services import verify
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.spec import Attempt, ProbeResult
from sandboxes.lifecycle import claims, engine, services
from sandboxes.lifecycle.models import Probe, Receipt, Sandbox
from sandboxes.lifecycle.phases import Phase
from tests.sandboxes.lifecycle.between import Between
from tests.sandboxes.lifecycle.test_journey import actions, reconcile_until

pytestmark = pytest.mark.django_db


def test_seal_then_proof_then_access(sandbox: Sandbox, cluster: Cluster, between: Between) -> None:
    waiting = cluster.workspace("nowhere")
    between.first = {"quota_ready": [False, False], "probe": [None], "workspace": [waiting, waiting, waiting]}
    reconcile_until(sandbox, Phase.READY)
    calls = between.calls
    order = [
        "ensure_namespace",
        "apply ResourceQuota",
        "apply NetworkPolicy",
        "apply ServiceAccount",
        "apply StatefulSet",
        "start_probe",
        "probe",
        "delete_probe",
        "apply Role",
    ]
    assert [call for call in dict.fromkeys(calls) if call in order] == order
    assert calls.count("quota_ready") == 3  # twice not ready: nothing was started meanwhile
    assert calls.index("apply StatefulSet") > len(calls) - 1 - calls[::-1].index("quota_ready")
    assert calls.count("apply Role") == 1
    assert calls.index("apply Role") > len(calls) - 1 - calls[::-1].index("workspace")


def test_no_access_behind_a_probe_that_failed(sandbox: Sandbox, between: Between) -> None:
    leak = Attempt("api-server", "192.0.2.10", 6443, "blocked", "open", 1, "connected")
    between.first = {"probe": [ProbeResult(passed=False, simulated=True, attempts=(leak,))]}
    reconcile_until(sandbox, Phase.FAILED)
    assert "apply Role" not in between.calls
    assert "api-server (192.0.2.10:6443) should be blocked, was open" in sandbox.failure


def test_access_then_pods_then_namespace_then_proof(sandbox: Sandbox, alice: User, between: Between) -> None:
    reconcile_until(sandbox, Phase.READY)
    between.calls.clear()
    between.first = {"pods_left": [2, 1]}
    services.end(sandbox.pk, by=alice)
    reconcile_until(sandbox, Phase.ENDED)
    calls = between.calls
    order = ["revoke_access", "delete_workloads", "pods_left", "delete_namespace", "leftovers"]
    assert [call for call in dict.fromkeys(calls) if call in order] == order
    assert calls.count("pods_left") == 3
    assert calls.index("delete_namespace") > len(calls) - 1 - calls[::-1].index("pods_left")


def test_no_receipt_while_something_is_left(sandbox: Sandbox, alice: User, between: Between) -> None:
    reconcile_until(sandbox, Phase.READY)
    between.first = {"leftovers": [["PersistentVolume/old"]]}
    seen: list[tuple[str, bool]] = []

    def look(call: str) -> None:
        if call == "leftovers":
            sandbox.refresh_from_db()
            seen.append((sandbox.last_error, Receipt.objects.filter(sandbox=sandbox).exists()))

    between.before = look
    services.end(sandbox.pk, by=alice)
    reconcile_until(sandbox, Phase.ENDED)
    assert len(seen) == 2
    assert "PersistentVolume/old" in seen[1][0]
    assert [receipt for _, receipt in seen] == [False, False]


class KilledError(BaseException):
    """Not an Exception: nothing in the code may catch it, as nothing catches `kill -9`."""


class Deaths:
    """A worker that dies before every call to the cluster and every write to the database, and so after each too.

    Another one takes over each time, and comes one line further."""

    def __init__(self, between: Between) -> None:
        self.places: set[tuple[str, ...]] = set()
        between.before = self._once

    def reach(self, sandbox: Sandbox, phase: Phase, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while Sandbox.objects.get(pk=sandbox.pk).phase != phase:
            assert time.monotonic() < deadline, sorted(self.places)
            try:
                with connection.execute_wrapper(self._write):
                    engine.sweep()
            except KilledError:
                claims.leave()  # as the system does when a process ends
        sandbox.refresh_from_db()

    def _write(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if re.match(r"\s*(INSERT|UPDATE|DELETE|WITH)", sql):
            self._once(sql)
        return execute(sql, params, many, context)

    def _once(self, what: str) -> None:
        lines = [
            f"{Path(frame.filename).stem}:{frame.lineno}"
            for frame in traceback.extract_stack()
            if "/sandboxes/lifecycle/" in frame.filename and "/tests/" not in frame.filename
        ]
        place = (" ".join(what.split())[:40], *lines[-3:])
        if place not in self.places:
            self.places.add(place)
            raise KilledError


def test_killed_at_any_line_the_journey_goes_on(
    sandbox: Sandbox, alice: User, cluster: Cluster, between: Between
) -> None:
    deaths = Deaths(between)
    deaths.reach(sandbox, Phase.READY)
    assert sandbox.expires_at is not None
    assert sandbox.ready_at is not None
    assert sandbox.expires_at - sandbox.ready_at == sandbox.lease
    assert Probe.objects.filter(sandbox=sandbox, passed=True).count() == 1
    services.end(sandbox.pk, by=alice)
    deaths.reach(sandbox, Phase.ENDED)
    called = {place[0] for place in deaths.places}
    assert {*UP, *DOWN} <= called
    assert len(deaths.places) > 50
    assert cluster.namespace(sandbox.namespace or "") is None
    document = Receipt.objects.get(sandbox=sandbox).document
    assert document["absent_at"]
    assert document["access_revoked_at"]
    assert actions(sandbox) == [
        "pending",
        "provisioning",
        "probing",
        "probe_passed",
        "ready",
        "ending",
        "ended",
    ]
    assert not Sandbox.objects.get(pk=sandbox.pk).charged
    assert verify().ok


UP = {
    "ensure_namespace",
    "apply ResourceQuota",
    "apply NetworkPolicy",
    "apply ServiceAccount",
    "quota_ready",
    "apply StatefulSet",
    "start_probe",
    "probe",
    "workspace",
    "delete_probe",
    "apply Role",
}
DOWN = {
    "inventory",
    "revoke_access",
    "delete_workloads",
    "pods_left",
    "delete_namespace",
    "leftovers",
    "namespace",
}
