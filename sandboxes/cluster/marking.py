"""A mark of the ledger's head, kept in the cluster itself, beside the canary.

Who restores a database brings back what it knew then, and nobody tells the clusters. The
number and the mac of a newer entry that is found here says so, even when everything on
our own disks was restored together.
"""

import json
from dataclasses import asdict, dataclass
from typing import Final

from sandboxes.cluster.canary import canary_namespace
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.kinds import kind
from sandboxes.cluster.spec import KubeObject, Labels

_NAME: Final = "petridish-ledger"
_KEY: Final = "head"
_CONFIG_MAP: Final = kind("v1", "ConfigMap")


@dataclass(frozen=True, slots=True)
class Mark:
    """A ledger entry, by its number and its mac."""

    id: int
    mac: str


UNREADABLE: Final = Mark(0, "")  # no entry has this number


def read(cluster: Cluster, installation_id: str) -> Mark | None:
    """The mark; None if there is none, UNREADABLE if somebody spoiled it."""
    found = cluster.api.find(_path(installation_id))
    if found is None:
        return None
    try:
        kept = json.loads((found.get("data") or {})[_KEY])
        return Mark(int(kept["id"]), str(kept["mac"]))
    except (ValueError, KeyError, TypeError):
        return UNREADABLE


def write(cluster: Cluster, installation_id: str, mark: Mark) -> None:
    """Puts the mark in the place of the one before."""
    item: KubeObject = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": _NAME,
            "namespace": canary_namespace(installation_id),
            "labels": {Labels.INSTALLATION: installation_id},
        },
        "data": {_KEY: json.dumps(asdict(mark))},
    }
    cluster.api.apply(_path(installation_id), item)


def _path(installation_id: str) -> str:
    return _CONFIG_MAP.path(canary_namespace(installation_id), _NAME)
