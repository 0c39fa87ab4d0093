"""A throw-away sandbox, made to see whether this cluster could hold a real one, and taken away again.

It is made of the very objects that sandboxes are made of. Its namespace is labelled as part of
the canary's household, which nobody takes for an orphan. Its seal is judged as any sandbox's
is: by its probe beside a run of the canary's control (`controls`, `verdict`). What an earlier
trial left behind, because its process was killed, is removed first.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from django.conf import settings
from django.contrib.auth import get_user_model

from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.observe import ProbeLostError
from sandboxes.cluster.quantities import parse_quantity
from sandboxes.cluster.render import Rendered
from sandboxes.cluster.spec import Control, Labels, ProbeResult
from sandboxes.cluster.verdict import Outcome, Verdict, judge
from sandboxes.errors import PetridishError, TemporaryError
from sandboxes.lifecycle import controls, specs
from sandboxes.lifecycle.controls import OutdatedRunError
from sandboxes.lifecycle.models import Sandbox

_PREFIX: Final = "petridish-check"
_CHECK: Final = "check"  # of the canary's label, which says "true" on the canary itself
_NUMBER: Final = 0  # no sandbox's, and no token is its
_STALE: Final = 1800  # seconds after which an earlier trial is not under way any more
_TICK: Final = 0.25
_QUOTA_SECONDS: Final = 20.0
_PODS_SECONDS: Final = 150.0  # an image may have to be pulled
_GONE_SECONDS: Final = 120.0
_RUNS: Final = 3  # a probe that was lost, or whose control proved nothing, runs again
_NOBODY: Final = Control("", "", "", ())


@dataclass
class Seen:
    """What the trial came to. None means that it did not get that far."""

    quota: bool | None = None
    started: bool | None = None
    workspace: str = ""  # why it does not start; "" when it does
    verdict: Verdict | None = None
    gone: bool | None = None
    trouble: list[str] = field(default_factory=list)

    @property
    def sealed(self) -> bool | None:
        """Whether network policies were seen to hold; None if nobody could tell."""
        if self.verdict is None or self.verdict.outcome in (Outcome.UNUSABLE, Outcome.UNPROVEN):
            return None
        return self.verdict.outcome == Outcome.HOLDS


def run(cluster: Cluster) -> Seen:
    """One trial, seconds to minutes long. What the cluster does not do is in `trouble`, and nothing is left."""
    seen = Seen()
    with _noted(seen):
        _remove_earlier(cluster)
        _wait_for_canary(cluster)
        name = f"{_PREFIX}-{int(time.time())}-{secrets.token_hex(3)}"
        uid = cluster.ensure_namespace(_rendered(cluster, name).seal[0])
        try:
            with _noted(seen):
                _try_out(cluster, name, seen)
        finally:
            seen.gone = False
            _remove(cluster, name, uid)
            seen.gone = _until(lambda: cluster.namespace(name) is None, _GONE_SECONDS)
    return seen


def _try_out(cluster: Cluster, name: str, seen: Seen) -> None:
    rendered = _rendered(cluster, name)
    cluster.apply(rendered.seal[1:])
    seen.quota = _until(lambda: cluster.quota_ready(name), _QUOTA_SECONDS)
    if not seen.quota:
        return
    cluster.apply(rendered.workspace)
    deadline = time.monotonic() + _PODS_SECONDS
    while time.monotonic() < deadline:
        state = cluster.workspace(name)
        seen.started, seen.workspace = state.ready, "" if state.ready else state.message
        if state.ready or state.failed:
            break
        time.sleep(_TICK)
    for _ in range(_RUNS if seen.started else 0):  # what keeps the workspace keeps the probe
        seen.verdict = _prove(cluster, name)
        if seen.sealed is not None:
            break


def _prove(cluster: Cluster, name: str) -> Verdict | None:
    """One run of the probe, judged; None if it has to be made again."""
    cluster.delete_probe(name)
    _patiently(lambda: cluster.start_probe(_rendered(cluster, name).probe))
    try:
        result: ProbeResult = _result(lambda: cluster.probe(name), "The probe")
        verdict = judge(result, _NOBODY)
        if verdict.outcome in (
            Outcome.OPEN,
            Outcome.UNUSABLE,
        ):  # it speaks for itself: no control is waited for
            return verdict
        control: Control = _result(lambda: controls.of_the_same_run(cluster, result), "The canary's control")
    except (ProbeLostError, OutdatedRunError):
        return None
    verdict = judge(result, control)
    if verdict.outcome == Outcome.UNPROVEN:
        controls.discard(cluster.name, control)
    return verdict


def _wait_for_canary(cluster: Cluster) -> None:
    """Until it answers somewhere; if it never does, the proof will say why."""

    def answers() -> bool:
        controls.prepare(cluster.name)
        return bool(specs.canary_address(cluster.name))

    _until(answers, _PODS_SECONDS, every=1.0)  # each look that fails is a line in the log


def _rendered(cluster: Cluster, name: str) -> Rendered:
    """The smallest profile's objects, in a namespace that says what it is."""
    profiles = specs.templates().profiles.values()
    profile = min(profiles, key=lambda one: (one.gpu, parse_quantity(one.memory)))
    owner = get_user_model()(username=_PREFIX)
    sandbox = Sandbox(
        pk=_NUMBER, name=name, namespace=name, owner=owner, profile=profile.name, cluster=cluster.name
    )
    rendered = specs.rendered(sandbox, cluster)
    rendered.seal[0]["metadata"]["labels"][Labels.CANARY] = _CHECK
    return rendered


