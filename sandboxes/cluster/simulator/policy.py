"""NetworkPolicy, evaluated: may this pod send to that address, over TCP or UDP?

The meaning is the API's (networking.k8s.io/v1): policies that select the pod add
up; a pod that none selects is open; a rule without peers or without ports means
all of them. A mistake in our policies therefore fails the simulated probe as it
would fail a real one.
"""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from sandboxes.cluster.simulator.selectors import from_object

type Json = dict[str, Any]


def may_connect(
    policies: Iterable[Json], labels: Mapping[str, str], host: str, port: int, protocol: str = "tcp"
) -> bool:
    """Egress from a pod with these labels, in the policies' own namespace."""
    selecting = [
        policy["spec"]
        for policy in policies
        if "Egress" in _types(policy["spec"]) and from_object(policy["spec"].get("podSelector") or {})(labels)
    ]
    if not selecting:
        return True
    wanted = (port, protocol.upper())
    return any(_allows(rule, host, *wanted) for spec in selecting for rule in spec.get("egress") or ())


def _types(spec: Json) -> list[str]:
    """Without policyTypes, Egress is meant only if there are egress rules."""
    return spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]


def _allows(rule: Json, host: str, port: int, protocol: str) -> bool:
    peers, ports = rule.get("to") or (), rule.get("ports") or ()
    return (not peers or any(_is_peer(peer, host) for peer in peers)) and (
        not ports or any(_is_port(entry, port, protocol) for entry in ports)
    )


def _is_peer(peer: Json, host: str) -> bool:
    """Only address blocks: pods here have no network, so no selector can name a listener."""
    block = peer.get("ipBlock")
    if block is None:
        return False
    address = ip_address(host)
    inside = address in ip_network(block["cidr"], strict=False)
    return inside and not any(address in ip_network(hole, strict=False) for hole in block.get("except") or ())


def _is_port(entry: Json, port: int, protocol: str) -> bool:
    if entry.get("protocol", "TCP") != protocol:
        return False
    first = entry.get("port")
    if first is None:
        return True
    return isinstance(first, int) and first <= port <= entry.get("endPort", first)
