"""Where a request of the index may go: to origins that an operator named, else to public addresses only.

Pages of an upstream name any URL they like, and so do redirects. The index
stands in a network that sandboxes cannot see, and streams what it fetches to
them, so an address that a page chose must not lead inside (SSRF). Names are
judged by what they resolve to, in the resolver whose answer is then connected
to: between check and use there is no second look-up that could differ.
"""

import ipaddress
import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

type Origin = tuple[str, str, int | None]

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # RFC 4291, 2.4: all else is local, multicast or reserved
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: leads to the IPv4 address in its last 32 bits


class NotAllowedError(OSError):
    """An address that is not public. An OSError, because that is what a resolver may raise."""


class NotListedError(NotAllowedError):
    """A host that is not among those to which an operator limited an upstream."""


def origin_of(url: URL) -> Origin:
    """Scheme, host and port (RFC 6454), with the port in full: ``https://h`` and ``https://h:443`` are one."""
    return url.scheme, url.raw_host or "", url.port


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet; false for what is no address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv4Address):
        return parsed.is_global and not parsed.is_multicast
    inner = parsed.ipv4_mapped
    if parsed in _NAT64:
        inner = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
    if inner is not None:
        return is_public(str(inner))
    return parsed.is_global and parsed in _GLOBAL_UNICAST


def check_literal(url: URL) -> None:
    """Raises `NotAllowedError` for a host that is written as an address and not public: no resolver sees those."""
    host = url.raw_host or ""
    # The same heuristic as aiohttp's, which connects to such a host without asking its resolver.
    if (":" in host or host.replace(".", "").isdigit()) and not is_public(host):
        raise NotAllowedError("not a public address")


def check_listed(url: URL, hosts: tuple[str, ...]) -> None:
    """Raises `NotListedError` for a host that none of the patterns names: ``HOST``, or ``*.HOST`` for all below it.

    No patterns name every host.
    """
    host = (url.raw_host or "").lower().removesuffix(".")
    if hosts and not any(host == one or (one[0] == "*" and host.endswith(one[1:])) for one in hosts):
        raise NotListedError("not among the hosts that files may be on")


class PublicResolver(AbstractResolver):
    """Gives what `inner` gives if all of it is public; a name with one foot inside is refused altogether.

    One exception: where the upstream index itself is reached at an inside address, as behind a company's
    proxy that stands for the whole internet, other names that lead to that same address and port lead to the
    same proxy. Loopback never counts, and credentials never go along (`scope.py`).
    """

    def __init__(self, inner: AbstractResolver, upstream: Origin) -> None:
        self._inner = inner
        _, self._host, self._port = upstream

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        inside = {result["host"] for result in found if not is_public(result["host"])}
        if inside and not (port == self._port and inside <= await self._of_upstream(port, family)):
            raise NotAllowedError("resolves to an address that is not public")
        return found

    async def _of_upstream(self, port: int, family: socket.AddressFamily) -> set[str]:
        found = await self._inner.resolve(self._host, port, family)
        return {result["host"] for result in found if not ipaddress.ip_address(result["host"]).is_loopback}

    async def close(self) -> None:
        await self._inner.close()
