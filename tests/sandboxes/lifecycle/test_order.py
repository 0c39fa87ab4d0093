"""In which order the cluster is called, and what a death before or after any of those calls does."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from portal.accounts.models import User
from sandboxes.audit.services import verify
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.spec import Attempt, ProbeResult
from sandboxes.lifecycle import services
from sandboxes.lifecycle.models import Probe, Receipt, Sandbox
from sandboxes.lifecycle.phases import Phase
from tests.sandboxes.lifecycle.test_journey import actions, reconcile_until

pytestmark = pytest.mark.django_db

Watch = Callable[[str], None]


class Between:
    """Stands between the lifecycle and the real driver: notes each call, and may answer the first ones itself."""

    def __init__(self, real: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self.first: dict[str, list[Any]] = {}  # by method: answers to give before the real ones
        self.before: Watch = lambda call: None
        self.after: Watch = lambda call: None
        self._real, self.name = real, real.name
        monkeypatch.setattr("sandboxes.lifecycle.clusters.get", lambda name: self)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._real, name)

        def run(*args: Any, **options: Any) -> Any:
            call = f"apply {args[0][0]['kind']}" if name == "apply" else name
            self.before(call)
            self.calls.append(call)
            answers = self.first.get(name)
            result = answers.pop(0) if answers else method(*args, **options)
            self.after(call)
            return result

        return run


@pytest.fixture
def between(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Between:
    return Between(cluster, monkeypatch)


def test_seal_then_proof_then_access(sandbox: Sandbox, cluster: Cluster, between: Between) -> None:
    waiting = cluster.workspace("nowhere")
    between.first = {"quota_ready": [False, False], "probe": [None], "workspace": [waiting, waiting, waiting]}
    reconcile_until(sandbox, Phase.READY)
    calls = between.calls
    order = [
        "ensure_namespace",
        "apply ResourceQuota",  # the seal, in one go
        "apply Deployment",
        "start_probe",
        "probe",
        "delete_probe",
        "apply Role",
    ]
    assert [call for call in dict.fromkeys(calls) if call in order] == order
    assert calls.count("quota_ready") == 3  # twice not ready: nothing was started meanwhile
    assert calls.index("apply Deployment") > len(calls) - 1 - calls[::-1].index("quota_ready")
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


UP = [
    "ensure_namespace",
    "apply ResourceQuota",
    "quota_ready",
    "apply Deployment",
    "start_probe",
    "probe",
    "workspace",
    "delete_probe",
    "apply Role",
]
DOWN = [
    "namespace",
    "inventory",
    "revoke_access",
    "delete_workloads",
    "pods_left",
    "delete_namespace",
    "leftovers",
    "namespace",
    "inventory",
]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(("up", "down"), list(zip(UP, DOWN, strict=True)))
def test_killed_at_any_call_the_journey_goes_on(
    sandbox: Sandbox, alice: User, cluster: Cluster, between: Between, up: str, down: str, moment: str
) -> None:
    """One death on the way up, one on the way down; each time another worker takes over."""
    deaths: list[str] = []

    def reach(phase: Phase, at: str) -> None:
        def die(call: str) -> None:
            if call == at:
                setattr(between, moment, lambda call: None)
                deaths.append(call)
                raise KilledError

        setattr(between, moment, die)
        with contextlib.suppress(KilledError):
            reconcile_until(sandbox, phase)
        reconcile_until(sandbox, phase)

    reach(Phase.READY, up)
    assert Probe.objects.filter(sandbox=sandbox, passed=True).count() == 1
    services.end(sandbox.pk, by=alice)
    reach(Phase.ENDED, down)
    assert deaths == [up, down]
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
    assert verify().ok
