"""The life of a namespace: what every new one gets, and how it ends.

Deletion waits a moment (as a busy cluster does), then removes pods before
everything else (KEP-5080), and ends only when nothing is left and no finalizer
holds it. What blocks it stands in its conditions.
"""

import time
from collections import Counter
from typing import Any

from sandboxes.cluster.simulator.objects import Objects, timestamp
from sandboxes.cluster.simulator.resources import CONFIG_MAPS, NAMESPACES, PODS, SERVICE_ACCOUNTS, Resource
from sandboxes.cluster.simulator.store import Row

type Json = dict[str, Any]

_MANAGER = "kube-controller-manager"
_POLL_SECONDS = 0.2


class Namespaces:
    """The namespace controller."""

    def __init__(self, objects: Objects, *, delete_seconds: float) -> None:
        self._objects = objects
        self._delete_seconds = delete_seconds

    def reconcile(self, row: Row) -> float | None:
        """One namespace."""
        if row.deleted is None:
            self._furnish(row.name)
            return None
        wait = row.deleted + self._delete_seconds - time.time()
        if wait > 0:
            return wait
        left = self._empty(row.name)
        self._objects.change_status(NAMESPACES, "", row.name, lambda status: _describe(status, left))
        if left:
            return _POLL_SECONDS
        current = self._objects.get(NAMESPACES, "", row.name)
        self._objects.change(current, lambda item: item["spec"].update(finalizers=[]))
        return None

    def _furnish(self, name: str) -> None:
        """The service account and the CA bundle that pods expect."""
        self._ensure(SERVICE_ACCOUNTS, name, {"metadata": {"name": "default"}})
        certificate = {"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": ""}}
        self._ensure(CONFIG_MAPS, name, certificate)

    def _ensure(self, resource: Resource, namespace: str, item: Json) -> None:
        if self._objects.store.get(resource, namespace, item["metadata"]["name"]) is None:
            head = {"apiVersion": resource.api_version, "kind": resource.kind}
            self._objects.create(resource, namespace, {**head, **item}, manager=_MANAGER)

    def _empty(self, name: str) -> list[Row]:
        """Delete what can be deleted; what is still there."""
        contents = self._objects.store.contents(name)
        pods = [row for row in contents if row.resource is PODS]
        for row in pods or contents:
            if "deletionTimestamp" not in row.data["metadata"]:
                self._objects.delete(row.resource, name, row.name, {})
        return self._objects.store.contents(name)


def _describe(status: Json, left: list[Row]) -> None:
    """The five conditions of a namespace that is being deleted (core/v1 NamespaceCondition)."""
    kinds = Counter(row.resource.qualified for row in left)
    holders = Counter(name for row in left for name in row.data["metadata"].get("finalizers") or ())
    remaining = ", ".join(f"{kind} has {count} resource instances" for kind, count in sorted(kinds.items()))
    held = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(holders.items()))
    fine = "All content successfully removed"
    status["conditions"] = [
        _condition(status, "NamespaceDeletionDiscoveryFailure", "", "ResourcesDiscovered", "All discovered"),
        _condition(
            status, "NamespaceDeletionGroupVersionParsingFailure", "", "ParsedGroupVersions", "All parsed"
        ),
        _condition(status, "NamespaceDeletionContentFailure", "", "ContentDeleted", "All content deleted"),
        _condition(
            status,
            "NamespaceContentRemaining",
            remaining and f"Some resources are remaining: {remaining}",
            "SomeResourcesRemain" if left else "ContentRemoved",
            fine,
        ),
        _condition(
            status,
            "NamespaceFinalizersRemaining",
            held and f"Some content in the namespace has finalizers remaining: {held}",
            "SomeFinalizersRemain" if held else "ContentHasNoFinalizers",
            fine,
        ),
    ]


def _condition(status: Json, kind: str, problem: str, reason: str, otherwise: str) -> Json:
    """A condition whose time moves only when it changes, so that looking again writes nothing."""
    new = {
        "type": kind,
        "status": "True" if problem else "False",
        "reason": reason,
        "message": problem or otherwise,
    }
    for old in status.get("conditions") or ():
        if {key: old[key] for key in new} == new:
            return {**new, "lastTransitionTime": old["lastTransitionTime"]}
    return {**new, "lastTransitionTime": timestamp()}
