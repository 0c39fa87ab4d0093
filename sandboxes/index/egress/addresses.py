"""From an allowed name to addresses that may be connected to.

The name is looked up once, and the very addresses that were judged are connected to:
a name that answers differently the second time (DNS rebinding) is never asked twice. All
of them must be public, so a name with one foot inside is refused altogether.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final

from sandboxes.index.egress.head import ProxyError
from sandboxes.index.reach import is_public

SECONDS: Final = 5.0
MOST: Final = 4  # addresses to try

type LookUp = Callable[[str, int], Awaitable[list[str]]]


async def look_up(host: str, port: int) -> list[str]:
    """The system's resolver. The dot at the end keeps it from trying search domains, which lead inside."""
    found = await asyncio.get_running_loop().getaddrinfo(f"{host}.", port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class NotPublicError(ProxyError):
    """Which `address` it was is for the record: what runs in the sandbox does not learn it."""

    def __init__(self, host: str, address: str) -> None:
        message = f"{host} leads to an address that is not public."
        super().__init__(HTTPStatus.FORBIDDEN, "not_public", message)
        self.address = address


class Addresses:
    def __init__(self, inside: Mapping[str, tuple[str, ...]], ask: LookUp = look_up) -> None:
        """`inside`: names an admin set addresses for, which are not looked up."""
        self._inside = inside
        self._ask = ask

    async def of(self, host: str, port: int, closed: Mapping[str, str]) -> list[str]:
        """At most `MOST`, in the resolver's order; `ProxyError` if there is none, or one that is not allowed.

        `closed` are addresses of the cluster itself, as the probe of the sandbox's seal knows them.
        """
        if host in self._inside:
            return list(self._inside[host])[:MOST]
        found = await self._looked_up(host, port)
        shut = {_plain(address) for address in closed}
        for address in found:
            if not is_public(address) or _plain(address) in shut:
                raise NotPublicError(host, address)
        return found[:MOST]

    async def _looked_up(self, host: str, port: int) -> list[str]:
        try:
            async with asyncio.timeout(SECONDS):
                found = list(dict.fromkeys(await self._ask(host, port)))
        except (OSError, UnicodeError) as error:  # a TimeoutError is an OSError
            raise ProxyError(HTTPStatus.BAD_GATEWAY, "no_address", f"{host} has no address now.") from error
        if not found:
            raise ProxyError(HTTPStatus.BAD_GATEWAY, "no_address", f"{host} has no address now.")
        return found


def _plain(address: str) -> str:
    """One spelling for each; an IPv4 address written as IPv6 is that IPv4 address."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    inner = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(inner or parsed)
