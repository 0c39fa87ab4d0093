"""The kinds of objects that templates may hold, and where the API keeps them.

A small fixed map instead of discovery: it costs no request, and a kind outside
it is refused, so what a sandbox can be made of is what teardown knows how to
find again. Only the namespace itself is cluster-scoped.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind: `prefix` is its API group's path, `plural` its name in URLs."""

    prefix: str
    plural: str
    namespaced: bool = True

    def collection(self, namespace: str | None = None) -> str:
        """The path of all objects, of one namespace or of the whole cluster."""
        if namespace is None or not self.namespaced:
            return f"{self.prefix}/{self.plural}"
        return f"{self.prefix}/namespaces/{namespace}/{self.plural}"

    def path(self, namespace: str | None, name: str) -> str:
        """The path of one object."""
        return f"{self.collection(namespace)}/{name}"


_CORE: Final = "/api/v1"

NAMESPACE: Final = Kind(_CORE, "namespaces", namespaced=False)
NODE: Final = Kind(_CORE, "nodes", namespaced=False)
PERSISTENT_VOLUME: Final = Kind(_CORE, "persistentvolumes", namespaced=False)

# (apiVersion, kind) → where it lives. The order is that of an inventory.
NAMESPACED: Final[dict[tuple[str, str], Kind]] = {
    ("apps/v1", "Deployment"): Kind("/apis/apps/v1", "deployments"),
    ("apps/v1", "StatefulSet"): Kind("/apis/apps/v1", "statefulsets"),
    ("apps/v1", "ReplicaSet"): Kind("/apis/apps/v1", "replicasets"),
    ("batch/v1", "Job"): Kind("/apis/batch/v1", "jobs"),
    ("v1", "Pod"): Kind(_CORE, "pods"),
    ("v1", "Service"): Kind(_CORE, "services"),
    ("v1", "PersistentVolumeClaim"): Kind(_CORE, "persistentvolumeclaims"),
    ("v1", "ConfigMap"): Kind(_CORE, "configmaps"),
    ("v1", "Secret"): Kind(_CORE, "secrets"),
    ("v1", "ServiceAccount"): Kind(_CORE, "serviceaccounts"),
    ("v1", "ResourceQuota"): Kind(_CORE, "resourcequotas"),
    ("v1", "LimitRange"): Kind(_CORE, "limitranges"),
    ("networking.k8s.io/v1", "NetworkPolicy"): Kind("/apis/networking.k8s.io/v1", "networkpolicies"),
    ("rbac.authorization.k8s.io/v1", "Role"): Kind("/apis/rbac.authorization.k8s.io/v1", "roles"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): Kind(
        "/apis/rbac.authorization.k8s.io/v1", "rolebindings"
    ),
}
ENDPOINT_SLICE: Final = Kind("/apis/discovery.k8s.io/v1", "endpointslices")

KINDS: Final[dict[tuple[str, str], Kind]] = {("v1", "Namespace"): NAMESPACE, **NAMESPACED}


def kind(api_version: str, name: str) -> Kind:
    """The kind of that name; KeyError for one that sandboxes are not made of."""
    return KINDS[api_version, name]
