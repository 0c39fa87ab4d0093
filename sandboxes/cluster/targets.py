"""What a sandbox may not reach, and the DNS it may: addresses that the cluster itself names.

A target proves something only if something answers there, so these are the
addresses at which a cluster listens: its API, its kubelets, its DNS. What only the
admin can know (an outside address, another DNS server) is added by the caller, and
the canary, whose address changes, by whoever starts the probe.
"""

from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_network
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from sandboxes.cluster import probe_script
from sandboxes.cluster.kinds import ENDPOINT_SLICE, NODE, kind
from sandboxes.cluster.spec import CANARY_PORT, DnsAddress, EgressBlock, KubeObject, SandboxSpec, Target
from sandboxes.errors import ClusterRefusedError

if TYPE_CHECKING:
    from sandboxes.cluster.api import Api

# Amazon's addresses (169.254.169.254 is also Google's and Azure's): they hand out a node's credentials.
METADATA: Final = (
    Target("metadata", "169.254.169.254", 80),
    Target("metadata", "fd00:ec2::254", 80),
)
PROXY: Final = probe_script.PROXY
# Of what must be open, a sandbox can do without these: only whoever has an exception misses them.
OPTIONAL: Final = frozenset((PROXY,))
_KUBELET_PORT: Final = 10250
_MAX_NODES: Final = 8  # enough evidence, and the probe's message is limited
_MAX_API_ADDRESSES: Final = 5
_MAX_CONTROL_PLANE: Final = 3
_CONTROL_PLANE: Final = "node-role.kubernetes.io/control-plane"
_SERVICE: Final = kind("v1", "Service")
_POD: Final = kind("v1", "Pod")
_OF_SERVICE: Final = "kubernetes.io/service-name"
_DNS_PORT: Final = 53
# (namespace, label): kube-dns and CoreDNS as everybody installs them, and OpenShift's.
_DNS_SERVICES: Final = (
    ("kube-system", "k8s-app=kube-dns"),
    ("openshift-dns", "dns.operator.openshift.io/owning-dns=default"),
)
# https://kubernetes.io/docs/tasks/administer-cluster/nodelocaldns/
_NODE_LOCAL_DNS: Final = ("kube-system", "k8s-app=node-local-dns")


def blocked_targets(api: "Api", cluster: str) -> tuple[Target, ...]:
    """The API server, the kubelets and the metadata services.

    ClusterRefusedError if the API server's address is not found: a probe without a
    target that really listens would prove nothing.
    """
    servers = list(islice(_api_servers(api), _MAX_API_ADDRESSES))
    if not servers:
        raise ClusterRefusedError(f"Cluster {cluster} shows no address of its API server.")
    service = api.find(_SERVICE.path("default", "kubernetes"))
    inside = [Target("api-service", address, 443) for address in _cluster_ips(service)[:2]]
    nodes = api.get(NODE.collection(), {"limit": str(_MAX_NODES)}).get("items") or []
    return without_doubles((*servers, *inside, *_node_targets(nodes, servers[0].port), *METADATA))


def without_doubles(targets: Iterable[Target]) -> tuple[Target, ...]:
    """One target for each address, port and protocol: the first."""
    found: dict[tuple[str, int, str], Target] = {}
    for target in targets:
        found.setdefault((target.host, target.port, target.protocol), target)
    return tuple(found.values())


def canary_targets(address: str) -> tuple[Target, ...]:
    """The live neighbour: a pod that answers, and a DNS server that is not the cluster's."""
    if not address:
        return ()
    return (
        Target("canary", address, CANARY_PORT),
        Target("canary-dns", address, _DNS_PORT, "udp"),
        Target("canary-dns", address, _DNS_PORT, "tcp"),
    )


def without_exceptions(targets: Iterable[Target], blocks: Iterable[EgressBlock]) -> tuple[Target, ...]:
    """Targets that nobody allowed this sandbox to reach: exceptions are for TCP."""
    ways = [(ip_network(block.cidr, strict=False), block.port) for block in blocks]
    return tuple(
        target
        for target in targets
        if target.protocol != "tcp"
        or not any(target.port == port and ip_address(target.host) in network for network, port in ways)
    )


def probe_targets(spec: SandboxSpec) -> list[list[Any]]:
    """What a probe is given: each [name, host, port, protocol, expected], as short as it can be said."""
    blocked = [
        [target.name, target.host, target.port, target.protocol, "blocked"]
        for target in without_exceptions(spec.blocked_targets, spec.egress)
    ]
    proxy = (spec.proxy_addresses, spec.proxy_port) if spec.proxy_url else None
    return [*blocked, *allowed_targets(spec.dns, (spec.index_addresses, spec.index_port), proxy)]


def control_targets(
    blocked: Iterable[Target],
    dns: Iterable[DnsAddress],
    index: tuple[tuple[str, ...], int],
    proxy: tuple[tuple[str, ...], int] | None,
) -> list[list[Any]]:
    """The same for the control: all of them may be reached from where it runs."""
    found = [[each.name, each.host, each.port, each.protocol, "open"] for each in blocked]
    return [*found, *allowed_targets(dns, index, proxy)]


