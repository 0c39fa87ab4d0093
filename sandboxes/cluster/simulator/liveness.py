"""Who would answer at an address, were there a network: the cluster itself, its pods, and the world outside.

Of the outside nothing is known here, and nothing is sent there: it is taken to answer,
but for the metadata services, which a cluster on nobody's machines has not.
"""

from ipaddress import ip_address, ip_network
from typing import Any, Final

from sandboxes.cluster.simulator.objects import Objects
from sandboxes.cluster.simulator.resources import PODS
from sandboxes.cluster.simulator.seed import LISTENING, NODE_ADDRESS, POD_RANGE, SERVICE_RANGE

type Json = dict[str, Any]

_INSIDE: Final = tuple(map(ip_network, (POD_RANGE, SERVICE_RANGE, f"{NODE_ADDRESS}/32")))
_NOBODY: Final = frozenset(("169.254.169.254", "fd00:ec2::254"))


def answers(objects: Objects, host: str, port: int, protocol: str) -> bool:
    """Whether something listens there."""
    if (host, port, protocol) in LISTENING:
        return True
    address = ip_address(host)
    if not any(address.version == each.version and address in each for each in _INSIDE):
        return host not in _NOBODY
    return any(
        _listens(row.data, host, port, protocol) for row in objects.store.mentioning(PODS, f'"{host}"')
    )


def _listens(pod: Json, host: str, port: int, protocol: str) -> bool:
    """A running pod answers at the ports that it declares."""
    status = pod.get("status", {})
    if status.get("phase") != "Running" or status.get("podIP") != host:
        return False
    return any(
        declared["containerPort"] == port and declared.get("protocol", "TCP").lower() == protocol
        for container in pod["spec"]["containers"]
        for declared in container.get("ports") or ()
    )
