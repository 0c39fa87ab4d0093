"""What the reconciler does in each phase: look at the present, take one step, say when to look again.

Every step may be cut off at any line and run again: intent is in the row before
the cluster is touched, names are deterministic, applying is idempotent, and
phases move by compare-and-set. A step returns how long to wait, or None when
the phase moved or there is nothing more to do.
"""

from dataclasses import asdict
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import DateTimeField, ExpressionWrapper, F, Value
from django.utils import timezone

from sandboxes.audit.services import record
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.names import sandbox_name
from sandboxes.cluster.spec import KubeObject, ProbeResult
from sandboxes.errors import PermanentError
from sandboxes.lifecycle import clusters, teardown
from sandboxes.lifecycle.models import Probe, Sandbox
from sandboxes.lifecycle.moves import move, start_ending
from sandboxes.lifecycle.phases import LIVE, Phase
from sandboxes.lifecycle.timing import warn_at
from sandboxes.lifecycle.tokens import digest, index_token

SOON = timedelta(milliseconds=250)


def take(sandbox: Sandbox) -> timedelta | None:
    """One step for this sandbox in the phase it is in."""
    if sandbox.phase in LIVE and not sandbox.owner.is_active:
        start_ending(sandbox, reason="its owner was disabled")
        return None
    match Phase(sandbox.phase):
        case Phase.PENDING:
            _name(sandbox)
            return None
        case Phase.PROVISIONING:
            return _provision(sandbox)
        case Phase.PROBING:
            return _probe(sandbox)
        case Phase.READY:
            return _watch(sandbox)
        case Phase.ENDING:
            return teardown.take(sandbox)
        case _:
            return None


def _name(sandbox: Sandbox) -> None:
    """Writes down what will be created before anything is."""
    if sandbox.profile not in clusters.templates().profiles:
        start_ending(sandbox, reason="failed", failure=f"There is no profile {sandbox.profile!r} any more.")
        return
    name = sandbox_name(
        sandbox.owner.get_username(), sandbox.profile, sandbox.pk, installation_id=settings.INSTALLATION_ID
    )
    simulated = clusters.facts(clusters.get(sandbox.cluster)).simulated
    move(
        sandbox, Phase.PROVISIONING, data={"namespace": name}, name=name, namespace=name, simulated=simulated
    )


def _provision(sandbox: Sandbox) -> timedelta | None:
    """Namespace, quota, policies, settings; then workspace and probe, which nobody can reach yet."""
    _check_deadline(sandbox)
    cluster = clusters.get(sandbox.cluster)
    rendered = clusters.rendered(sandbox, cluster)
    _make_namespace(sandbox, cluster, rendered.seal[0])
    cluster.apply(rendered.seal[1:])
    if not cluster.quota_ready(sandbox.namespace or ""):
        return SOON
    cluster.apply(rendered.workspace)
    cluster.start_probe(rendered.probe)
    move(sandbox, Phase.PROBING, spec_hash=rendered.spec_hash)
    return None


def _make_namespace(sandbox: Sandbox, cluster: Cluster, namespace: KubeObject) -> None:
    """Creates it once and writes its uid down; one that went away meanwhile is not made a second time."""
    if sandbox.namespace_uid:
        state = cluster.namespace(sandbox.namespace or "")
        if state is None or state.uid != sandbox.namespace_uid:
            raise PermanentError(
                f"Namespace {sandbox.namespace} was deleted by somebody else while it was made."
            )
        cluster.update_namespace(namespace, uid=sandbox.namespace_uid)
        return
    sandbox.namespace_uid = cluster.ensure_namespace(namespace)
    sandbox.save(update_fields=["namespace_uid"])


def _probe(sandbox: Sandbox) -> timedelta | None:
    """Access opens only behind a probe that passed and a workspace that runs."""
    _check_deadline(sandbox)
    cluster = clusters.get(sandbox.cluster)
    namespace = sandbox.namespace or ""
    workspace = cluster.workspace(namespace)
    if workspace.failed:  # first: an image that cannot be pulled keeps the probe waiting too
        raise PermanentError(f"The workspace does not start: {workspace.message}")
    if not sandbox.probes.filter(passed=True).exists():
        if (
            sandbox.attempts
        ):  # the last look failed, perhaps for want of a probe; starting it twice is harmless
            cluster.start_probe(clusters.rendered(sandbox, cluster).probe)
        result = cluster.probe(namespace)
        if result is None:
            return SOON
        if not _keep_evidence(sandbox, result):
            return None
    if not workspace.ready:
        return SOON
    cluster.delete_probe(namespace)
    cluster.apply(clusters.rendered(sandbox, cluster).access)
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


def _watch(sandbox: Sandbox) -> timedelta | None:
    """A ready sandbox: expire it, warn before that, and notice when its namespace is no longer there."""
    assert sandbox.expires_at is not None  # noqa: S101 -- set in the same update as the phase
    now = timezone.now()
    if sandbox.expires_at <= now:
        # An extension may have been granted since the row was read: then it is not expired after all.
        start_ending(sandbox, reason="expired", only_if={"expires_at__lte": now})
        return None
    warning = warn_at(sandbox.expires_at, sandbox.lease)
    if warning <= now and sandbox.warned_at is None:
        _warn(sandbox)
    cluster = clusters.get(sandbox.cluster)
    state = cluster.namespace(sandbox.namespace or "")
    if state is None or state.uid != sandbox.namespace_uid or state.phase == "Terminating":
        start_ending(sandbox, reason="its namespace was deleted by somebody else")
        return None
    _show_expiry(sandbox, cluster)
    next_event = sandbox.expires_at if sandbox.warned_at or warning <= now else warning
    return min(next_event - now, settings.READY_CHECK_EVERY)


def _warn(sandbox: Sandbox) -> None:
    with transaction.atomic():
        won = Sandbox.objects.filter(pk=sandbox.pk, phase=Phase.READY, warned_at=None).update(
            warned_at=timezone.now()
        )
        if won:
            record(
                actor=None,
                action="sandbox.expiry_warned",
                subject=f"sandbox:{sandbox.pk}",
                data={"expires_at": sandbox.expires_at},
            )
    sandbox.refresh_from_db(fields=["warned_at"])


def _show_expiry(sandbox: Sandbox, cluster: Cluster) -> None:
    """The namespace's annotation says when it ends."""
    cluster.update_namespace(clusters.rendered(sandbox, cluster).seal[0], uid=sandbox.namespace_uid)


def _check_deadline(sandbox: Sandbox) -> None:
    """Only a cluster that answers uses up the deadline, so it is asked before the sandbox fails."""
    if timezone.now() - sandbox.phase_at <= settings.PROVISION_DEADLINE:
        return
    clusters.get(sandbox.cluster).info()
    minutes = int(settings.PROVISION_DEADLINE.total_seconds() // 60)
    raise PermanentError(f"It was not ready after {minutes} minutes. {sandbox.last_error}".strip())


def fail(sandbox: Sandbox, error: PermanentError) -> bool:
    """A permanent error ends a provision, with the reason; anything later stays and is tried again."""
    if sandbox.phase in (Phase.PENDING, Phase.PROVISIONING, Phase.PROBING):
        return start_ending(sandbox, reason="failed", failure=str(error))
    return False
