"""Proving the seal: before access, again and again after it, and whenever it was opened anew.

A run is one pod of the probe, judged beside a run of the cluster's control
(`controls`, `verdict`). `Sandbox.probe_started_at` names the run under way, so that no
result of an earlier one is taken for it. What a run showed decides:

- the seal holds: a sandbox that is being opened goes on, an open one goes on being open;
- something that must be blocked was open: `evidence.fail`, at once;
- the run is no use (its pod was killed, its network was dead): it is made again, three
  times in all, and then fails too, because nothing proves the seal. The cluster stays trusted;
- its control proved nothing (the canary is down, or so is the index): both run again, for
  as long as it takes. Nothing opens meanwhile, and nothing that is open is closed.
"""

import random
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db.models import Case, DateTimeField, DurationField, ExpressionWrapper, F, Value, When
from django.db.models.functions import Coalesce

from sandboxes.audit.models import Entry
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.observe import ProbeLostError
from sandboxes.cluster.spec import Attempt, Control, ProbeResult
from sandboxes.cluster.verdict import Outcome, Verdict, judge
from sandboxes.errors import PermanentError, TemporaryError
from sandboxes.lifecycle import alarms, clock, clusters, controls, evidence, older, reopening, specs
from sandboxes.lifecycle.controls import CanaryError, OutdatedRunError, prepare
from sandboxes.lifecycle.deadline import check_deadline
from sandboxes.lifecycle.evidence import Run
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.moves import move
from sandboxes.lifecycle.phases import Phase
from sandboxes.lifecycle.steplog import step
from sandboxes.lifecycle.tokens import digest, index_token

__all__ = ["keep", "prepare", "take"]

SOON: Final = timedelta(milliseconds=100)
UNPROVEN: Final = "seal_unproven"  # the alarm's kind
_MOST_RUNS: Final = 3  # of no use, one after the other
_RUN_LIMIT: Final = timedelta(minutes=10)
_LOOK_EVERY: Final = timedelta(seconds=1)
_AGAIN: Final = timedelta(minutes=5)  # an open sandbox whose control proved nothing
_JITTER: Final = 0.1
_NOBODY: Final = Control("", "", "", ())


def take(sandbox: Sandbox) -> timedelta | None:
    """Access opens only behind a proof that was made in this phase, and a workspace that runs."""
    if sandbox.ready_at is None:
        check_deadline(sandbox)
    waiting = reopening.take(sandbox)
    if waiting is not None:
        return waiting
    cluster = clusters.get(sandbox.cluster)
    workspace = cluster.workspace(sandbox.namespace or "")
    if workspace.failed:  # first: an image that cannot be pulled keeps the probe waiting too
        raise PermanentError(f"The workspace does not start: {workspace.message}")
    if not sandbox.probes.filter(passed=True, at__gte=sandbox.phase_at).exists():
        with step(sandbox, "testing the seal") as attempt:
            if not _prove(sandbox, cluster):
                attempt.wait()
                return SOON if sandbox.phase == Phase.PROBING else None
    with step(sandbox, "workspace ready") as attempt:
        if not workspace.ready:
            attempt.wait()
            return SOON
    with step(sandbox, "access"):
        cluster.delete_probe(sandbox.namespace or "")
        cluster.apply(older.access(sandbox, cluster, specs.rendered(sandbox, cluster)))
    _open(sandbox)
    return None


def keep(sandbox: Sandbox, cluster: Cluster) -> datetime | None:
    """Of a ready sandbox: proves the seal anew when that is due; when to look again."""
    now = clock.now()
    if sandbox.probe_due_at is None:
        Sandbox.objects.filter(pk=sandbox.pk, probe_due_at=None).update(probe_due_at=_next(now))
        return now + _LOOK_EVERY
    if sandbox.probe_started_at is None:
        if sandbox.probe_due_at > now:
            return sandbox.probe_due_at
        prepare(cluster.name)
        _begin(sandbox)
        cluster.start_probe(specs.rendered(sandbox, cluster).probe)
        return now + _LOOK_EVERY
    try:
        run = _finished(sandbox, cluster, _cause_of_due(sandbox))
    except CanaryError as error:
        _tell_unproven(sandbox, str(error))
        return now + min(_AGAIN, settings.PROBE_EVERY)
    if run is None and now - sandbox.probe_started_at > _RUN_LIMIT:
        run = _without_result(_cause_of_due(sandbox))
    return now + _LOOK_EVERY if run is None else _settle(sandbox, cluster, run, now)


