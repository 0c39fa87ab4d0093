"""Proving the seal: the probe before access, and the evidence it leaves."""

from dataclasses import asdict
from datetime import timedelta

from django.db import transaction
from django.db.models import DateTimeField, ExpressionWrapper, F, Value
from django.utils import timezone

from sandboxes.audit.services import record
from sandboxes.cluster.spec import ProbeResult
from sandboxes.errors import PermanentError
from sandboxes.lifecycle import clusters, specs
from sandboxes.lifecycle.deadline import check_deadline
from sandboxes.lifecycle.models import Probe, Sandbox
from sandboxes.lifecycle.moves import move, start_ending
from sandboxes.lifecycle.phases import Phase
from sandboxes.lifecycle.tokens import digest, index_token

SOON = timedelta(milliseconds=250)


def take(sandbox: Sandbox) -> timedelta | None:
    """Access opens only behind a probe that passed and a workspace that runs."""
    check_deadline(sandbox)
    cluster = clusters.get(sandbox.cluster)
    namespace = sandbox.namespace or ""
    workspace = cluster.workspace(namespace)
    if workspace.failed:  # first: an image that cannot be pulled keeps the probe waiting too
        raise PermanentError(f"The workspace does not start: {workspace.message}")
    if not sandbox.probes.filter(passed=True).exists():
        if (
            sandbox.attempts
        ):  # the last look failed, perhaps for want of a probe; starting it twice is harmless
            cluster.start_probe(specs.rendered(sandbox, cluster).probe)
        result = cluster.probe(namespace)
        if result is None:
            return SOON
        if not _keep_evidence(sandbox, result):
            return None
    if not workspace.ready:
        return SOON
    cluster.delete_probe(namespace)
    cluster.apply(specs.rendered(sandbox, cluster).access)
    _open(sandbox)
    return None


def _keep_evidence(sandbox: Sandbox, result: ProbeResult) -> bool:
    """Stores what the probe tried; a seal that does not hold ends the sandbox in the same transaction."""
    attempts = [asdict(attempt) for attempt in result.attempts]
    with transaction.atomic():
        Probe.objects.create(
            sandbox=sandbox, passed=result.passed, simulated=result.simulated, attempts=attempts
        )
        if not result.passed:
            start_ending(sandbox, reason="failed", failure=_seal_failure(result))
        record(
            actor=None,
            action="sandbox.probe_passed" if result.passed else "sandbox.probe_failed",
            subject=f"sandbox:{sandbox.pk}",
            data={"simulated": result.simulated, "attempts": attempts},
        )
    return result.passed


def _seal_failure(result: ProbeResult) -> str:
    wrong = [attempt for attempt in result.attempts if attempt.result != attempt.expected]
    if not wrong:
        return "The seal could not be proven: the probe gave no usable result."
    told = "; ".join(f"{a.target} ({a.host}:{a.port}) should be {a.expected}, was {a.result}" for a in wrong)
    return f"The seal does not hold: {told}."


def _open(sandbox: Sandbox) -> None:
    """The lease and the index token begin with the phase; waiting did not eat into the lease."""
    now = timezone.now()
    # Added up by the database: an extension may be granted at this very moment.
    expires_at = ExpressionWrapper(Value(now, DateTimeField()) + F("lease"), DateTimeField())
    move(
        sandbox,
        Phase.READY,
        data={"ready_at": now},
        ready_at=now,
        expires_at=expires_at,
        index_token_digest=digest(index_token(sandbox.pk)),
    )
