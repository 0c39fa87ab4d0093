"""Deployments, replica sets and jobs: they make pods of any name, and say how it went."""

from typing import Any

from sandboxes.cluster.simulator.controllers.making import (
    RETRY_SECONDS,
    Making,
    condition,
    digest,
    is_ready,
    leaving,
    pod_of,
)
from sandboxes.cluster.simulator.errors import ApiError
from sandboxes.cluster.simulator.podspec import FINISHED
from sandboxes.cluster.simulator.resources import PODS, REPLICA_SETS
from sandboxes.cluster.simulator.store import Row

type Json = dict[str, Any]


class Workloads(Making):
    """The workload controllers. An object being deleted is left alone."""

    def deployment(self, row: Row) -> float | None:
        """A replica set for the present template; older ones go (strategy Recreate)."""
        if leaving(row):
            return None
        revision = digest(row.data["spec"]["template"])
        name = f"{row.name}-{revision}"
        for child in self._children(row, REPLICA_SETS):
            if child.name != name and not leaving(child):
                self._delete(child)
        current = self._objects.store.get(REPLICA_SETS, row.namespace, name)
        if current is None:
            self._create(row, REPLICA_SETS, name, _replica_set(row.data, revision))
        elif current.data["spec"]["replicas"] != row.data["spec"]["replicas"]:
            replicas = row.data["spec"]["replicas"]
            self._objects.change(current, lambda item: item["spec"].update(replicas=replicas))
        state = current.data.get("status", {}) if current else {}
        self._status(row, lambda status: _deployment_status(status, row.data, state))
        return None

    def replica_set(self, row: Row) -> float | None:
        """As many pods as asked for. A refusal becomes the ReplicaFailure condition."""
        if leaving(row):
            return None
        pods = [pod for pod in self._children(row, PODS) if pod.data["status"]["phase"] not in FINISHED]
        alive = [pod for pod in pods if not leaving(pod)]
        wanted = row.data["spec"]["replicas"]
        for pod in alive[wanted:]:
            self._delete(pod)
        failure = self._add_pods(row, wanted - len(alive))
        self._status(row, lambda status: _replica_status(status, row.data, alive, failure))
        return RETRY_SECONDS if failure else None

    def job(self, row: Row) -> float | None:
        """One pod, and whether it succeeded."""
        if leaving(row):
            return None
        pods = self._children(row, PODS)
        if not pods:
            self._create(row, PODS, f"{row.name}-0", pod_of(row.data["spec"]["template"]))
        phases = [pod.data["status"]["phase"] for pod in pods]

        def change(status: Json) -> None:
            status.update(succeeded=phases.count("Succeeded"), failed=phases.count("Failed"))
            status["active"] = len(phases) - status["succeeded"] - status["failed"]
            if status["succeeded"] and not status.get("conditions"):
                status["conditions"] = [condition("Complete", "True", "CompletionsReached", "")]

        self._status(row, change)
        return None

    def _add_pods(self, row: Row, count: int) -> str | None:
        for _ in range(count):
            try:
                self._create(row, PODS, "", pod_of(row.data["spec"]["template"]))
            except ApiError as error:
                return error.message
        return None


def _replica_set(deployment: Json, revision: str) -> Json:
    spec, template = deployment["spec"], deployment["spec"]["template"]
    labels = {**template["metadata"]["labels"], "pod-template-hash": revision}
    selector = {"matchLabels": {**spec["selector"]["matchLabels"], "pod-template-hash": revision}}
    return {
        "metadata": {"labels": labels},
        "spec": {
            "replicas": spec["replicas"],
            "selector": selector,
            "template": {**template, "metadata": {**template["metadata"], "labels": labels}},
        },
    }


def _replica_status(status: Json, owner: Json, pods: list[Row], failure: str | None) -> None:
    ready = sum(1 for pod in pods if is_ready(pod.data))
    status.update(
        observedGeneration=owner["metadata"]["generation"],
        replicas=len(pods),
        updatedReplicas=len(pods),
        readyReplicas=ready,
        availableReplicas=ready,
    )
    old = next(iter(status.pop("conditions", [])), None)
    if failure:
        new = condition("ReplicaFailure", "True", "FailedCreate", failure)
        same = old is not None and old["message"] == failure
        status["conditions"] = [old if same else new]


def _deployment_status(status: Json, deployment: Json, replica_set: Json) -> None:
    for field in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"):
        status[field] = replica_set.get(field, 0)
    status["observedGeneration"] = deployment["metadata"]["generation"]
    available = status["readyReplicas"] >= deployment["spec"]["replicas"]
    kind = "MinimumReplicasAvailable" if available else "MinimumReplicasUnavailable"
    conditions = [condition("Available", str(available), kind, ""), *replica_set.get("conditions", ())]
    known = {(item["type"], item["status"], item["message"]): item for item in status.get("conditions", ())}
    status["conditions"] = [
        known.get((item["type"], item["status"], item["message"]), item) for item in conditions
    ]
