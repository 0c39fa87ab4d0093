"""The clusters this process can reach, connected once each, and anew when their row says something else.

Only the worker imports this: the Kubernetes client takes about a second to import.
"""

from threading import Lock

from sandboxes.cluster.driver import Cluster
from sandboxes.errors import ClusterUnavailableError, NotFoundError
from sandboxes.lifecycle import connecting, identity, limits, registry
from sandboxes.lifecycle.models import RegisteredCluster


class _Connections:
    """By name. The row is read on every call (one indexed read): new credentials work at once, everywhere.

    A connection that was replaced is not closed: another thread may be in the middle of a
    request, and its pool goes with the last one that holds it.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: dict[str, tuple[tuple[str, ...], Cluster]] = {}

    def __call__(self, name: str) -> Cluster:
        """The driver of the cluster of this name; raises ClusterUnavailableError for one not configured here."""
        try:
            row = registry.get(name)
        except NotFoundError as error:
            raise ClusterUnavailableError(f"Cluster {name!r} is not registered.") from error
        if row.strange_uid:
            raise ClusterUnavailableError(
                row.last_error or f"Another cluster answers in the place of {name}."
            )
        way = connecting.way(row)
        with self._lock:
            kept = self._kept.get(name)
        if kept is not None and kept[0] == way:
            return kept[1]
        cluster = self._connect(row)
        with self._lock:
            self._kept[name] = (way, cluster)
        return cluster

    @staticmethod
    def _connect(row: RegisteredCluster) -> Cluster:
        """Asked who it is before anything else: with a kubeconfig that leads elsewhere, all would look deleted.

        The lock is not held meanwhile: a cluster that lets it hang must not keep the others waiting.
        """
        cluster = connecting.driver(row, limits.pacer(row.name))
        if not identity.is_same(row, cluster.uid()):
            raise ClusterUnavailableError(
                row.last_error or f"Another cluster answers in the place of {row.name}."
            )
        return cluster

    def cache_clear(self) -> None:
        """Forget every connection."""
        with self._lock:
            self._kept.clear()


get = _Connections()
