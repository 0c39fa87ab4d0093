"""The cluster driver: apply, observe, probe and delete sandboxes on one cluster.

The driver remembers nothing. Every method may be called twice, and every method
that destroys looks at labels (and the namespace's UID) first, because deleting is
the dangerous operation. A full paged list is the truth; no watch is used.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from sandboxes.cluster import counting
from sandboxes.cluster.api import Api, StatusRefusedError
from sandboxes.cluster.entering import Entering
from sandboxes.cluster.freezing import Freezing
from sandboxes.cluster.keeping import Keeping
from sandboxes.cluster.kinds import (
    KINDS,
    NAMESPACE,
    NODE,
    Kind,
    kind,
)
from sandboxes.cluster.observe import namespace_state, workspace_state
from sandboxes.cluster.pacing import Pacer
from sandboxes.cluster.probing import Probing
from sandboxes.cluster.remains import Existing, Remains
from sandboxes.cluster.spec import (
    ClusterInfo,
    KubeObject,
    Labels,
    NamespaceState,
    WorkspaceState,
)
from sandboxes.cluster.tending import Activity, Tending, Volume
from sandboxes.errors import ClusterRefusedError, ClusterUnavailableError, InvalidInputError

SIMULATED_MARK: Final = "petridish-simulated"
_POD_GRACE_SECONDS: Final = 2

_DEPLOYMENT: Final = kind("apps/v1", "Deployment")
_STATEFUL_SET: Final = kind("apps/v1", "StatefulSet")
_REPLICA_SET: Final = kind("apps/v1", "ReplicaSet")
_JOB: Final = kind("batch/v1", "Job")
_POD: Final = kind("v1", "Pod")
_SECRET: Final = kind("v1", "Secret")
_QUOTA: Final = kind("v1", "ResourceQuota")


def connect(name: str, kubeconfig: str, context: str | None, pacer: Pacer | None = None) -> "Cluster":
    """A driver for the cluster of that kubeconfig, a file of ours. No request is made yet."""
    return Cluster(name, Api.connect(name=name, kubeconfig=kubeconfig, context=context, pacer=pacer))


def connect_text(name: str, text: str, context: str | None, pacer: Pacer | None = None) -> "Cluster":
    """A driver by a kubeconfig that an admin gave: InvalidInputError unless it is only inline data."""
    return Cluster(name, Api.connect_text(name=name, text=text, context=context, pacer=pacer))


def connect_in_cluster(name: str, pacer: Pacer | None = None) -> "Cluster":
    """A driver for the cluster that we run in, as our own service account."""
    return Cluster(name, Api.connect_in_cluster(name=name, pacer=pacer))


def stage_selector(stage: str) -> str:
    """Our own objects of one stage."""
    return f"{Labels.SANDBOX},{Labels.STAGE}={stage}"


class Cluster(Entering, Freezing, Keeping, Probing, Remains, Tending):
    """One cluster. Raises ClusterUnavailableError (try again) and ClusterRefusedError."""

    def __init__(self, name: str, api: Api) -> None:
        self.name = name
        self._api = api
        self._simulated: bool | None = None

    def close(self) -> None:
        """Give the connections back."""
        self._api.close()

    def info(self) -> ClusterInfo:
        """Version and size, by two cheap requests."""
        version = str(self._api.get("/version").get("gitVersion", ""))
        self._simulated = SIMULATED_MARK in version
        page = self._api.get(NODE.collection(), {"limit": "1"})
        nodes = len(page.get("items") or ()) + int(page["metadata"].get("remainingItemCount") or 0)
        return ClusterInfo(version=version, simulated=self._simulated, nodes=nodes)

    # ---- making

    def apply(self, objects: Iterable[KubeObject]) -> None:
        """Server-side apply in the given order; the namespace only if it is ours."""
        for item in objects:
            if item["kind"] == "Namespace":
                self.ensure_namespace(item)
            else:
                metadata = item["metadata"]
                self._apply_whole(self._kind(item).path(metadata["namespace"], metadata["name"]), item)

    def ensure_namespace(self, item: KubeObject) -> str:
        """Create the namespace, or bring ours up to date; its UID.

        A namespace of that name without this sandbox's labels is never adopted:
        creating (not applying) makes the server itself decide who was first.
        """
        try:
            return str(self._api.create(NAMESPACE.collection(), item)["metadata"]["uid"])
        except StatusRefusedError as error:
            if error.status != 409:
                raise
        found = self._api.find(NAMESPACE.path(None, item["metadata"]["name"]))
        if found is None:
            raise ClusterUnavailableError("The namespace just went away; try again.", retry_after=1)
        state = namespace_state(found)
        self._check_same_sandbox(state, item["metadata"]["labels"])
        if state.phase == "Terminating":
            raise ClusterUnavailableError(f"Namespace {state.name} is still being deleted.", retry_after=2)
        self.update_namespace(item, uid=state.uid)
        return state.uid

    def update_namespace(self, item: KubeObject, *, uid: str) -> None:
        """Bring exactly this namespace up to date: the UID in the body makes the server refuse any other.

        Never creates one: applying with the UID of a namespace that is gone is refused too.
        """
        own = {**item, "metadata": {**item["metadata"], "uid": uid}}
        self._api.apply(NAMESPACE.path(None, item["metadata"]["name"]), own)

    # ---- observing

    def namespaces(self, installation_id: str) -> Iterator[NamespaceState]:
        """Every namespace of this installation, Terminating ones included."""
        selector = f"{Labels.INSTALLATION}={installation_id}"
        return map(namespace_state, self._api.list(NAMESPACE, selector=selector))

    def quota_ready(self, namespace: str) -> bool:
        """The quota's controller has seen it: until then it stops every pod."""
        quotas = list(self._api.list(_QUOTA, namespace))
        return bool(quotas) and all(
            quota.get("status", {}).get("hard", {}).keys() >= quota["spec"].get("hard", {}).keys()
            for quota in quotas
        )

    def workspace(self, namespace: str) -> WorkspaceState:
        """Whether the workspace can be entered, and if not, why."""
        selector = stage_selector("workspace")
        deployments, sets = (
            list(self._api.list(workload, namespace, selector)) for workload in (_DEPLOYMENT, _STATEFUL_SET)
        )
        pods = list(self._api.list(_POD, namespace, selector))
        refusals = [] if pods else self._refusals(namespace, sets)
        return workspace_state([*deployments, *sets], pods, self._api.now(), refusals)

    def _refusals(self, namespace: str, sets: Iterable[KubeObject]) -> list[str]:
        """Why the server takes no pod of these stateful sets: they report it nowhere but in events, which expire.

        So the server is asked by a dry run, once their controller has had its turn. A pod that came in
        the meantime has taken the quota's room, and a quota may still count one that is gone: then
        the refusal says nothing.
        """
        waiting = (item for item in sets if item["spec"].get("replicas", 1) and _is_observed(item))
        refusals = [refusal for item in waiting if (refusal := self._refusal(namespace, item))]
        if not refusals:
            return []
        pods = list(self._api.list(_POD, namespace))
        if any(pod["metadata"].get("labels", {}).get(Labels.STAGE) == "workspace" for pod in pods):
            return []
        return [] if counting.is_behind(self._api, namespace) else refusals

    def _refusal(self, namespace: str, item: KubeObject) -> str:
        template, name = item["spec"]["template"], f"{item['metadata']['name']}-0"
        metadata = {"name": name, "labels": template["metadata"].get("labels") or {}}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        try:
            self._api.create(_POD.collection(namespace), pod, dry_run=True)
        except StatusRefusedError as error:
            if error.status == 409:  # it is there by now
                return ""
            return str(error).partition(f"({error.status}): ")[2] or str(error)
        return ""

    # ---- removing

    def delete_workloads(self, namespace: str) -> None:
        """Everything that runs, controllers first, so that nothing is started again.

        The network policies stay until the namespace goes (CVE-2024-7598): see
        `pods_left` before deleting that.
        """
        if not self._ours(namespace):
            return
        for workload in (_DEPLOYMENT, _STATEFUL_SET, _JOB, _REPLICA_SET):
            self._api.delete(workload.collection(namespace), {"propagationPolicy": "Background"})
        self._api.delete(_POD.collection(namespace), {"gracePeriodSeconds": _POD_GRACE_SECONDS})

    def pods_left(self, namespace: str) -> int:
        """How many pods still exist, those being stopped included."""
        return sum(1 for _ in self._api.list(_POD, namespace, partial=True))

    def delete_namespace(self, name: str, uid: str) -> None:
        """Ask for deletion of exactly that namespace; it is gone when `namespace` says None."""
        state = self._exactly(name, uid)
        if state is not None and state.phase == "Active":
            self._api.delete(NAMESPACE.path(None, name), {"preconditions": {"uid": uid}})

    # ---- guards

    @staticmethod
    def _check_same_sandbox(state: NamespaceState, labels: dict[str, str]) -> None:
        for label in (Labels.SANDBOX, Labels.INSTALLATION):
            if state.labels.get(label) != labels[label]:
                raise ClusterRefusedError(
                    f"Namespace {state.name} exists and is not this sandbox's ({label})."
                )

    @staticmethod
    def _kind(item: KubeObject) -> Kind:
        try:
            return KINDS[item["apiVersion"], item["kind"]]
        except KeyError as error:
            raise InvalidInputError(f"A sandbox is not made of {error}.") from error


def _is_observed(item: KubeObject) -> bool:
    """Whether its controller has seen it as it is now."""
    seen = item.get("status", {}).get("observedGeneration", 0)
    return bool(seen >= item["metadata"].get("generation", 1))


__all__ = [
    "SIMULATED_MARK",
    "Activity",
    "Cluster",
    "Existing",
    "Volume",
    "connect",
    "connect_in_cluster",
    "connect_text",
    "stage_selector",
]
