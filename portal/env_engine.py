"""What the environment says about the seal and the engine. Read by `portal.env`, checked the same way."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import isodate

from sandboxes.errors import InvalidInputError
from sandboxes.lifecycle.ways import parse_inside

_SHORTEST_TOKEN = 32


@dataclass(frozen=True)
class Engine:
    """PROBE_EVERY, PROBE_IMAGE, PROBE_OUTSIDE, PROBE_DNS, PROBE_TARGETS, OBSERVE_EVERY, ORPHAN_GRACE, STUCK_AFTER."""

    probe_every: timedelta  # how often the seal of a ready sandbox is proven again
    probe_image: str  # of the canary; empty: WORKSPACE_IMAGE, else the first profile's
    probe_outside: tuple[str, int]  # an address of the outside world that answers
    probe_dns: str  # a DNS server that is not the cluster's
    probe_targets: tuple[tuple[str, str, int], ...]  # further (name, address, port) that must be blocked
    observe_every: timedelta  # how often a cluster is listed
    orphan_grace: timedelta  # from quarantine to deletion
    stuck_after: timedelta  # how long a namespace may be Terminating
    egress_proxy_port: int  # 0: no egress proxy
    egress_proxy_url: str  # where sandboxes find it; empty: INDEX_URL's host and the port
    egress_inside: Mapping[str, tuple[str, ...]]  # EGRESS_INSIDE: hosts the proxy may reach though not public
    inventory_every: timedelta  # INVENTORY_EVERY: how often what is installed in an open sandbox is looked at
    honeytoken_action: str  # HONEYTOKEN_ACTION: what follows when a planted credential is used
    policy_log_token: str = field(repr=False)  # POLICY_LOG_TOKEN: of who ships the cluster's policy logs


def read(environ: Mapping[str, str]) -> Engine:
    """InvalidInputError names the variable and the remedy."""
    return Engine(
        probe_every=_duration(environ, "PROBE_EVERY", "PT1H"),
        probe_image=environ.get("PROBE_IMAGE", ""),
        probe_outside=_address("PROBE_OUTSIDE", environ.get("PROBE_OUTSIDE") or "1.1.1.1:443"),
        probe_dns=_host("PROBE_DNS", environ.get("PROBE_DNS") or "9.9.9.9"),
        probe_targets=_targets(environ.get("PROBE_TARGETS", "")),
        observe_every=_duration(environ, "OBSERVE_EVERY", "PT30S"),
        orphan_grace=_duration(environ, "ORPHAN_GRACE", "P1D"),
        stuck_after=_duration(environ, "STUCK_AFTER", "PT10M"),
        egress_proxy_port=_proxy_port(environ.get("EGRESS_PROXY_PORT") or "8082"),
        egress_proxy_url=environ.get("EGRESS_PROXY_URL", "").rstrip("/"),
        egress_inside=parse_inside(environ.get("EGRESS_INSIDE", "")),
        inventory_every=_duration(environ, "INVENTORY_EVERY", "P1D"),
        honeytoken_action=_action(environ.get("HONEYTOKEN_ACTION") or "alarm"),
        policy_log_token=_token(environ.get("POLICY_LOG_TOKEN", "")),
    )


def _duration(environ: Mapping[str, str], name: str, default: str) -> timedelta:
    text = environ.get(name) or default
    try:
        length = isodate.parse_duration(text)
    except (ValueError, TypeError, OverflowError):
        length = None
    if not isinstance(length, timedelta) or length <= timedelta():
        raise InvalidInputError(f"{name} is {text!r}; set it to an ISO 8601 duration such as {default}.")
    return length


def _host(name: str, text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError as error:
        raise InvalidInputError(f"{name} is {text!r}; set it to an IP address.") from error


def _address(name: str, text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise InvalidInputError(f"{name} is {text!r}; set it to ADDRESS:PORT.")
    return _host(name, host), int(port)


def _targets(text: str) -> tuple[tuple[str, str, int], ...]:
    found = []
    for part in (part.strip() for part in text.split(",")):
        name, equals, address = part.partition("=")
        if part and not (name and equals):
            raise InvalidInputError(f"PROBE_TARGETS has {part!r}; write NAME=ADDRESS:PORT, commas between.")
        if part:
            found.append((name, *_address("PROBE_TARGETS", address)))
    return tuple(found)


def _action(text: str) -> str:
    if text not in ("alarm", "isolate"):
        raise InvalidInputError(f"HONEYTOKEN_ACTION is {text!r}; set it to alarm or isolate.")
    return text


def _token(text: str) -> str:
    if text and len(text) < _SHORTEST_TOKEN:
        raise InvalidInputError(
            f"POLICY_LOG_TOKEN is short; set it to {_SHORTEST_TOKEN} random characters or more."
        )
    return text


def _proxy_port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise InvalidInputError(f"EGRESS_PROXY_PORT is {text!r}; set it to a port number, or 0 for no proxy.")
    return int(text)
