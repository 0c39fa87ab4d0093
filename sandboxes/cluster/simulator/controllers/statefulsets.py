"""Stateful sets: pods whose names are known beforehand, so that a new one waits until the old one is gone.

As in kubernetes/pkg/controller/statefulset: nothing but events says that a pod was
refused, and with `podManagementPolicy: OrderedReady` a pod that never becomes ready
holds everything up, its own replacement too.
"""

from typing import Any, Final

from sandboxes.cluster.simulator.controllers.making import (
    RETRY_SECONDS,
    Making,
    digest,
    is_ready,
    leaving,
    pod_of,
)
from sandboxes.cluster.simulator.errors import ApiError
from sandboxes.cluster.simulator.podspec import FINISHED
from sandboxes.cluster.simulator.resources import PODS
from sandboxes.cluster.simulator.store import Row

type Json = dict[str, Any]

_REVISION: Final = "controller-revision-hash"
_COUNTS: Final = ("readyReplicas", "currentReplicas", "updatedReplicas")


class StatefulSets(Making):
    """The stateful set controller. It adopts no pods of others: a name that is taken stays taken."""

    def reconcile(self, row: Row) -> float | None:
        """One set, one step: every change of its pods brings it here again."""
        if leaving(row):
            return None
        revision = f"{row.name}-{digest(row.data['spec']['template'])}"
        again = None
        try:
            self._step(row, revision)
        except ApiError:  # refused: tried again, and told by an event, of which there are none here
            again = RETRY_SECONDS
        pods = self._children(row, PODS)
        self._status(row, lambda status: _describe(status, row.data, pods, revision))
        return again

    def _step(self, row: Row, revision: str) -> None:
        spec = row.data["spec"]
        ordered = spec["podManagementPolicy"] == "OrderedReady"
        pods = {pod.name: pod for pod in self._children(row, PODS)}
        names = [f"{row.name}-{number}" for number in range(spec["replicas"])]
        for name in names:
            pod = pods.get(name)
            if pod is None:
                self._create(row, PODS, name, _pod(spec, name, revision))
            elif pod.data["status"]["phase"] in FINISHED and not leaving(pod):
                self._delete(pod)
            if ordered and (pod is None or not _is_healthy(pod)):
                return
        for name in sorted(pods.keys() - set(names), reverse=True):
            if not leaving(pods[name]):
                self._delete(pods[name])
            if ordered:
                return
        if spec["updateStrategy"]["type"] == "RollingUpdate":
            self._replace_one([pods.get(name) for name in names], revision)

    def _replace_one(self, pods: list[Row | None], revision: str) -> None:
        """The last pod of an older template goes first, and the next one when that is well again."""
        for pod in reversed(pods):
            if pod is None:
                return
            if pod.data["metadata"]["labels"].get(_REVISION) != revision and not leaving(pod):
                self._delete(pod)
                return
            if not _is_healthy(pod):
                return


def _pod(spec: Json, name: str, revision: str) -> Json:
    item = pod_of(spec["template"])
    ours = {
        _REVISION: revision,
        "statefulset.kubernetes.io/pod-name": name,
        "apps.kubernetes.io/pod-index": name.rpartition("-")[2],
    }
    labels = {**item["metadata"]["labels"], **ours}
    subdomain = {"subdomain": spec["serviceName"]} if spec.get("serviceName") else {}
    return {
        "metadata": {**item["metadata"], "labels": labels},
        "spec": {**item["spec"], "hostname": name, **subdomain},
    }


def _is_healthy(pod: Row) -> bool:
    return is_ready(pod.data) and not leaving(pod)


def _describe(status: Json, owner: Json, pods: list[Row], revision: str) -> None:
    """Pods on their way out still count as there, and as ready, but for no revision any more."""
    revisions = [pod.data["metadata"]["labels"].get(_REVISION) for pod in pods if not leaving(pod)]
    ready = sum(is_ready(pod.data) for pod in pods)
    before = status.get("currentRevision", revision)
    done = len(pods) == ready == revisions.count(revision) == owner["spec"]["replicas"]
    current = revision if done else before
    status.update(
        observedGeneration=owner["metadata"]["generation"],
        replicas=len(pods),
        availableReplicas=ready,
        readyReplicas=ready,
        currentReplicas=revisions.count(current),
        updatedReplicas=revisions.count(revision),
        currentRevision=current,
        updateRevision=revision,
        collisionCount=0,
    )
    for field in _COUNTS:  # the API leaves these out when they are zero
        if not status[field]:
            del status[field]
