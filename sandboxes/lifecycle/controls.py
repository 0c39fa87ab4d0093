"""The canary of a cluster and the newest run of its control, kept in the cluster's row.

`RegisteredCluster.control` holds where the canary answers (`canary`), the newest run
that ended (`pod`, `started_at`, `finished_at` by the cluster's clock, `read_at` by the
database's, `results`), and the run under way (`run`: its `pod`, and `claimed_at`).

One run serves every probe whose own run lies within a minute of it. Whoever needs a
new one claims it by replacing the whole value it has read: of two workers one wins, and
the other waits for that run. A worker that dies after its claim leaves a run without a
pod; after a moment anybody may claim another.
"""

import logging
import secrets
from dataclasses import astuple
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings

from sandboxes.cluster.canary import canary_namespace, render_canary, render_control
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.observe import ProbeLostError
from sandboxes.cluster.spec import Answer, Control, ProbeResult
from sandboxes.cluster.verdict import NEIGHBOUR, SAME_RUN, distance, is_before
from sandboxes.errors import PermanentError, PetridishError, TemporaryError
from sandboxes.lifecycle import clock, clusters, limits, specs
from sandboxes.lifecycle.models import RegisteredCluster

logger = logging.getLogger(__name__)
_FRESH: Final = timedelta(seconds=30)  # serves what starts now: a sandbox is proven well within the rest
_BEING_STARTED: Final = timedelta(seconds=10)  # between the claim of a run and its pod

type State = dict[str, Any]


class CanaryError(TemporaryError):
    """Nothing can be proven on this cluster for now, because its canary or the control does not run."""


class OutdatedRunError(TemporaryError):
    """The probe ran too long ago, or tried an older canary: no control can be laid beside it any more."""


def prepare(name: str) -> None:
    """Has a control run soon, if none did just now. Never waits, never fails: who needs it finds out.

    Called at the beginning of a provision, so that the control has run by the time the probe has.
    """
    try:
        state = _state(name)
        if not _is_fresh(state, clock.now()):
            _advance(clusters.get(name), state)
    except PetridishError as error:
        limits.passed_over()
        logger.warning("Cluster %s: no control for now. %s", name, error)


def make_canary(cluster: Cluster) -> None:
    """Has the canary made before anybody needs it. Never waits, never fails: who needs it finds out."""
    try:
        _canary(cluster)
    except CanaryError:
        pass  # it was made, and is not up yet
    except PetridishError as error:
        limits.passed_over()
        logger.warning("Cluster %s: no canary for now. %s", cluster.name, error)


def of_the_same_run(cluster: Cluster, result: ProbeResult) -> Control | None:
    """The control that a probe's result may be laid beside; None while it runs.

    OutdatedRunError if the probe has to run again, CanaryError if there can be no control.
    """
    state = _state(cluster.name)
    kept, canary = control_in(state), state.get("canary", "")
    if canary and canary not in _neighbours(result):
        raise OutdatedRunError("The canary moved; the probe has to run again.")
    if kept is not None and canary in {answer.host for answer in kept.answers}:
        if distance(kept, result) <= SAME_RUN:
            return kept
        if is_before(result, kept):
            raise OutdatedRunError("The probe ran too long before its control; it has to run again.")
    _advance(cluster, state)
    return None


def discard(name: str, control: Control) -> None:
    """That run proved nothing: another one must, although it is not old."""
    state = _state(name)
    if state.get("pod") == control.pod:
        _replace(name, state, {key: state[key] for key in ("canary", "run") if key in state})


def control_in(state: State) -> Control | None:
    """The newest run that ended, if there is one."""
    if not state.get("results"):
        return None
    answers = tuple(Answer(*line) for line in state["results"])
    return Control(state["pod"], state["started_at"], state["finished_at"], answers)


def _state(name: str) -> State:
    """Read anew each time: other workers write it too."""
    found = RegisteredCluster.objects.filter(name=name).values_list("control", flat=True).first()
    if found is None:
        clusters.get(name)  # the environment's cluster gets its row by being asked for
        found = RegisteredCluster.objects.values_list("control", flat=True).get(name=name)
    return dict(found)


def _replace(name: str, old: State, new: State) -> bool:
    """Compare-and-set; False if somebody else changed it since `old` was read."""
    return bool(RegisteredCluster.objects.filter(name=name, control=old).update(control=new))


def _is_fresh(state: State, now: datetime) -> bool:
    moments = (state.get("read_at"), state.get("run", {}).get("claimed_at"))
    return any(moment and now - datetime.fromisoformat(moment) < _FRESH for moment in moments)


def _neighbours(result: ProbeResult) -> set[str]:
    return {attempt.host for attempt in result.attempts if attempt.target in NEIGHBOUR}


def _advance(cluster: Cluster, state: State) -> None:
    """One step. What is permanent about the canary is a wait for the sandbox: somebody has to mend it first."""
    try:
        _step(cluster, state)
    except PermanentError as error:
        raise CanaryError(f"The canary cannot run: {error}", retry_after=5) from error


def _step(cluster: Cluster, state: State) -> None:
    """Read the run under way, or claim and start a new one."""
    run = state.get("run")
    if run is None:
        _start(cluster, state)
        return
    try:
        found = cluster.control(canary_namespace(settings.INSTALLATION_ID), run["pod"])
    except ProbeLostError as error:
        if clock.now() - datetime.fromisoformat(run["claimed_at"]) > _BEING_STARTED:
            logger.warning("Cluster %s: the control %s is lost. %s", cluster.name, run["pod"], error)
            _start(cluster, state)
        return
    if found is not None:
        _keep(cluster.name, state, found)


def _start(cluster: Cluster, state: State) -> None:
    """Claim a run, then make its pod: whoever does not win the claim starts nothing."""
    canary = _canary(cluster)
    name = f"control-{secrets.token_hex(4)}"
    claim = {**state, "canary": canary, "run": {"pod": name, "claimed_at": clock.now().isoformat()}}
    if not _replace(cluster.name, state, claim):
        return
    try:
        _make_pod(cluster, canary, name)
    except PetridishError:
        _replace(cluster.name, claim, {key: claim[key] for key in claim if key != "run"})
        raise


def _make_pod(cluster: Cluster, canary: str, name: str) -> None:
    """What earlier runs left goes first: nobody waits for it any more."""
    pod = render_control(
        specs.canary_templates(),
        installation_id=settings.INSTALLATION_ID,
        image=specs.canary_image(),
        name=name,
        targets=specs.control_targets(cluster, canary),
    )
    cluster.delete_controls(canary_namespace(settings.INSTALLATION_ID), keep=name)
    cluster.start_control(pod)


def _canary(cluster: Cluster) -> str:
    """Where it answers. It is made, or brought up to date, if it does not."""
    objects, spec_hash = render_canary(
        specs.canary_templates(), installation_id=settings.INSTALLATION_ID, image=specs.canary_image()
    )
    found = cluster.canary(canary_namespace(settings.INSTALLATION_ID), spec_hash)
    if found.address:
        return found.address
    cluster.make_canary(objects)
    raise CanaryError(f"The canary does not answer yet: {found.message}.", retry_after=0.5)


def _keep(name: str, state: State, control: Control) -> None:
    """The run has ended: what it saw takes the place of the one before."""
    new = {
        "canary": state["canary"],
        "pod": control.pod,
        "started_at": control.started_at,
        "finished_at": control.finished_at,
        "read_at": clock.now().isoformat(),
        "results": [list(astuple(answer)) for answer in control.answers],
    }
    _replace(name, state, new)
