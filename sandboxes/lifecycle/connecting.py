"""From a cluster's row to a driver. The one place where its credentials are decrypted.

It imports the Kubernetes client, which takes about a second: only the worker, and whoever
registers or checks a cluster, imports this.
"""

from collections.abc import Callable

from django.conf import settings

from sandboxes.cluster.driver import Cluster, connect, connect_in_cluster, connect_text
from sandboxes.errors import ClusterUnavailableError
from sandboxes.lifecycle import vault
from sandboxes.lifecycle.models import RegisteredCluster
from sandboxes.lifecycle.models.cluster import Source


def driver(row: RegisteredCluster, pacer: Callable[[], None] | None = None) -> Cluster:
    """A driver by the row; no request is made. ClusterUnavailableError if it is not configured here."""
    match Source(row.source):
        case Source.KUBECONFIG:
            text = vault.decrypt(row.name, bytes(row.kubeconfig))
            return connect_text(name=row.name, text=text, context=row.context or None, pacer=pacer)
        case Source.IN_CLUSTER:
            return connect_in_cluster(name=row.name, pacer=pacer)
        case Source.ENVIRONMENT:
            _check_configured(row.name)
            context = settings.KUBE_CONTEXT or None
            return connect(name=row.name, kubeconfig=settings.KUBECONFIG, context=context, pacer=pacer)


def way(row: RegisteredCluster) -> tuple[str, ...]:
    """What the connection depends on: another value means that it has to be made anew. Nothing secret."""
    if row.source == Source.ENVIRONMENT:
        return (row.source, settings.CLUSTER_NAME, settings.KUBECONFIG, settings.KUBE_CONTEXT)
    return (row.source, row.context, bytes(row.kubeconfig).hex())


def _check_configured(name: str) -> None:
    if name != settings.CLUSTER_NAME:
        raise ClusterUnavailableError(
            f"Cluster {name!r} is not configured here (this is {settings.CLUSTER_NAME!r}); "
            "start with its KUBECONFIG and KUBE_CONTEXT."
        )
