"""The clusters this process can reach, connected once each.

Only the worker imports this: the Kubernetes client takes about a second to import.
"""

from functools import cache

from django.conf import settings

from sandboxes.cluster.driver import Cluster, connect
from sandboxes.errors import ClusterUnavailableError


@cache
def get(name: str) -> Cluster:
    """The driver of the cluster of this name; raises ClusterUnavailableError for one not configured here."""
    if name != settings.CLUSTER_NAME:
        raise ClusterUnavailableError(
            f"Cluster {name!r} is not configured here (this is {settings.CLUSTER_NAME!r}); "
            "start with its KUBECONFIG and KUBE_CONTEXT."
        )
    return connect(name=name, kubeconfig=settings.KUBECONFIG, context=settings.KUBE_CONTEXT or None)
