"""What worker and beat do to a sandbox, and what is then in the cluster."""

import time
from collections.abc import Callable

from sandboxes.audit.models import Entry
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.kinds import kind
from sandboxes.cluster.spec import KubeObject
from sandboxes.lifecycle import (
    clock,
    engine,
)
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import Phase

POLICY = kind("networking.k8s.io/v1", "NetworkPolicy")
BINDING = kind("rbac.authorization.k8s.io/v1", "RoleBinding")
SECRET = kind("v1", "Secret")
POD = kind("v1", "Pod")


def until(sandbox: Sandbox, holds: Callable[[Sandbox], object], seconds: float = 20) -> Sandbox:
    """What worker and beat do together, until the row says so."""
    deadline = time.monotonic() + seconds
    while True:
        sandbox.refresh_from_db()
        if holds(sandbox):
            return sandbox
        assert time.monotonic() < deadline, f"still {sandbox.phase}: {sandbox.last_error or sandbox.failure}"
        engine.sweep()
        time.sleep(0.05)


def is_in(*phases: Phase) -> Callable[[Sandbox], bool]:
    return lambda sandbox: sandbox.phase in phases


def look(sandbox: Sandbox) -> None:
    """Makes it due, and lets a worker look once."""
    Sandbox.objects.filter(pk=sandbox.pk).update(next_check_at=clock.now())
    engine.sweep()
    sandbox.refresh_from_db()


def names(cluster: Cluster, sandbox: Sandbox, what: object) -> list[str]:
    found = cluster._api.list(what, sandbox.namespace)  # type: ignore[arg-type]
    return sorted(item["metadata"]["name"] for item in found)


def pods(cluster: Cluster, sandbox: Sandbox) -> list[KubeObject]:
    return list(cluster._api.list(POD, sandbox.namespace))


def actions(sandbox: Sandbox) -> list[str]:
    rows = Entry.objects.filter(subject=f"sandbox:{sandbox.pk}").order_by("id")
    return [action.removeprefix("sandbox.") for action in rows.values_list("action", flat=True)]


def bind(cluster: Cluster, sandbox: Sandbox) -> None:
    """A binding that somebody else made, without any label of ours."""
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"}
    who = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "mallory"}
    foreign = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "back-door", "namespace": sandbox.namespace},
        "roleRef": role,
        "subjects": [who],
    }
    cluster._api.create(BINDING.collection(sandbox.namespace), foreign)
