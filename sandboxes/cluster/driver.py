"""The cluster driver: apply, observe, probe and delete sandboxes on one cluster.

The driver remembers nothing. Every method may be called twice, and every method
that destroys looks at labels (and the namespace's UID) first, because deleting is
the dangerous operation. A full paged list is the truth; no watch is used.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any, Final

from sandboxes.cluster.api import Api, StatusRefusedError
from sandboxes.cluster.kinds import (
    ENDPOINT_SLICE,
    KINDS,
    NAMESPACE,
    NAMESPACED,
    NODE,
    PERSISTENT_VOLUME,
    Kind,
    kind,
)
from sandboxes.cluster.observe import namespace_state, probe_result, workspace_state
from sandboxes.cluster.spec import (
    ClusterInfo,
    KubeObject,
    Labels,
    NamespaceState,
    ProbeResult,
    Target,
    WorkspaceState,
)
from sandboxes.errors import ClusterRefusedError, ClusterUnavailableError, InvalidInputError, TemporaryError

SIMULATED_MARK: Final = "petridish-simulated"
_METADATA_SERVICE: Final = Target("metadata", "169.254.169.254", 80)
_MAX_NODES: Final = 8  # enough evidence; the probe's message has room for thirty targets
_DNS_SERVICE: Final = "k8s-app=kube-dns"  # the label of both kube-dns and CoreDNS
_POD_GRACE_SECONDS: Final = 2

_DEPLOYMENT: Final = kind("apps/v1", "Deployment")
_STATEFUL_SET: Final = kind("apps/v1", "StatefulSet")
_REPLICA_SET: Final = kind("apps/v1", "ReplicaSet")
_JOB: Final = kind("batch/v1", "Job")
_POD: Final = kind("v1", "Pod")
_SECRET: Final = kind("v1", "Secret")
_SERVICE: Final = kind("v1", "Service")
_QUOTA: Final = kind("v1", "ResourceQuota")
_ROLE_BINDING: Final = kind("rbac.authorization.k8s.io/v1", "RoleBinding")


def connect(*, name: str, kubeconfig: str, context: str | None) -> "Cluster":
    """A driver for the cluster of that kubeconfig. No request is made yet."""
    return Cluster(name, Api.connect(name=name, kubeconfig=kubeconfig, context=context))


def stage_selector(stage: str) -> str:
    """Our own objects of one stage."""
    return f"{Labels.SANDBOX},{Labels.STAGE}={stage}"


class Cluster:
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
                self._api.apply(self._kind(item).path(metadata["namespace"], metadata["name"]), item)

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

    def namespace(self, name: str) -> NamespaceState | None:
        """The namespace, whoever made it; None if there is none."""
        found = self._api.find(NAMESPACE.path(None, name))
        return namespace_state(found) if found else None

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
        workloads = [
            item
            for workload in (_DEPLOYMENT, _STATEFUL_SET)
            for item in self._api.list(workload, namespace, selector)
        ]
        pods = list(self._api.list(_POD, namespace, selector))
        return workspace_state(workloads, pods, datetime.now(UTC))

    def inventory(self, namespace: str) -> list[str]:
        """What is in the namespace, as "Kind/name": for the receipt."""
        return [
            f"{name}/{item['metadata']['name']}"
            for (_, name), where in NAMESPACED.items()
            for item in self._api.list(where, namespace)
        ]

    # ---- probing

    def default_blocked_targets(self) -> tuple[Target, ...]:
        """What no sandbox may reach: the API server, the nodes, the metadata service.

        ClusterRefusedError if the API server's address is not found: a probe
        without a target that really listens would prove nothing.
        """
        found: dict[tuple[str, int], Target] = {}
        selector = "kubernetes.io/service-name=kubernetes"
        for item in self._api.list(ENDPOINT_SLICE, "default", selector):
            for address in _addresses(item):
                for port in item.get("ports") or ():
                    found.setdefault((address, port["port"]), Target("api-server", address, port["port"]))
        if not found:
            raise ClusterRefusedError(f"Cluster {self.name} shows no address of its API server.")
        port = next(iter(found))[1]
        page = self._api.get(NODE.collection(), {"limit": str(_MAX_NODES)})
        for node in page.get("items") or ():
            for entry in node.get("status", {}).get("addresses") or ():
                if entry["type"] == "InternalIP" and not ip_address(entry["address"]).is_loopback:
                    found.setdefault((entry["address"], port), Target("node", entry["address"], port))
        service = self._api.find(_SERVICE.path("default", "kubernetes"))
        inside = [Target("api-service", address, 443) for address in _cluster_ips(service)[:1]]
        return (*list(found.values())[:20], *inside, _METADATA_SERVICE)

    def dns_addresses(self) -> tuple[str, ...]:
        """The addresses of the cluster's DNS: service and endpoints; () if there is none."""
        found: dict[str, None] = {}
        for service in self._api.list(_SERVICE, "kube-system", _DNS_SERVICE):
            found.update(dict.fromkeys(_cluster_ips(service)))
            selector = f"kubernetes.io/service-name={service['metadata']['name']}"
            for item in self._api.list(ENDPOINT_SLICE, "kube-system", selector):
                found.update(dict.fromkeys(_addresses(item)))
        return tuple(found)

    def start_probe(self, objects: Iterable[KubeObject]) -> None:
        """Start the probe. One of an older specification is removed first (TemporaryError)."""
        for item in objects:
            metadata = item["metadata"]
            path = self._kind(item).path(metadata["namespace"], metadata["name"])
            old = self._api.find(path)
            if old is not None and _is_outdated(old, item):
                self._api.delete(path, {"preconditions": {"uid": old["metadata"]["uid"]}})
                raise ClusterUnavailableError("An older probe is still going away.", retry_after=1)
            self._api.apply(path, item)

    def probe(self, namespace: str) -> ProbeResult | None:
        """The probe's result, None while it runs. TemporaryError if its pod is gone."""
        pods = list(self._api.list(_POD, namespace, stage_selector("probe")))
        if not pods:
            raise TemporaryError(f"There is no probe in {namespace}; it must be started again.")
        if self._simulated is None:
            self.info()
        return probe_result(pods[0], bool(self._simulated))

    def delete_probe(self, namespace: str) -> None:
        """Remove the probe's pod; its result should have been stored before."""
        self._api.delete(_POD.collection(namespace), selector=stage_selector("probe"))

    # ---- removing

    def revoke_access(self, namespace: str) -> None:
        """The owner's binding and the index's token go first."""
        if self._ours(namespace):
            self._api.delete(_ROLE_BINDING.collection(namespace), selector=Labels.SANDBOX)
            self._api.delete(_SECRET.collection(namespace), selector=Labels.SANDBOX)

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
        return sum(1 for _ in self._api.list(_POD, namespace))

    def delete_namespace(self, name: str, uid: str) -> None:
        """Ask for deletion of exactly that namespace; it is gone when `namespace` says None."""
        state = self._ours(name)
        if state is None:
            return
        if state.uid != uid:
            raise ClusterRefusedError(f"Namespace {name} is another one than ours: its UID is {state.uid}.")
        if state.phase == "Active":
            self._api.delete(NAMESPACE.path(None, name), {"preconditions": {"uid": uid}})

    def leftovers(self, namespace: str, installation_id: str, sandbox_id: int) -> list[str]:
        """What of a deleted sandbox is still there, as "Kind/name"; [] means clean.

        Templates may hold no other cluster-scoped kind, so namespaces and volumes
        are all that can be left.
        """
        selector = f"{Labels.INSTALLATION}={installation_id},{Labels.SANDBOX}={sandbox_id}"
        found = {
            f"Namespace/{item['metadata']['name']}" for item in self._api.list(NAMESPACE, None, selector)
        }
        if self._api.find(NAMESPACE.path(None, namespace)) is not None:
            found.add(f"Namespace/{namespace}")
        for item in self._api.list(PERSISTENT_VOLUME):
            labels = item["metadata"].get("labels") or {}
            claim = item.get("spec", {}).get("claimRef") or {}
            ours = labels.get(Labels.INSTALLATION) == installation_id
            if claim.get("namespace") == namespace or (
                ours and labels.get(Labels.SANDBOX) == str(sandbox_id)
            ):
                found.add(f"PersistentVolume/{item['metadata']['name']}")
        return sorted(found)

    # ---- guards

    def _ours(self, namespace: str) -> NamespaceState | None:
        """The namespace if a sandbox lives in it, None if it is gone; refused if it is another's."""
        state = self.namespace(namespace)
        if state is not None and not {Labels.SANDBOX, Labels.INSTALLATION} <= state.labels.keys():
            raise ClusterRefusedError(f"Namespace {namespace} is no sandbox: it lacks our labels.")
        return state

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


def _is_outdated(old: KubeObject, new: KubeObject) -> bool:
    """A pod being deleted, or one of another specification (a pod cannot be changed)."""
    hashes = [item["metadata"].get("labels", {}).get(Labels.SPEC_HASH) for item in (old, new)]
    return "deletionTimestamp" in old["metadata"] or hashes[0] != hashes[1]


def _addresses(item: KubeObject) -> list[str]:
    """Addresses of an EndpointSlice that mean the same host from inside a pod."""
    addresses = [address for endpoint in item.get("endpoints") or () for address in endpoint["addresses"]]
    return [address for address in addresses if not ip_address(address).is_loopback]


def _cluster_ips(service: KubeObject | None) -> list[str]:
    spec: dict[str, Any] = service["spec"] if service else {}
    return [
        address
        for address in spec.get("clusterIPs") or [spec.get("clusterIP")]
        if address not in (None, "", "None")
    ]
