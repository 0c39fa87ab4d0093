"""A namespace that nobody answers for, cut off: no network, no access, no token, and nothing in it runs.

As an isolated sandbox it keeps its pods, and with them its files: see `freezing` for why
taking policies and bindings away is not enough. Whoever may change the cluster may put
something back, so it is cut off again at every look, and what had come back is named.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.freezing import freezing
from sandboxes.cluster.isolated import policy_names
from sandboxes.cluster.kinds import kind
from sandboxes.cluster.seal import denies_all
from sandboxes.cluster.templates import Document

_POD: Final = kind("v1", "Pod")
_POLICY: Final = kind("networking.k8s.io/v1", "NetworkPolicy")


def cut_off(cluster: Cluster, namespace: str, uid: str, isolated: Sequence[Document]) -> list[str]:
    """Cuts exactly this namespace off; what was open in it before that, as "Kind/name"."""
    was_open = list(_open(cluster, namespace, policy_names(isolated)))
    cluster.quarantine(namespace, uid, isolated)
    cluster.freeze(namespace)
    return was_open


def _open(cluster: Cluster, namespace: str, keep: frozenset[str]) -> Iterator[str]:
    yield from cluster.ways_in(namespace, keep)
    for name in sorted(keep):
        policy = cluster.api.find(_POLICY.path(namespace, name))
        if policy is not None and not denies_all(policy["spec"]):
            yield f"NetworkPolicy/{name}"
    for pod in cluster.api.list(_POD, namespace):
        if freezing(pod) is not None:
            yield f"Pod/{pod['metadata']['name']}"
