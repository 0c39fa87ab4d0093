"""Ways out of a sandbox: what may be asked for, and what stays closed whoever approves it. Pure, without Django.

A way is one address block and port, which a network policy allows, or one host
name and port, which the egress proxy allows. A block is judged by its addresses
here, a host by its name here and by what it resolves to in the proxy.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

import idna

from sandboxes.errors import InvalidInputError

type Network = IPv4Network | IPv6Network

# As the seal has it (`cluster.seal`): a service or a network, never a good part of the Internet in one line.
SHORTEST_PREFIX: Final = {4: 8, 6: 32}
# Cloud metadata services hand out the node's credentials. Link-local ones are closed as a whole, below.
METADATA: Final = (
    "100.100.100.200/32",
    "168.63.129.16/32",
    "192.0.0.192/32",
    "fd00:ec2::254/128",
    "fd20:ce::254/128",
)
_CLOSED: Final = tuple(
    (ip_network(block), why)
    for blocks, why in (
        (("0.0.0.0/8", "::/128", "255.255.255.255/32"), "means no host in particular"),
        (("127.0.0.0/8", "::1/128"), "is the loopback of whoever asks"),
        (("169.254.0.0/16", "fe80::/10"), "is link-local; cloud metadata is there"),
        (METADATA, "is a cloud's metadata service"),
        (("224.0.0.0/4", "ff00::/8"), "is multicast"),
        (("240.0.0.0/4",), "is reserved"),
        # IPv4 written as IPv6 would slip past the limits for IPv4 (RFC 4291 2.5.5, 6052, 8215, 3056).
        (
            ("::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16"),
            "stands for an IPv4 address; write that",
        ),
    )
    for block in blocks
)
# Names that mean something inside only (RFC 6761, 6762, 8375, ICANN's .internal; Kubernetes' own).
_INSIDE_NAMES: Final = (
    "localhost",
    "localdomain",
    "local",
    "internal",
    "intranet",
    "lan",
    "home.arpa",
    "svc",
    "cluster.local",
    "onion",
    "invalid",
    "arpa",
)


@dataclass(frozen=True, slots=True)
class Way:
    """Exactly one of `cidr` ("203.0.113.0/24") and `host` (ASCII, lower case, no dot at its end) is set."""

    cidr: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{bracketed(self.cidr or self.host)}:{self.port}"


def parse_way(*, cidr: str = "", host: str = "", port: int | str) -> Way:
    """The way, or InvalidInputError saying what is wrong with it."""
    if bool(cidr.strip()) == bool(host.strip()):
        raise InvalidInputError("Name one host or one address block, not both.")
    number = parse_port(port)
    return Way(parse_block(cidr), "", number) if cidr.strip() else Way("", parse_host(host), number)


def parse_port(port: int | str) -> int:
    text = str(port).strip()
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and 0 < int(text) < 65536):
        raise InvalidInputError("A port is a number from 1 to 65535.")
    return int(text)


def parse_block(text: str) -> str:
    """An address or a block of moderate size, as its network: "10.1.2.3" becomes "10.1.2.3/32"."""
    if "%" in text:
        raise InvalidInputError(f"{text.strip()[:60]!r} means something on one machine only.")
    try:
        network = ip_network(text.strip(), strict=False)
    except ValueError as error:
        raise InvalidInputError(
            f"{text.strip()[:60]!r} is no address block; write 203.0.113.0/24 or 203.0.113.7."
        ) from error
    shortest = SHORTEST_PREFIX[network.version]
    if network.prefixlen < shortest:
        raise InvalidInputError(f"{network} is too much at once: /{shortest} at the most.")
    for closed, why in _CLOSED:
        if _overlap(closed, network):
            raise InvalidInputError(f"{network} cannot be opened: {closed} {why}.")
    return str(network)


def parse_host(text: str) -> str:
    """A full DNS name as it goes over the wire (IDNA 2008): ASCII, lower case, without the last dot.

    What looks like a letter of ours and is not shows as xn--…, so nobody approves a look-alike unawares.
    """
    given = text.strip().removesuffix(".")
    if _is_address(given):
        raise InvalidInputError(f"{given[:60]!r} is an address; ask for an address block, or name the host.")
    try:
        host = idna.encode(given, uts46=True, std3_rules=True).decode("ascii").lower()
    except (UnicodeError, ValueError) as error:
        raise InvalidInputError(
            f"{given[:60]!r} is no DNS name; write it in full, without wildcards: api.example.org."
        ) from error
    labels = host.split(".")
    if len(labels) < 2 or len(host) > 253:
        raise InvalidInputError(f"{host[:60]!r} is no full DNS name; write api.example.org.")
    # A last label of digits, or 0x…, is how URL parsers know an IPv4 address (WHATWG URL, "ends in a number").
    if labels[-1].isdecimal() or labels[-1].startswith("0x"):
        raise InvalidInputError(f"{host!r} is an address; ask for an address block, or name the host.")
    for inside in _INSIDE_NAMES:
        if host == inside or host.endswith(f".{inside}"):
            raise InvalidInputError(f"{host} means something inside only; names under {inside} stay closed.")
    return host


def parse_inside(text: str) -> dict[str, tuple[str, ...]]:
    """EGRESS_INSIDE, `NAME=ADDRESS,…`: hosts an admin allows to be asked for though they are not public.

    The addresses stand for the name, which is then not looked up. Several for one name: write it again.
    """
    found: dict[str, tuple[str, ...]] = {}
    for part in (part.strip() for part in text.split(",")):
        if not part:
            continue
        name, _, address = part.partition("=")
        try:
            host, checked = parse_host(name), str(ip_address(address.strip()))
            if never_inside(checked):
                raise InvalidInputError("it is never reachable")
        except ValueError as error:
            raise _wrong_inside(part, "it is no IP address") from error
        except InvalidInputError as error:
            raise _wrong_inside(part, str(error)) from error
        found[host] = (*found.get(host, ()), checked)
    return found


def _wrong_inside(part: str, why: str) -> InvalidInputError:
    return InvalidInputError(f"EGRESS_INSIDE has {part!r} ({why}); write NAME=ADDRESS, commas between.")


def never_inside(address: str) -> bool:
    """What no admin may allow either: loopback apart, all that `parse_block` refuses."""
    parsed = ip_address(address)
    return not parsed.is_loopback and any(_overlap(closed, _single(parsed)) for closed, _ in _CLOSED)


def closed_within(cidr: str, closed: Mapping[str, str]) -> str | None:
    """The first of `closed` (address or block → what it is) that the block touches, with what it is; or None."""
    block = ip_network(cidr)
    for text, name in closed.items():
        try:
            touched = _overlap(ip_network(text.partition("%")[0], strict=False), block)
        except ValueError:  # a name
            continue
        if touched:
            return f"{name} {text}"
    return None


def closed_addresses(attempts: Iterable[Mapping[str, object]]) -> dict[str, str]:
    """What the seal's probe showed to be closed: address → name.

    An exception must not open any of it: the next probe would find the seal broken, and rightly so.
    """
    return {
        str(attempt["host"]): str(attempt.get("target") or "a closed address")
        for attempt in attempts
        if attempt.get("expected") == "blocked" and attempt.get("host")
    }


def bracketed(host: str) -> str:
    """An IPv6 address as it stands before a port."""
    return f"[{host}]" if ":" in host else host


def _is_address(text: str) -> bool:
    try:
        ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True


def _single(address: IPv4Address | IPv6Address) -> Network:
    return ip_network(f"{str(address).partition('%')[0]}/{address.max_prefixlen}")


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)
