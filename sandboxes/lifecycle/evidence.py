"""What a run of the probe leaves behind: a row, a ledger entry, and what follows if the seal does not hold."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Final

from django.db import transaction

from sandboxes.audit.services import record
from sandboxes.cluster.spec import Control
from sandboxes.cluster.verdict import Outcome, Verdict
from sandboxes.lifecycle import alarms, clock, isolation, registry
from sandboxes.lifecycle.models import Probe, Sandbox
from sandboxes.lifecycle.moves import start_ending

SEAL_FAILED: Final = "seal_failed"
_ACTIONS: Final = {
    Outcome.HOLDS: "probe_passed",
    Outcome.OPEN: "probe_failed",
    Outcome.UNUSABLE: "probe_unusable",
    Outcome.UNPROVEN: "probe_unproven",
}


@dataclass(frozen=True, slots=True)
class Run:
    """A run that ended: what came of it, beside which control, and why it was made."""

    verdict: Verdict
    control: Control | None
    cause: str
    simulated: bool


def keep(sandbox: Sandbox, run: Run, **changes: Any) -> None:
    """Stores the run, and what it changes in the sandbox's row."""
    with transaction.atomic():
        probe = _store(sandbox, run)
        if changes:
            Sandbox.objects.filter(pk=sandbox.pk, phase=sandbox.phase).update(**changes)
        _note(sandbox, run, probe)
    sandbox.refresh_from_db()


def fail(sandbox: Sandbox, run: Run, reason: str) -> None:
    """The seal failed: what never opened ends, what was open is cut off, and people are told.

    Only a target found open speaks against the cluster. Its alarm comes first, on its own: a
    worker that dies here finds the same result again, and says it all again. The alarm about a
    sandbox that was open is that of its isolation, and says why; one that ends at once is gone
    in a moment, so there it is about the cluster too.
    """
    if run.verdict.outcome == Outcome.OPEN:
        registry.distrust(sandbox.cluster, reason=f"{sandbox}: {reason}")
    elif sandbox.ready_at is None:
        message = f"{sandbox} of {sandbox.owner.get_username()} on {sandbox.cluster}: {reason}"
        alarms.alarm(SEAL_FAILED, f"cluster:{sandbox.cluster}", message)
    with transaction.atomic():
        probe = _store(sandbox, run)
        if sandbox.ready_at is None:
            start_ending(sandbox, reason="failed", failure=reason)
        else:
            isolation.isolate(sandbox.pk, by=None, reason=reason)
        Sandbox.objects.filter(pk=sandbox.pk).update(probe_started_at=None)
        _note(sandbox, run, probe)
    sandbox.refresh_from_db()


def _store(sandbox: Sandbox, run: Run) -> Probe:
    return Probe.objects.create(
        sandbox=sandbox,
        at=clock.now(),
        cause=run.cause,
        passed=run.verdict.outcome == Outcome.HOLDS,
        outcome=run.verdict.outcome.value,
        simulated=run.simulated,
        attempts=[asdict(attempt) for attempt in run.verdict.attempts],
        control=_told(run.control) if run.control else {},
    )


def _told(control: Control) -> dict[str, str]:
    return {"pod": control.pod, "started_at": control.started_at, "finished_at": control.finished_at}


def _note(sandbox: Sandbox, run: Run, probe: Probe) -> None:
    """The ledger keeps all of what opened or closed a sandbox, and of the hourly routine its digest."""
    text = json.dumps(probe.attempts, sort_keys=True, separators=(",", ":"))
    data = {
        "probe": probe.pk,
        "cause": run.cause,
        "simulated": run.simulated,
        "control": probe.control.get("pod", ""),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }
    if run.verdict.reasons:
        data["reasons"] = list(run.verdict.reasons)
    if not probe.passed or run.cause not in ("scheduled", "changed"):
        data["attempts"] = probe.attempts
    action = f"sandbox.{_ACTIONS[run.verdict.outcome]}"
    record(actor=None, action=action, subject=f"sandbox:{sandbox.pk}", data=data)