def _prove(sandbox: Sandbox, cluster: Cluster) -> bool:
    """One look at the run that is to open this sandbox; True if it proved the seal."""
    if _needs_run(sandbox):
        prepare(cluster.name)
        _begin(sandbox)
    run = _finished(sandbox, cluster, _cause_of_opening(sandbox))
    if run is None:
        return False
    match run.verdict.outcome:
        case Outcome.HOLDS:
            evidence.keep(sandbox, run, probe_started_at=None)
            return True
        case Outcome.UNPROVEN:
            _again(sandbox, cluster, run)
            raise TemporaryError(f"The seal cannot be proven: {_listed(run.verdict)}.")
        case Outcome.UNUSABLE if _useless_runs(sandbox) + 1 < _MOST_RUNS:
            _again(sandbox, cluster, run)
        case _:
            evidence.fail(sandbox, run, _failure(run.verdict))
    return False


def _settle(sandbox: Sandbox, cluster: Cluster, run: Run, now: datetime) -> datetime | None:
    """What the run of an open sandbox shows, carried out."""
    match run.verdict.outcome:
        case Outcome.HOLDS:
            evidence.keep(sandbox, run, probe_started_at=None, probe_due_at=_due_unless_brought_forward(now))
            cluster.delete_probe(sandbox.namespace or "")
            alarms.clear(UNPROVEN, f"sandbox:{sandbox.pk}", by=None)
            return sandbox.probe_due_at
        case Outcome.UNPROVEN:
            _again(sandbox, cluster, run, probe_started_at=None, probe_due_at=now + _AGAIN)
            cluster.delete_probe(sandbox.namespace or "")
            _tell_unproven(sandbox, _listed(run.verdict))
            return now + _AGAIN
        case Outcome.UNUSABLE if _useless_runs(sandbox) + 1 < _MOST_RUNS:
            _again(sandbox, cluster, run)
            return now + _LOOK_EVERY
        case _:
            evidence.fail(sandbox, run, _failure(run.verdict))
            return None


# ---- runs


def _needs_run(sandbox: Sandbox) -> bool:
    """Whether what runs, or lies there, is from before this phase. The very first run was started with the pods."""
    if sandbox.probe_started_at is None:
        return sandbox.ready_at is not None or sandbox.probes.exists()
    return sandbox.probe_started_at < sandbox.phase_at


def _begin(sandbox: Sandbox) -> None:
    """From now on only the result of a new run counts."""
    moment = clock.now()
    Sandbox.objects.filter(pk=sandbox.pk, phase=sandbox.phase).update(probe_started_at=moment)
    sandbox.probe_started_at = moment


def _again(sandbox: Sandbox, cluster: Cluster, run: Run, **changes: datetime | None) -> None:
    """Keeps what a run that proved nothing left, and has another one begin."""
    if run.control is not None and run.verdict.outcome == Outcome.UNPROVEN:
        controls.discard(cluster.name, run.control)
    evidence.keep(sandbox, run, **(changes or {"probe_started_at": clock.now()}))


def _finished(sandbox: Sandbox, cluster: Cluster, cause: str) -> Run | None:
    """The run under way, judged; None while it or its control goes on. What is not there is started."""
    try:
        run = specs.run_of(sandbox)
        result = cluster.probe(sandbox.namespace or "", run, lambda: specs.rendered(sandbox, cluster).probe)
    except ProbeLostError:
        cluster.start_probe(specs.rendered(sandbox, cluster).probe)
        return None
    if result is None:
        return None
    if _speaks_for_itself(result):
        return Run(judge(result, _NOBODY), None, cause, result.simulated)
    try:
        control = controls.of_the_same_run(cluster, result)
    except OutdatedRunError:
        prepare(cluster.name)
        _begin(sandbox)
        cluster.start_probe(specs.rendered(sandbox, cluster).probe)
        return None
    return None if control is None else Run(judge(result, control), control, cause, result.simulated)


