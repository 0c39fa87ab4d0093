"""Which addresses of a cluster are tried, and which of its DNS are allowed: read from its own objects."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest

from sandboxes.cluster import targets
from sandboxes.cluster.api import Api
from sandboxes.cluster.kinds import ENDPOINT_SLICE, NODE, Kind, kind
from sandboxes.cluster.spec import DnsAddress, EgressBlock, KubeObject, Target
from sandboxes.errors import ClusterRefusedError

SERVICE, POD = kind("v1", "Service"), kind("v1", "Pod")


class Objects:
    """The part of the API that only reads, over objects in memory."""

    def __init__(self, *objects: tuple[Kind, KubeObject]) -> None:
        self._objects = objects

    def list(
        self, kind: Kind, namespace: str | None = None, selector: str | None = None
    ) -> Iterator[KubeObject]:
        wanted = dict([selector.split("=", 1)]) if selector else {}
        for of, item in self._objects:
            metadata = item["metadata"]
            there = of is kind and namespace in (None, metadata.get("namespace"))
            if there and wanted.items() <= metadata.get("labels", {}).items():
                yield item

    def find(self, path: str) -> KubeObject | None:
        for of, item in self._objects:
            if of.path(item["metadata"].get("namespace"), item["metadata"]["name"]) == path:
                return item
        return None

    def get(self, path: str, query: Mapping[str, str]) -> KubeObject:
        for of, namespace in ((NODE, None), (POD, "kube-system")):
            if of.collection(namespace) == path:
                found = list(self.list(of, namespace, query.get("labelSelector")))
                return {"items": found[: int(query["limit"])]}
        raise AssertionError(path)


def api(*objects: tuple[Kind, KubeObject]) -> Api:
    return cast("Api", Objects(*objects))


def service(
    namespace: str, name: str, *addresses: str, ports: Any = (), **labels: str
) -> tuple[Kind, KubeObject]:
    spec = {"clusterIP": addresses[0], "clusterIPs": list(addresses), "ports": list(ports)}
    return SERVICE, {"metadata": {"namespace": namespace, "name": name, "labels": labels}, "spec": spec}


def slice_of(namespace: str, name: str, *addresses: str, ports: Any = ()) -> tuple[Kind, KubeObject]:
    labels = {"kubernetes.io/service-name": name}
    metadata = {"namespace": namespace, "name": f"{name}-x1", "labels": labels}
    return ENDPOINT_SLICE, {
        "metadata": metadata,
        "endpoints": [{"addresses": [address]} for address in addresses],
        "ports": list(ports),
    }


def node(name: str, address: str, leader: bool = False, pods: str = "") -> tuple[Kind, KubeObject]:
    labels = {"node-role.kubernetes.io/control-plane": ""} if leader else {}
    addresses = [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": address}]
    return NODE, {
        "metadata": {"name": name, "labels": labels},
        "spec": {"podCIDRs": [pods]} if pods else {},
        "status": {"addresses": addresses},
    }


API = (
    service("default", "kubernetes", "10.96.0.1", "fd00:96::1"),
    slice_of("default", "kubernetes", "192.0.2.2", ports=[{"name": "https", "port": 6443}]),
)
DNS_PORTS = [
    {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
    {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    {"name": "metrics", "port": 9153, "protocol": "TCP"},
]
SLICE_PORTS = [
    {"name": "dns", "port": 53},
    {"name": "dns-tcp", "port": 53},
    {"name": "metrics", "port": 9153},
]
CORE_DNS = (
    service("kube-system", "kube-dns", "10.96.0.10", ports=DNS_PORTS, **{"k8s-app": "kube-dns"}),
    slice_of("kube-system", "kube-dns", "10.244.0.5", "10.244.1.7", ports=SLICE_PORTS),
)


def test_the_clusters_own_listeners_are_tried() -> None:
    found = targets.blocked_targets(
        api(*API, node("a", "192.0.2.2", leader=True), node("b", "192.0.2.3")), "test"
    )
    assert found == (
        Target("api-server", "192.0.2.2", 6443),
        Target("api-service", "10.96.0.1", 443),
        Target("api-service", "fd00:96::1", 443),
        Target("kubelet", "192.0.2.2", 10250),
        Target("kubelet", "192.0.2.3", 10250),
        Target("metadata", "169.254.169.254", 80),
        Target("metadata", "fd00:ec2::254", 80),
    )


def test_the_api_port_is_tried_at_nodes_that_may_serve_it() -> None:
    """Where the control plane is elsewhere, no node says that it leads; so some are tried."""
    managed = [node(str(number), f"198.51.100.{number}") for number in range(1, 7)]
    found = targets.blocked_targets(api(*API, *managed), "test")
    assert [each.host for each in found if each.name == "node"] == [f"198.51.100.{n}" for n in (1, 2, 3)]
    leading = targets.blocked_targets(api(*API, *managed, node("l", "192.0.2.9", leader=True)), "test")
    assert [each.host for each in leading if each.name == "node"] == ["192.0.2.9"]


def test_a_large_cluster_does_not_overflow_the_probe() -> None:
    nodes = [node(str(number), f"198.51.100.{number}") for number in range(1, 201)]
    assert len(targets.blocked_targets(api(*API, *nodes), "test")) < 25


def test_without_an_api_server_there_is_nothing_to_prove() -> None:
    with pytest.raises(ClusterRefusedError, match="no address of its API server"):
        targets.blocked_targets(api(API[0]), "test")


def test_the_canary_is_a_pod_and_a_dns_server() -> None:
    assert [(each.port, each.protocol) for each in targets.canary_targets("10.244.0.9")] == [
        (8080, "tcp"),
        (53, "udp"),
        (53, "tcp"),
    ]
    assert targets.canary_targets("") == ()


def test_dns_is_the_service_and_what_stands_behind_it() -> None:
    assert targets.dns_addresses(api(*CORE_DNS)) == (
        DnsAddress("10.96.0.10", 53),
        DnsAddress("10.244.0.5", 53),
        DnsAddress("10.244.1.7", 53),
    )
    assert targets.dns_addresses(api(*API)) == ()


def test_dns_pods_may_listen_elsewhere() -> None:
    """As OpenShift's do: the policy sees the port behind the NAT."""
    label = {"dns.operator.openshift.io/owning-dns": "default"}
    found = targets.dns_addresses(
        api(
            service("openshift-dns", "dns-default", "172.30.0.10", ports=DNS_PORTS, **label),
            slice_of(
                "openshift-dns",
                "dns-default",
                "10.128.0.4",
                ports=[
                    {"name": "dns", "port": 5353},
                    {"name": "dns-tcp", "port": 5353},
                    {"name": "metrics", "port": 9154},
                ],
            ),
        )
    )
    assert found == (DnsAddress("172.30.0.10"), DnsAddress("10.128.0.4", 5353))


