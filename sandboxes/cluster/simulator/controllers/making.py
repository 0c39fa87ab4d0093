"""What the controllers that make pods have in common."""

import hashlib
import json
from collections.abc import Callable
from typing import Any, Final

from sandboxes.cluster.simulator.objects import Objects, timestamp
from sandboxes.cluster.simulator.resources import Resource
from sandboxes.cluster.simulator.store import Row

type Json = dict[str, Any]

RETRY_SECONDS: Final = 0.5
_MANAGER: Final = "kube-controller-manager"


class Making:
    """An object's children, and its status. An object being deleted makes none: `leaving`."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def _children(self, row: Row, resource: Resource) -> list[Row]:
        uid = row.data["metadata"]["uid"]
        return [child for child in self._objects.store.dependents(uid) if child.resource is resource]

    def _create(self, owner: Row, resource: Resource, name: str, item: Json) -> None:
        reference = {
            "apiVersion": owner.resource.api_version,
            "kind": owner.resource.kind,
            "name": owner.name,
            "uid": owner.data["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
        names = {"name": name} if name else {"generateName": f"{owner.name}-"}
        metadata = {**item["metadata"], **names, "ownerReferences": [reference]}
        head = {"apiVersion": resource.api_version, "kind": resource.kind, **item, "metadata": metadata}
        self._objects.create(resource, owner.namespace, head, manager=_MANAGER)

    def _delete(self, child: Row) -> None:
        self._objects.delete(child.resource, child.namespace, child.name, {})

    def _status(self, row: Row, change: Callable[[Json], None]) -> None:
        self._objects.change_status(row.resource, row.namespace, row.name, change)


def leaving(row: Row) -> bool:
    """Whether it is being deleted."""
    return "deletionTimestamp" in row.data["metadata"]


def digest(template: Json) -> str:
    """What tells one template from another."""
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]


def pod_of(template: Json) -> Json:
    """The pod that a template describes."""
    metadata = {key: template.get("metadata", {}).get(key, {}) for key in ("labels", "annotations")}
    return {"metadata": metadata, "spec": template["spec"]}


def is_ready(pod: Json) -> bool:
    """Whether its Ready condition says so."""
    conditions = pod["status"].get("conditions") or ()
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def condition(kind: str, status: str, reason: str, message: str) -> Json:
    """A condition as of now."""
    fields = {"type": kind, "status": status, "reason": reason, "message": message}
    return {**fields, "lastTransitionTime": timestamp()}
