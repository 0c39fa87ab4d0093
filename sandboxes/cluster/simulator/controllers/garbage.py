"""Garbage collection by owner references (kubernetes.io, "Garbage Collection")."""

from typing import Any

from sandboxes.cluster.simulator.objects import Objects
from sandboxes.cluster.simulator.store import Row

_FOREGROUND = "foregroundDeletion"


class Garbage:
    """Deletes objects whose owners are all gone, and dependents before a foreground owner."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def reconcile(self, row: Row) -> float | None:
        """One object, of any kind."""
        metadata = row.data["metadata"]
        owners = metadata.get("ownerReferences") or ()
        store = self._objects.store
        abandoned = owners and not any(store.by_uid(owner["uid"]) for owner in owners)
        if abandoned and "deletionTimestamp" not in metadata:
            self._objects.delete(row.resource, row.namespace, row.name, {})
            return None
        if _FOREGROUND in (metadata.get("finalizers") or ()):
            self._delete_dependents(row)
        return None

    def _delete_dependents(self, row: Row) -> None:
        dependents = self._objects.store.dependents(row.data["metadata"]["uid"])
        for child in dependents:
            if "deletionTimestamp" not in child.data["metadata"]:
                options = {"propagationPolicy": "Foreground"}
                self._objects.delete(child.resource, child.namespace, child.name, options)
        current = self._objects.store.get(row.resource, row.namespace, row.name)
        if current is not None and not self._objects.store.dependents(row.data["metadata"]["uid"]):
            self._objects.change(current, _release)


def _release(item: dict[str, Any]) -> None:
    item["metadata"]["finalizers"] = [name for name in item["metadata"]["finalizers"] if name != _FOREGROUND]