# ---- taking it away


def _remove(cluster: Cluster, name: str, uid: str) -> None:
    """As a teardown does: what runs first, the policies with the namespace, and that by its uid."""
    _patiently(lambda: cluster.delete_workloads(name))
    _until(lambda: not cluster.pods_left(name), _GONE_SECONDS)
    _patiently(lambda: cluster.delete_namespace(name, uid))


def _remove_earlier(cluster: Cluster) -> None:
    """Only those that are too old to be under way."""
    for state in cluster.namespaces(settings.INSTALLATION_ID):
        if state.labels.get(Labels.CANARY) != _CHECK or state.phase != "Active":
            continue
        began = state.name.removeprefix(f"{_PREFIX}-").partition("-")[0]
        if not began.isdecimal() or time.time() - int(began) > _STALE:
            _remove(cluster, state.name, state.uid)


# ---- waiting


@contextmanager
def _noted(seen: Seen) -> Iterator[None]:
    """An error ends this part of the trial, and is what it found."""
    try:
        yield
    except PetridishError as error:
        seen.trouble.append(str(error))


def _until(holds: Callable[[], bool], seconds: float, every: float = _TICK) -> bool:
    """Whether it came to hold; a cluster that does not answer for a moment is asked again."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if holds():
                return True
        except TemporaryError:
            if time.monotonic() > deadline:
                raise
        if time.monotonic() > deadline:
            return False
        time.sleep(every)


def _patiently(act: Callable[[], object]) -> None:
    """Again while that may help, for a while."""

    def did() -> bool:
        act()
        return True

    _until(did, _GONE_SECONDS)


def _result[T](look: Callable[[], T | None], what: str) -> T:
    """What `look` finds in the end; TemporaryError, with the newest trouble, if it is nothing."""
    deadline, trouble = time.monotonic() + _PODS_SECONDS, "it does not end"
    while time.monotonic() < deadline:
        try:
            if (found := look()) is not None:
                return found
        except (ProbeLostError, OutdatedRunError):
            raise
        except TemporaryError as error:
            trouble = str(error)
        time.sleep(_TICK)
    raise TemporaryError(f"{what} gave no result: {trouble}")