def test_a_service_without_dns_is_not_the_dns() -> None:
    other = service("kube-system", "metrics", "10.96.0.44", ports=DNS_PORTS[2:], **{"k8s-app": "kube-dns"})
    assert targets.dns_addresses(api(other)) == ()


@pytest.mark.parametrize(
    "words",
    [
        {"args": ["-localip", "169.254.20.10,10.96.0.10", "-conf", "/etc/Corefile"]},
        {"args": ["-conf", "/etc/Corefile", "-localip=169.254.20.10,10.96.0.10"]},
        {"command": ["/node-cache", "--localip", "169.254.20.10,10.96.0.10"]},
    ],
)
def test_the_cache_on_each_node_is_allowed(words: dict[str, Any]) -> None:
    metadata = {"namespace": "kube-system", "name": "c", "labels": {"k8s-app": "node-local-dns"}}
    cache = (POD, {"metadata": metadata, "spec": {"containers": [{"name": "node-cache", **words}]}})
    found = targets.dns_addresses(api(*CORE_DNS, cache))
    assert found[-1] == DnsAddress("169.254.20.10")
    assert found.count(DnsAddress("10.96.0.10")) == 1


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["-localip"],
        ["-localip", "__PILLAR__LOCAL__DNS__"],
        ["localip", "192.0.2.1"],
        ["-localips=1.1.1.1"],
    ],
)
def test_what_names_no_address_allows_none(args: list[str]) -> None:
    metadata = {"namespace": "kube-system", "name": "c", "labels": {"k8s-app": "node-local-dns"}}
    cache = (POD, {"metadata": metadata, "spec": {"containers": [{"name": "node-cache", "args": args}]}})
    assert targets.dns_addresses(api(cache)) == ()


def test_the_cluster_itself_is_closed_to_exceptions() -> None:
    found = targets.closed_ranges(api(*API, *CORE_DNS, node("a", "192.0.2.3", pods="10.244.0.0/24")))
    assert {"192.0.2.2", "10.96.0.1", "192.0.2.3", "10.244.0.0/24", "10.96.0.10"} <= set(found)


def test_what_was_allowed_is_no_leak() -> None:
    tried = (
        Target("outside", "198.51.100.7", 443),
        Target("outside", "198.51.100.7", 80),
        Target("dns", "198.51.100.7", 443, "udp"),
        Target("other", "2001:db8::7", 443),
    )
    left = targets.without_exceptions(tried, [EgressBlock(1, "198.51.100.0/24", 443)])
    assert left == tried[1:]


def test_each_address_is_tried_once() -> None:
    twice = (Target("a", "192.0.2.1", 53), Target("b", "192.0.2.1", 53), Target("c", "192.0.2.1", 53, "udp"))
    assert [each.name for each in targets.without_doubles(twice)] == ["a", "c"]
