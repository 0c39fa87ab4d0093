"""What the tests ask the cluster for, mostly in vain."""

from collections.abc import Callable
from typing import Any

import pytest

from sandboxes.cluster.api import StatusRefusedError
from sandboxes.cluster.kinds import kind
from sandboxes.cluster.spec import KubeObject

POD, SERVICE = kind("v1", "Pod"), kind("v1", "Service")
CONFIG_MAP = kind("v1", "ConfigMap")
CONTROLLERS = "system:serviceaccount:kube-system:"
NEVER = {"there-is": "no-such-node"}
DRY = {"dryRun": "All"}
MERGE = "application/merge-patch+json"


def namespace(name: str, labels: dict[str, str]) -> KubeObject:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def config_map(name: str = "x") -> KubeObject:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}


def pod(image: str, container: KubeObject | None = None, **spec: Any) -> KubeObject:
    containers = [{"name": "c", "image": image, **(container or {})}]
    fields = {"containers": containers, "nodeSelector": NEVER, **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "x-"}, "spec": fields}


def refused(act: Callable[[], object], why: str) -> None:
    with pytest.raises(StatusRefusedError, match=rf"\(403\).*{why}"):
        act()
