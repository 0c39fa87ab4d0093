"""The resources that the simulated cluster serves."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of one API group; `status` says that it has a status subresource."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    status: bool = False
    short: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """As objects write it: "v1", "apps/v1"."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """As messages write it: "pods", "deployments.apps"."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def counts_generations(self) -> bool:
        """Kinds whose metadata.generation follows their spec."""
        return self.group in ("apps", "batch", "networking.k8s.io")


NAMESPACES: Final = Resource("", "v1", "Namespace", "namespaces", False, True, ("ns",))
NODES: Final = Resource("", "v1", "Node", "nodes", False, True, ("no",))
PODS: Final = Resource("", "v1", "Pod", "pods", True, True, ("po",))
SERVICES: Final = Resource("", "v1", "Service", "services", True, True, ("svc",))
CONFIG_MAPS: Final = Resource("", "v1", "ConfigMap", "configmaps", True, False, ("cm",))
SECRETS: Final = Resource("", "v1", "Secret", "secrets")
SERVICE_ACCOUNTS: Final = Resource("", "v1", "ServiceAccount", "serviceaccounts", True, False, ("sa",))
QUOTAS: Final = Resource("", "v1", "ResourceQuota", "resourcequotas", True, True, ("quota",))
LIMIT_RANGES: Final = Resource("", "v1", "LimitRange", "limitranges", True, False, ("limits",))
VOLUMES: Final = Resource("", "v1", "PersistentVolume", "persistentvolumes", False, True, ("pv",))
CLAIMS: Final = Resource("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", True, True, ("pvc",))
DEPLOYMENTS: Final = Resource("apps", "v1", "Deployment", "deployments", True, True, ("deploy",))
REPLICA_SETS: Final = Resource("apps", "v1", "ReplicaSet", "replicasets", True, True, ("rs",))
STATEFUL_SETS: Final = Resource("apps", "v1", "StatefulSet", "statefulsets", True, True, ("sts",))
JOBS: Final = Resource("batch", "v1", "Job", "jobs", True, True)
NETWORK_POLICIES: Final = Resource(
    "networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", True, False, ("netpol",)
)
ROLES: Final = Resource("rbac.authorization.k8s.io", "v1", "Role", "roles")
ROLE_BINDINGS: Final = Resource("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings")
ENDPOINT_SLICES: Final = Resource("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")
# Kept and shown, but not obeyed: whoever holds the token may do everything.
_RULES: Final = tuple(
    Resource("rbac.authorization.k8s.io", "v1", kind, plural, False)
    for kind, plural in (("ClusterRole", "clusterroles"), ("ClusterRoleBinding", "clusterrolebindings"))
) + tuple(
    Resource("admissionregistration.k8s.io", "v1", kind, plural, False, status)
    for kind, plural, status in (
        ("ValidatingAdmissionPolicy", "validatingadmissionpolicies", True),
        ("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", False),
    )
)

ALL: Final = (
    NAMESPACES,
    NODES,
    PODS,
    SERVICES,
    Resource("", "v1", "Endpoints", "endpoints", True, False, ("ep",)),
    CONFIG_MAPS,
    SECRETS,
    SERVICE_ACCOUNTS,
    QUOTAS,
    LIMIT_RANGES,
    VOLUMES,
    CLAIMS,
    Resource("", "v1", "Event", "events", True, False, ("ev",)),
    DEPLOYMENTS,
    REPLICA_SETS,
    STATEFUL_SETS,
    JOBS,
    NETWORK_POLICIES,
    ROLES,
    ROLE_BINDINGS,
    ENDPOINT_SLICES,
    Resource("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", False),
    Resource("storage.k8s.io", "v1", "StorageClass", "storageclasses", False, False, ("sc",)),
    *_RULES,
)

BY_PATH: Final = {(item.group, item.version, item.plural): item for item in ALL}
BY_KIND: Final = {(item.api_version, item.kind): item for item in ALL}
BY_QUALIFIED: Final = {item.qualified: item for item in ALL}