def _speaks_for_itself(result: ProbeResult) -> bool:
    """A leak is a leak, and what cannot be read cannot be compared: no control is waited for."""
    leaks = any(attempt.expected == "blocked" and attempt.result == "open" for attempt in result.attempts)
    return leaks or not result.usable


def _without_result(cause: str) -> Run:
    text = f"no result within {int(_RUN_LIMIT.total_seconds() // 60)} minutes"
    attempt = Attempt("probe", "", 0, "blocked", "error", 0, text)
    return Run(Verdict(Outcome.UNUSABLE, (attempt,), (text,)), None, cause, simulated=False)


def _useless_runs(sandbox: Sandbox) -> int:
    """How many runs in a row, up to now, were of no use."""
    newest = sandbox.probes.order_by("-id").values_list("outcome", flat=True)[:_MOST_RUNS]
    found = list(newest)
    return next((number for number, outcome in enumerate(found) if outcome != Outcome.UNUSABLE), len(found))


# ---- causes and words


def _cause_of_opening(sandbox: Sandbox) -> str:
    """Why a seal is proven in phase `probing`: the ledger knows where the sandbox came from."""
    if sandbox.ready_at is None:
        return "opening"
    came_from = ("sandbox.isolated", "sandbox.hibernated")
    entries = Entry.objects.filter(subject=f"sandbox:{sandbox.pk}", action__in=came_from)
    last = entries.order_by("-id").values_list("action", flat=True).first()
    return "release" if last == "sandbox.isolated" else "waking"


def _cause_of_due(sandbox: Sandbox) -> str:
    """Brought forward means that something changed; a repetition has the cause of what it repeats."""
    last = sandbox.probes.order_by("-id").first()
    if last is None or sandbox.probe_due_at is None:
        return "scheduled"
    if not last.passed:
        return last.cause
    in_time = last.at + settings.PROBE_EVERY * (1 - 2 * _JITTER)
    return "scheduled" if sandbox.probe_due_at >= in_time else "changed"


def _failure(verdict: Verdict) -> str:
    if verdict.outcome == Outcome.OPEN:
        return f"The seal does not hold: {_listed(verdict)}."
    return f"The seal could not be proven: the probe gave no usable result ({_listed(verdict)})."


def _listed(verdict: Verdict) -> str:
    return "; ".join(verdict.reasons)


def _tell_unproven(sandbox: Sandbox, why: str) -> None:
    alarms.alarm(UNPROVEN, f"sandbox:{sandbox.pk}", f"The seal of {sandbox} cannot be proven for now: {why}")


# ---- times


def _next(now: datetime) -> datetime:
    """A bit earlier or later, so that a thousand sandboxes opened together are not probed together."""
    return now + settings.PROBE_EVERY * (1 + random.uniform(-_JITTER, _JITTER))  # noqa: S311 -- no secret


def _due_unless_brought_forward(now: datetime) -> Case:
    """A policy that changed while the run was on is not proven by it."""
    since = When(probe_due_at__gt=F("probe_started_at"), then=F("probe_due_at"))
    return Case(since, default=Value(_next(now)), output_field=DateTimeField())


def _open(sandbox: Sandbox) -> None:
    """The lease and the index token begin with the phase; waiting did not eat into the lease.

    One that was open before keeps the end of its lease: sleep and isolation do not stop it.
    A worker that stalled here may have slept through an isolation and a release, and then the
    phase is the same again: its proof is of another time, and its token was revoked.
    """
    now = clock.now()
    # Added up by the database: an extension may be granted at this very moment.
    lease = ExpressionWrapper(F("lease"), DurationField())
    ends = ExpressionWrapper(Value(now, DateTimeField()) + lease, DateTimeField())
    move(
        sandbox,
        Phase.READY,
        only_if={"phase_at": sandbox.phase_at, "tokens_revoked": sandbox.tokens_revoked},
        data={"ready_at": sandbox.ready_at or now},
        ready_at=sandbox.ready_at or now,
        expires_at=Coalesce(F("expires_at"), ends),
        index_token_digest=digest(index_token(sandbox)),
        probe_due_at=_next(now),
        probe_started_at=None,
    )
