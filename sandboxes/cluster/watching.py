"""Hints that a seal may have changed, as soon as a cluster says so.

A watch shortens the wait and proves nothing: connections die in silence, and events
are lost when a watch has to start over. The paged listing is the truth, and finds
whatever was missed here.
"""

import time
from collections.abc import Iterator
from typing import Final

from sandboxes.cluster.api import ListingExpiredError
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.kinds import kind
from sandboxes.cluster.spec import KubeObject, Labels

_POLICY: Final = kind("networking.k8s.io/v1", "NetworkPolicy")


def policy_changes(cluster: Cluster, installation_id: str, seconds: float) -> Iterator[str]:
    """The namespace of every network policy that is made, changed or deleted meanwhile.

    All policies are watched, whoever's they are, since it is the foreign ones that open a
    seal; only those that another installation labelled as its own are left out. Ends by
    itself; ClusterUnavailableError if the connection breaks.
    """
    end = time.monotonic() + seconds
    version = cluster.api.version(_POLICY)
    while (left := end - time.monotonic()) > 0:
        try:
            for event, item in cluster.api.watch(_POLICY, version, left):
                version = str(item["metadata"]["resourceVersion"])
                if event != "BOOKMARK" and _may_be_ours(item, installation_id):
                    yield str(item["metadata"]["namespace"])
        except ListingExpiredError:
            version = cluster.api.version(_POLICY)


def _may_be_ours(item: KubeObject, installation_id: str) -> bool:
    labels: dict[str, str] = item["metadata"].get("labels") or {}
    return labels.get(Labels.INSTALLATION, installation_id) == installation_id
