"""Deployments, replica sets, stateful sets and jobs: they make pods, and say how it went."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

from sandboxes.cluster.simulator.errors import ApiError
from sandboxes.cluster.simulator.objects import Objects, timestamp
from sandboxes.cluster.simulator.podspec import FINISHED
from sandboxes.cluster.simulator.resources import (
    DEPLOYMENTS,
    JOBS,
    PODS,
    REPLICA_SETS,
    STATEFUL_SETS,
    Resource,
)
from sandboxes.cluster.simulator.store import Row

type Json = dict[str, Any]

_MANAGER = "kube-controller-manager"
_RETRY_SECONDS = 0.5


class Workloads:
    """The workload controllers. An object being deleted is left alone."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def deployment(self, row: Row) -> float | None:
        """A replica set for the present template; older ones go (strategy Recreate)."""
        if "deletionTimestamp" in row.data["metadata"]:
            return None
        template = row.data["spec"]["template"]
        digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]
        name = f"{row.name}-{digest}"
        for child in self._children(row, REPLICA_SETS):
            if child.name != name and "deletionTimestamp" not in child.data["metadata"]:
                self._objects.delete(REPLICA_SETS, row.namespace, child.name, {})
        current = self._objects.store.get(REPLICA_SETS, row.namespace, name)
        if current is None:
            self._create(row, REPLICA_SETS, name, _replica_set(row.data, digest))
        elif current.data["spec"]["replicas"] != row.data["spec"]["replicas"]:
            replicas = row.data["spec"]["replicas"]
            self._objects.change(current, lambda item: item["spec"].update(replicas=replicas))
        state = current.data.get("status", {}) if current else {}
        self._status(DEPLOYMENTS, row, lambda status: _deployment_status(status, row.data, state))
        return None

    def replica_set(self, row: Row) -> float | None:
        """As many pods as asked for. A refusal becomes the ReplicaFailure condition."""
        if "deletionTimestamp" in row.data["metadata"]:
            return None
        pods = [pod for pod in self._children(row, PODS) if pod.data["status"]["phase"] not in FINISHED]
        alive = [pod for pod in pods if "deletionTimestamp" not in pod.data["metadata"]]
        wanted = row.data["spec"]["replicas"]
        for pod in alive[wanted:]:
            self._objects.delete(PODS, row.namespace, pod.name, {})
        failure = self._add_pods(row, wanted - len(alive))
        self._status(REPLICA_SETS, row, lambda status: _replica_status(status, row.data, alive, failure))
        return _RETRY_SECONDS if failure else None

    def stateful_set(self, row: Row) -> float | None:
        """Numbered pods, one after the other is not simulated."""
        if "deletionTimestamp" in row.data["metadata"]:
            return None
        pods = {pod.name: pod for pod in self._children(row, PODS)}
        for number in range(row.data["spec"]["replicas"]):
            name = f"{row.name}-{number}"
            if name not in pods:
                self._create(row, PODS, name, _pod(row.data["spec"]["template"]))
        alive = [pod for pod in pods.values() if "deletionTimestamp" not in pod.data["metadata"]]
        self._status(STATEFUL_SETS, row, lambda status: _replica_status(status, row.data, alive, None))
        return None

    def job(self, row: Row) -> float | None:
        """One pod, and whether it succeeded."""
        if "deletionTimestamp" in row.data["metadata"]:
            return None
        pods = self._children(row, PODS)
        if not pods:
            self._create(row, PODS, f"{row.name}-0", _pod(row.data["spec"]["template"]))
        phases = [pod.data["status"]["phase"] for pod in pods]

        def change(status: Json) -> None:
            status.update(succeeded=phases.count("Succeeded"), failed=phases.count("Failed"))
            status["active"] = len(phases) - status["succeeded"] - status["failed"]
            if status["succeeded"] and not status.get("conditions"):
                status["conditions"] = [_condition("Complete", "True", "CompletionsReached", "")]

        self._status(JOBS, row, change)
        return None

    def _add_pods(self, row: Row, count: int) -> str | None:
        for _ in range(count):
            try:
                self._create(row, PODS, "", _pod(row.data["spec"]["template"]))
            except ApiError as error:
                return error.message
        return None

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

    def _status(self, resource: Resource, row: Row, change: Callable[[Json], None]) -> None:
        self._objects.change_status(resource, row.namespace, row.name, change)


def _replica_set(deployment: Json, digest: str) -> Json:
    spec, template = deployment["spec"], deployment["spec"]["template"]
    labels = {**template["metadata"]["labels"], "pod-template-hash": digest}
    selector = {"matchLabels": {**spec["selector"]["matchLabels"], "pod-template-hash": digest}}
    return {
        "metadata": {"labels": labels},
        "spec": {
            "replicas": spec["replicas"],
            "selector": selector,
            "template": {**template, "metadata": {**template["metadata"], "labels": labels}},
        },
    }


def _pod(template: Json) -> Json:
    metadata = {key: template.get("metadata", {}).get(key, {}) for key in ("labels", "annotations")}
    return {"metadata": metadata, "spec": template["spec"]}


def _replica_status(status: Json, owner: Json, pods: list[Row], failure: str | None) -> None:
    ready = sum(1 for pod in pods if _is_ready(pod.data))
    status.update(
        observedGeneration=owner["metadata"]["generation"],
        replicas=len(pods),
        updatedReplicas=len(pods),
        readyReplicas=ready,
        availableReplicas=ready,
    )
    old = next(iter(status.pop("conditions", [])), None)
    if failure:
        new = _condition("ReplicaFailure", "True", "FailedCreate", failure)
        same = old is not None and old["message"] == failure
        status["conditions"] = [old if same else new]


def _deployment_status(status: Json, deployment: Json, replica_set: Json) -> None:
    for field in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"):
        status[field] = replica_set.get(field, 0)
    status["observedGeneration"] = deployment["metadata"]["generation"]
    available = status["readyReplicas"] >= deployment["spec"]["replicas"]
    kind = "MinimumReplicasAvailable" if available else "MinimumReplicasUnavailable"
    conditions = [_condition("Available", str(available), kind, ""), *replica_set.get("conditions", ())]
    known = {(item["type"], item["status"], item["message"]): item for item in status.get("conditions", ())}
    status["conditions"] = [
        known.get((item["type"], item["status"], item["message"]), item) for item in conditions
    ]


def _is_ready(pod: Json) -> bool:
    conditions = pod["status"].get("conditions") or ()
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def _condition(kind: str, status: str, reason: str, message: str) -> Json:
    fields = {"type": kind, "status": status, "reason": reason, "message": message}
    return {**fields, "lastTransitionTime": timestamp()}
