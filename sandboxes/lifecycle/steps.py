"""What the reconciler does in each phase: look at the present, take one step, say when to look again.

Every step may be cut off at any line and run again: intent is in the row before
the cluster is touched, names are deterministic, applying is idempotent, and
phases move by compare-and-set. A step returns how long to wait, or None when
the phase moved or there is nothing more to do.
"""

import time
from datetime import timedelta
from typing import Final

from django.conf import settings

from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.names import sandbox_name
from sandboxes.cluster.render import Rendered
from sandboxes.cluster.spec import KubeObject
from sandboxes.errors import PermanentError
from sandboxes.lifecycle import (
    clusters,
    cutting,
    honeytokens,
    isolation,
    proving,
    quota,
    sleeping,
    specs,
    teardown,
    upkeep,
)
from sandboxes.lifecycle.deadline import check_deadline
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.moves import move, start_ending
from sandboxes.lifecycle.phases import LIVE, Phase
from sandboxes.lifecycle.steplog import step

SOON: Final = timedelta(milliseconds=250)
_LOOK_EVERY: Final = 0.05  # seconds, at what usually is there within a moment
_LOOK_FOR: Final = 1.0
_OF_THE_ACTIVE: Final = LIVE - {Phase.ISOLATED}
_COUNTED: Final = frozenset({"ResourceQuota", "LimitRange"})


def take(sandbox: Sandbox) -> timedelta | None:
    """One step for this sandbox in the phase it is in."""
    if sandbox.phase in _OF_THE_ACTIVE and not sandbox.owner.is_active:
        # Disabling does this too; a row that got here in between is caught by looking at it.
        isolation.isolate(sandbox.pk, by=None, reason=isolation.OWNER_DISABLED)
        return None
    match Phase(sandbox.phase):
        case Phase.PENDING:
            _name(sandbox)
            return None
        case Phase.PROVISIONING:
            return _provision(sandbox)
        case Phase.PROBING:
            return proving.take(sandbox)
        case Phase.READY:
            return upkeep.take(sandbox)
        case Phase.HIBERNATED:
            return sleeping.take(sandbox)
        case Phase.ISOLATED:
            return cutting.take(sandbox)
        case Phase.ENDING | Phase.STUCK:
            return teardown.take(sandbox)
        case _:
            return None


def _name(sandbox: Sandbox) -> None:
    """Writes down what will be created before anything is."""
    if sandbox.profile not in specs.templates().profiles:
        start_ending(sandbox, reason="failed", failure=f"There is no profile {sandbox.profile!r} any more.")
        return
    quota.recheck(sandbox)
    name = sandbox_name(
        sandbox.owner.get_username(), sandbox.profile, sandbox.pk, installation_id=settings.INSTALLATION_ID
    )
    simulated = specs.facts(clusters.get(sandbox.cluster)).simulated
    move(
        sandbox, Phase.PROVISIONING, data={"namespace": name}, name=name, namespace=name, simulated=simulated
    )


def _provision(sandbox: Sandbox) -> timedelta | None:
    """Namespace, quota, policies, settings; then workspace and probe, which nobody can reach yet."""
    check_deadline(sandbox)
    cluster = clusters.get(sandbox.cluster)
    proving.prepare(sandbox.cluster)
    rendered = specs.rendered(sandbox, cluster)
    with step(sandbox, "namespace"):
        _make_namespace(sandbox, cluster, rendered.seal[0])
    _seal(sandbox, cluster, rendered)
    with step(sandbox, "quota in force") as attempt:
        if not _soon_ready(sandbox, cluster):
            attempt.wait()
            return SOON
    with step(sandbox, "workspace"):
        cluster.apply(rendered.workspace)
    with step(sandbox, "starting the test"):
        cluster.start_probe(rendered.probe)
    move(sandbox, Phase.PROBING, spec_hash=rendered.spec_hash)
    return None


def _seal(sandbox: Sandbox, cluster: Cluster, rendered: Rendered) -> None:
    """Everything of the seal but the namespace, in the order of the templates; one line of the log for each part."""
    parts: dict[str, list[KubeObject]] = {"quota": [], "policies": [], "settings": []}
    for item in rendered.seal[1:]:
        parts[_part(item["kind"])].append(item)
    honeytokens.plant(sandbox)
    for name, objects in parts.items():
        with step(sandbox, name):
            cluster.apply(objects)


def _part(kind: str) -> str:
    if kind in _COUNTED:
        return "quota"
    return "policies" if kind == "NetworkPolicy" else "settings"


def _soon_ready(sandbox: Sandbox, cluster: Cluster) -> bool:
    """The quota's controller is usually done by now: cheaper to look twice than to apply everything again."""
    until = time.monotonic() + _LOOK_FOR
    while not cluster.quota_ready(sandbox.namespace or ""):
        if time.monotonic() > until:
            return False
        time.sleep(_LOOK_EVERY)
    return True


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


def fail(sandbox: Sandbox, error: PermanentError) -> bool:
    """A permanent error ends a provision, with the reason; anything later stays and is tried again."""
    if sandbox.phase in (Phase.PENDING, Phase.PROVISIONING, Phase.PROBING) and sandbox.expires_at is None:
        return start_ending(sandbox, reason="failed", failure=str(error))
    return False
