"""Objects of the contract, and how somebody else would see and change them."""

from typing import Any

from sandboxes.cluster.kinds import kind
from sandboxes.cluster.spec import KubeObject, SandboxSpec
from tests.cluster.conftest import Subject

CONFIG_MAP = kind("v1", "ConfigMap")
POD = kind("v1", "Pod")
STATEFUL_SET = kind("apps/v1", "StatefulSet")


def find(subject: Subject, path: str) -> KubeObject:
    found = subject.cluster._api.find(path)
    assert found is not None
    return found


def config_map(namespace: str, name: str, **fields: Any) -> KubeObject:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **fields}


def status(subject: Subject, spec: SandboxSpec) -> KubeObject:
    found: KubeObject = find(subject, STATEFUL_SET.path(spec.namespace, "workspace"))["status"]
    return found
