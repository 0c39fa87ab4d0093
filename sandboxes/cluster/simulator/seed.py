"""What a cluster has before anyone uses it: a node, its API server, and DNS.

Addresses are of TEST-NET-1 (RFC 5737) and the usual service range: nothing answers there.
"""

from typing import Any, Final

from sandboxes.cluster.simulator.objects import Objects, timestamp
from sandboxes.cluster.simulator.resources import (
    ENDPOINT_SLICES,
    NAMESPACES,
    NODES,
    SERVICES,
    Resource,
)

type Json = dict[str, Any]

NODE_ADDRESS: Final = "192.0.2.10"
API_PORT: Final = 6443
KUBELET_PORT: Final = 10250
POD_RANGE: Final = "10.244.0.0/16"
SERVICE_RANGE: Final = "10.96.0.0/12"
_API_SERVICE: Final = "10.96.0.1"
_DNS_SERVICE: Final = "10.96.0.10"
_DNS_POD: Final = "10.244.0.2"
_CAPACITY: Final = {
    "cpu": "64",
    "memory": "256Gi",
    "ephemeral-storage": "4Ti",
    "pods": "5000",
    "nvidia.com/gpu": "8",
}
_DNS_PORTS: Final = [
    {"name": "dns", "port": 53, "protocol": "UDP"},
    {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
]


# What of the cluster itself would answer, were there any network: (host, port, protocol).
LISTENING: Final = frozenset(
    (
        *((host, port, "tcp") for host, port in ((NODE_ADDRESS, API_PORT), (NODE_ADDRESS, KUBELET_PORT))),
        (_API_SERVICE, 443, "tcp"),
        *((host, 53, protocol) for host in (_DNS_SERVICE, _DNS_POD) for protocol in ("tcp", "udp")),
    )
)


def seed(objects: Objects) -> None:
    """Create what is missing."""
    for name in ("default", "kube-system", "kube-public", "kube-node-lease"):
        _ensure(objects, NAMESPACES, "", name, {})
    _ensure(objects, NODES, "", "simulated", {"spec": {"podCIDR": POD_RANGE, "podCIDRs": [POD_RANGE]}})
    objects.change_status(NODES, "", "simulated", _node_status)
    api = [{"name": "https", "port": API_PORT, "protocol": "TCP"}]
    _service(
        objects, "default", "kubernetes", _API_SERVICE, [{**api[0], "port": 443, "targetPort": API_PORT}]
    )
    _slice(objects, "default", "kubernetes", NODE_ADDRESS, api)
    ports = [{**port, "targetPort": 53} for port in _DNS_PORTS]
    _service(objects, "kube-system", "kube-dns", _DNS_SERVICE, ports, {"k8s-app": "kube-dns"})
    _slice(objects, "kube-system", "kube-dns", _DNS_POD, _DNS_PORTS)


def _node_status(status: Json) -> None:
    if status.get("allocatable") == _CAPACITY:
        return
    status.update(
        capacity=_CAPACITY,
        allocatable=_CAPACITY,
        addresses=[
            {"type": "InternalIP", "address": NODE_ADDRESS},
            {"type": "Hostname", "address": "simulated"},
        ],
        conditions=[{"type": "Ready", "status": "True", "lastTransitionTime": timestamp()}],
        nodeInfo={"kubeletVersion": "v1.34.0+petridish-simulated", "operatingSystem": "none"},
    )


def _service(
    objects: Objects, namespace: str, name: str, address: str, ports: list[Json], labels: Json | None = None
) -> None:
    spec = {"type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "ports": ports}
    _ensure(objects, SERVICES, namespace, name, {"spec": spec}, labels or {})


def _slice(objects: Objects, namespace: str, service: str, address: str, ports: list[Json]) -> None:
    endpoints = [{"addresses": [address], "conditions": {"ready": True}}]
    body = {"addressType": "IPv4", "endpoints": endpoints, "ports": ports}
    labels = {"kubernetes.io/service-name": service}
    _ensure(objects, ENDPOINT_SLICES, namespace, service, body, labels)


def _ensure(
    objects: Objects, resource: Resource, namespace: str, name: str, body: Json, labels: Json | None = None
) -> None:
    if objects.store.get(resource, namespace, name) is None:
        head = {"apiVersion": resource.api_version, "kind": resource.kind}
        metadata: Json = {"name": name, "labels": labels or {}}
        objects.create(resource, namespace, {**head, "metadata": metadata, **body}, manager="kube-apiserver")
