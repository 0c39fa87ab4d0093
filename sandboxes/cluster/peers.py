"""Addresses as Kubernetes wants them: `ipBlock`s of single addresses, DNS rules, host aliases."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from sandboxes.cluster.spec import DnsAddress
from sandboxes.errors import InvalidInputError


def address_peers(addresses: Iterable[str]) -> list[dict[str, Any]]:
    """`ipBlock`s of single addresses (NetworkPolicyPeer, networking.k8s.io/v1)."""
    peers = []
    for text in addresses:
        address = _address(text)
        width = 128 if isinstance(address, IPv6Address) else 32
        peers.append({"ipBlock": {"cidr": f"{address}/{width}"}})
    return peers


def dns_egress(servers: Iterable[DnsAddress]) -> list[dict[str, Any]]:
    """One rule for each port, or none at all: a rule with an empty `to` would allow every address."""
    by_port: dict[int, list[str]] = {}
    for server in servers:
        by_port.setdefault(server.port, []).append(server.address)
    return [
        {
            "to": address_peers(addresses),
            "ports": [{"protocol": protocol, "port": port} for protocol in ("UDP", "TCP")],
        }
        for port, addresses in by_port.items()
    ]


def host_aliases(*hosts: tuple[str, tuple[str, ...]]) -> list[dict[str, Any]]:
    """`hostAliases` that pin names to the addresses the policies allow.

    So a name the cluster's DNS does not know still works, and a name whose
    addresses change fails plainly instead of at random.
    """
    names: dict[str, dict[str, None]] = {}
    for host, addresses in hosts:
        if host and not _is_address(host):
            for address in addresses:
                names.setdefault(address, {})[host] = None
    return [{"ip": address, "hostnames": list(found)} for address, found in names.items()]


def _is_address(host: str) -> bool:
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _address(text: str) -> IPv4Address | IPv6Address:
    try:
        address = ip_address(text)
    except ValueError as error:
        raise InvalidInputError(f"{text!r} is not an IP address.") from error
    if isinstance(address, IPv6Address) and address.scope_id:
        raise InvalidInputError(f"{text!r} means something on one machine only.")
    return address
