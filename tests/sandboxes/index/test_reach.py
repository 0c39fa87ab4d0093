"""Which addresses are public, and that names are judged by all they resolve to."""

import socket
from dataclasses import dataclass, field

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from sandboxes.index.reach import (
    NotAllowedError,
    NotListedError,
    PublicResolver,
    check_listed,
    check_literal,
    is_public,
    origin_of,
)

PUBLIC = ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
INSIDE = [
    "127.0.0.1",
    "10.0.0.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.168.1.1",
    "0.0.0.0",  # noqa: S104
    "224.0.0.1",
    "240.0.0.1",
    "::1",
    "::",
    "::7f00:1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "2002:7f00:1::",
    "fd00::1",
    "fe80::1%1",
    "fec0::1",
    "ff02::1",
    "no address",
    "127.1",
]


@pytest.mark.parametrize(("address", "public"), [*((a, True) for a in PUBLIC), *((a, False) for a in INSIDE)])
def test_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "[::1]", "[::ffff:127.0.0.1]"])
def test_a_literal_address_inside_is_refused(host: str) -> None:
    with pytest.raises(NotAllowedError):
        check_literal(URL(f"http://{host}/x", encoded=True))


def test_public_literals_and_names_pass_on_to_the_resolver() -> None:
    for host in ("8.8.8.8", "[2606:4700::1111]", "files.example"):
        check_literal(URL(f"https://{host}/x"))


UPSTREAM = ("https", "index.example", 443)


@dataclass
class Names(AbstractResolver):
    """A name server that says what it is told to say."""

    addresses: list[str]
    upstream: list[str] = field(default_factory=lambda: ["9.9.9.9"])

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in (self.upstream if host == UPSTREAM[1] else self.addresses)
        ]

    async def close(self) -> None:
        return


async def test_a_name_is_judged_each_time_and_by_all_its_addresses() -> None:
    names = Names(["8.8.8.8"])
    resolver = PublicResolver(names, UPSTREAM)
    assert [found["host"] for found in await resolver.resolve("files.example")] == ["8.8.8.8"]
    for addresses in (["127.0.0.1"], ["8.8.8.8", "10.0.0.1"]):
        names.addresses = addresses
        with pytest.raises(NotAllowedError):
            await resolver.resolve("files.example")


def test_an_origin_is_scheme_host_and_port() -> None:
    assert origin_of(URL("https://h/x")) == origin_of(URL("https://me:secret@h:443/y?z"))
    assert len({origin_of(URL(url)) for url in ("https://h", "http://h", "https://h:8443", "https://i")}) == 4


@pytest.mark.parametrize(
    ("host", "listed"),
    [
        ("files.example", True),
        ("FILES.example", True),
        ("files.example.", True),
        ("a.cdn.example", True),
        ("b.a.cdn.example", True),
        ("cdn.example", False),
        ("evilcdn.example", False),
        ("a.files.example", False),
        ("files.example.evil.example", False),
        ("8.8.8.8", False),
        ("[2606:4700::1111]", False),
    ],
)
def test_hosts_are_listed_by_name_or_by_what_they_are_below(host: str, listed: bool) -> None:
    url, hosts = (
        URL(f"https://me@{host}:8443/files.example", encoded=True),
        ("files.example", "*.cdn.example"),
    )
    check_listed(url, ())
    if listed:
        check_listed(url, hosts)
    else:
        with pytest.raises(NotListedError):
            check_listed(url, hosts)


@pytest.mark.parametrize(
    ("upstream", "address", "port", "allowed"),
    [
        (["10.0.0.9"], "10.0.0.9", 443, True),  # one proxy stands for the internet
        (["10.0.0.9"], "10.0.0.8", 443, False),
        (["10.0.0.9"], "10.0.0.9", 8443, False),
        (["127.0.0.1"], "127.0.0.1", 443, False),
        (["8.8.8.8"], "10.0.0.9", 443, False),
    ],
)
async def test_what_the_upstreams_own_inside_address_stands_for(
    upstream: list[str], address: str, port: int, allowed: bool
) -> None:
    resolver = PublicResolver(Names([address], upstream), UPSTREAM)
    if allowed:
        assert [found["host"] for found in await resolver.resolve("files.example", port)] == [address]
    else:
        with pytest.raises(NotAllowedError):
            await resolver.resolve("files.example", port)