def allowed_targets(
    dns: Iterable[DnsAddress],
    index: tuple[tuple[str, ...], int],
    proxy: tuple[tuple[str, ...], int] | None,
) -> list[list[Any]]:
    """What every sandbox must reach, by addresses and port. One address of each name is enough."""
    allowed = [["cluster-dns", each.address, each.port, "udp", "open"] for each in dns]
    for name, way in (("index", index), (PROXY, proxy)):
        addresses, port = way or ((), 0)
        allowed += [[name, address, port, "tcp", "open"] for address in addresses]
    return allowed


def dns_addresses(api: "Api") -> tuple[DnsAddress, ...]:
    """The cluster's DNS: its services, what stands behind them, and the cache on each node; () if none."""
    found: dict[DnsAddress, None] = {}
    for namespace, label in _DNS_SERVICES:
        for service in api.list(_SERVICE, namespace, label):
            found.update(dict.fromkeys(_dns_of(api, service)))
    found.update(dict.fromkeys(_node_local_dns(api)))
    return tuple(found)


def closed_ranges(api: "Api") -> tuple[str, ...]:
    """Addresses of the cluster itself, as blocks, which no egress exception may touch."""
    found = [target.host for target in _api_servers(api)]
    found += _cluster_ips(api.find(_SERVICE.path("default", "kubernetes")))
    found += [dns.address for dns in dns_addresses(api)]
    for node in api.list(NODE):
        found += _addresses_of_node(node)
        found += node["spec"].get("podCIDRs") or []
    return tuple(dict.fromkeys(found))


def _api_servers(api: "Api") -> Iterator[Target]:
    for item in api.list(ENDPOINT_SLICE, "default", f"{_OF_SERVICE}=kubernetes"):
        for address in _addresses_of_slice(item):
            for port in item.get("ports") or ():
                yield Target("api-server", address, port["port"])


def _node_targets(nodes: list[KubeObject], api_port: int) -> Iterator[Target]:
    """Every node's kubelet, and the API's port on the nodes that may serve it."""
    leaders = [node for node in nodes if _CONTROL_PLANE in (node["metadata"].get("labels") or {})]
    for node in (leaders or nodes)[:_MAX_CONTROL_PLANE]:
        for address in _addresses_of_node(node):
            yield Target("node", address, api_port)
    for node in nodes:
        for address in _addresses_of_node(node):
            yield Target("kubelet", address, _KUBELET_PORT)


def _addresses_of_node(node: KubeObject) -> list[str]:
    entries = node.get("status", {}).get("addresses") or ()
    return [
        entry["address"]
        for entry in entries
        if entry["type"] == "InternalIP" and not ip_address(entry["address"]).is_loopback
    ]


def _addresses_of_slice(item: KubeObject) -> list[str]:
    """Addresses of an EndpointSlice that mean the same host from inside a pod."""
    addresses = [address for endpoint in item.get("endpoints") or () for address in endpoint["addresses"]]
    return [address for address in addresses if not ip_address(address).is_loopback]


def _dns_of(api: "Api", service: KubeObject) -> Iterator[DnsAddress]:
    """A service's own addresses, and its endpoints with the ports that a policy sees behind the NAT."""
    ports = {port.get("name", "") for port in service["spec"].get("ports") or () if port["port"] == _DNS_PORT}
    if not ports:
        return
    for address in _cluster_ips(service):
        yield DnsAddress(address)
    metadata = service["metadata"]
    for item in api.list(ENDPOINT_SLICE, metadata["namespace"], f"{_OF_SERVICE}={metadata['name']}"):
        numbers = [port["port"] for port in item.get("ports") or () if port.get("name", "") in ports]
        for address in _addresses_of_slice(item):
            for number in dict.fromkeys(numbers):
                yield DnsAddress(address, number)


def _node_local_dns(api: "Api") -> Iterator[DnsAddress]:
    """NodeLocal DNSCache listens on every node at the addresses its `-localip` names."""
    namespace, label = _NODE_LOCAL_DNS
    page = api.get(_POD.collection(namespace), {"labelSelector": label, "limit": "1"})
    for pod in page.get("items") or ():
        for container in pod["spec"]["containers"]:
            words = [*(container.get("command") or ()), *(container.get("args") or ())]
            for address in _local_ips(words):
                yield DnsAddress(address)


def _local_ips(words: list[str]) -> Iterator[str]:
    """The value of `-localip`, in both of the forms that Go's flags take."""
    for word, following in zip(words, [*words[1:], ""], strict=False):
        name, equals, value = word.lstrip("-").partition("=")
        if word.startswith("-") and name == "localip":
            for text in (value if equals else following).split(","):
                try:
                    yield str(ip_address(text.strip()))
                except ValueError:
                    continue  # a name, or a placeholder that nobody filled


def _cluster_ips(service: KubeObject | None) -> list[str]:
    spec: dict[str, Any] = service["spec"] if service else {}
    return [
        address
        for address in spec.get("clusterIPs") or [spec.get("clusterIP")]
        if address not in (None, "", "None")
    ]
