"""What may be asked for as a way out, and what stays closed whoever approves it."""

import pytest

from sandboxes.errors import InvalidInputError
from sandboxes.lifecycle.ways import (
    Way,
    closed_addresses,
    closed_within,
    parse_block,
    parse_host,
    parse_inside,
    parse_port,
    parse_way,
)


@pytest.mark.parametrize(
    ("typed", "network"),
    [
        ("203.0.113.7", "203.0.113.7/32"),
        (" 203.0.113.0/24 ", "203.0.113.0/24"),
        ("203.0.113.9/24", "203.0.113.0/24"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("2001:DB8::1", "2001:db8::1/128"),
    ],
)
def test_blocks(typed: str, network: str) -> None:
    assert parse_block(typed) == network


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("", "no address block"),
        ("api.example.org", "no address block"),
        ("10.0.0.0/33", "no address block"),
        ("1", "no address block"),
        ("0.0.0.0/0", "too much at once"),
        ("8.0.0.0/7", "too much at once"),
        ("::/0", "too much at once"),
        ("2001::/31", "too much at once"),
        ("127.0.0.1", "loopback"),
        ("::1", "loopback"),
        ("169.254.169.254", "link-local"),
        ("169.0.0.0/8", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%1", "one machine only"),
        ("0.0.0.0", "no host in particular"),  # noqa: S104
        ("224.0.0.251", "multicast"),
        ("ff02::1", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "cannot be opened"),
        ("100.100.100.200", "metadata"),
        ("100.0.0.0/8", "metadata"),
        ("fd00:ec2::/64", "metadata"),
        ("::ffff:10.0.0.1", "IPv4"),
        ("64:ff9b::a00:1", "IPv4"),
        ("2002:a00:1::/48", "IPv4"),
    ],
)
def test_blocks_that_stay_closed(typed: str, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        parse_block(typed)


@pytest.mark.parametrize(
    ("typed", "host"),
    [
        ("api.example.org", "api.example.org"),
        (" API.Example.ORG. ", "api.example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("аpple.com", "xn--pple-43d.com"),  # the first letter is Cyrillic: nobody approves it unawares
        ("localhost.example.org", "localhost.example.org"),
        ("3.example.org", "3.example.org"),
    ],
)
def test_hosts(typed: str, host: str) -> None:
    assert parse_host(typed) == host


@pytest.mark.parametrize(
    "typed",
    [
        "", ".", "localhost", "LOCALHOST.", "intranet", "*.example.org", "api_1.example.org", "a..b", "-a.example.org",
        "1.2.3.4", "127.1", "0x7f.1", "2130706433", "::1", "[::1]", "fe80::1%1",
        "printer.local", "db.internal", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
        "x.localhost", "1.0.0.127.in-addr.arpa", "nas.lan", "hidden.onion",
        "https://api.example.org", "api.example.org:443", "api.example.org/x", "me@api.example.org", "a b.example.org",
        "a\0.example.org", "a\n.example.org", f"{'a' * 64}.org", ".".join(["abcdefghi"] * 30), "☃.example.org",
    ],
)  # fmt: skip
def test_names_that_stay_closed(typed: str) -> None:
    with pytest.raises(InvalidInputError):
        parse_host(typed)


@pytest.mark.parametrize("typed", ["", "0", "65536", "-1", "443x", "٤٤٣", "4" * 100, "1.5"])
def test_ports(typed: str) -> None:
    assert parse_port(" 443 ") == 443
    with pytest.raises(InvalidInputError):
        parse_port(typed)


def test_one_of_the_two() -> None:
    assert str(parse_way(host="api.example.org", port=443)) == "api.example.org:443"
    assert str(parse_way(cidr="2001:db8::1", port="22")) == "[2001:db8::1/128]:22"
    assert parse_way(cidr="10.1.2.3", port="22") == Way("10.1.2.3/32", "", 22)
    for both in ({"host": "api.example.org", "cidr": "10.1.2.3"}, {}, {"host": " ", "cidr": " "}):
        with pytest.raises(InvalidInputError, match="one host or one address block"):
            parse_way(**both, port=443)


def test_hosts_an_admin_allows_inside() -> None:
    assert parse_inside("") == {}
    text = "git.example.org=10.1.2.3, Git.example.org=fd00::3,try.example.org=127.0.0.1"
    assert parse_inside(text) == {
        "git.example.org": ("10.1.2.3", "fd00::3"),
        "try.example.org": ("127.0.0.1",),
    }


@pytest.mark.parametrize(
    "text",
    [
        "git.example.org", "git.example.org=", "=10.1.2.3", "git.example.org=10.1.2.0/24", "localhost=127.0.0.1",
        "git.example.org=169.254.169.254", "git.example.org=0.0.0.0", "git.example.org=224.0.0.1",
        "git.example.org=::ffff:10.0.0.1", "git.example.org=fd00:ec2::254", "git.example.org=fe80::1%1",
    ],
)  # fmt: skip
def test_what_not_even_an_admin_allows(text: str) -> None:
    with pytest.raises(InvalidInputError, match="EGRESS_INSIDE"):
        parse_inside(text)


def test_what_the_probe_needs_closed() -> None:
    attempts = [
        {"target": "api-server", "host": "10.0.0.1", "expected": "blocked"},
        {"target": "metadata", "host": "fd00:ec2::254", "expected": "blocked"},
        {"target": "index", "host": "10.0.0.9", "expected": "open"},
    ]
    closed = closed_addresses(attempts)
    assert closed == {"10.0.0.1": "api-server", "fd00:ec2::254": "metadata"}
    assert closed_within("10.0.0.0/8", closed) == "api-server 10.0.0.1"
    assert closed_within("10.0.0.1/32", closed) == "api-server 10.0.0.1"
    assert closed_within("10.0.0.9/32", closed) is None
    assert closed_within("2001:db8::/32", closed) is None
