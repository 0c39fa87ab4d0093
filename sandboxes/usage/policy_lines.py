"""Lines of network plugins' logs, read: which packets a network policy dropped on their way out of a pod. Pure.

- **Cilium**: flows as Hubble exports them (`hubble.export`, or `hubble observe -o jsonpb`), one JSON object a
  line, with the flow itself in `flow`. Counted is what has verdict DROPPED, direction EGRESS and a reason that is
  a policy's, and is no reply.
- **Calico**: flow logs as Calico Enterprise and Cloud write them, one JSON object a line, flat. Counted is what has
  action `deny` and is told by the source's side (`reporter` "src"). Several packets may be one line.

Those who ship lines wrap them: in `log`, `message` or `line`, as text or as an object. That is undone. A line that
is neither of these is `Unknown`, with words why; nothing here ever fails on one.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any, Final

LONGEST_LINE: Final = 64 * 1024
_WRAPPERS: Final = ("log", "message", "line")
_WRAPPED: Final = 3  # deep at most
_LONGEST_HOST: Final = 253
_PORTS: Final = 65535
_DIGITS: Final = 9
_BEGINNING: Final = datetime(2000, 1, 1, tzinfo=UTC)  # what is older is no time of a log
_MILLISECONDS: Final = 10**11  # a time beyond it counts them: as seconds it would be the year 5138
# Cilium's DropReason (flow.proto): other drops are faults of the network, and no policy's.
_REASONS: Final = frozenset(("POLICY_DENIED", "POLICY_DENY", "AUTH_REQUIRED"))
_NUMBERS: Final = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp"}  # IANA's protocol numbers
_NOBODY: Final = ("", "-")
_VAGUE: Final = {"pub": "a public address", "pvt": "a private address"}  # Calico's, where it aggregates


@dataclass(frozen=True, slots=True)
class Drop:
    """What did not get out. `port` is 0 where there is none; `address` is "" where only a name is known."""

    at: datetime
    namespace: str
    pod: str
    host: str
    address: str
    port: int
    protocol: str


@dataclass(frozen=True, slots=True)
class Passed:
    """A line that was understood, and is about no packet that a policy dropped on its way out."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """`number` counts from 1."""

    number: int
    why: str


type Read = Drop | Passed | Unknown


class _UnreadableError(Exception):
    pass


def read(text: str) -> Iterator[Read]:
    """Of every line that is not empty; an array of records in place of lines is read as well."""
    for number, record in _records(text):
        try:
            yield _read(_unwrapped(record, _WRAPPED))
        except _UnreadableError as error:
            yield Unknown(number, str(error))


def _records(text: str) -> Iterator[tuple[int, Any]]:
    if text.lstrip()[:1] == "[":
        whole = _parsed_array(text)
        if whole is not None:
            yield from enumerate(whole, 1)
            return
    lines = ((number, line.strip()) for number, line in enumerate(text.split("\n"), 1))
    yield from ((number, line) for number, line in lines if line)


def _parsed_array(text: str) -> list[Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) else None


def _unwrapped(record: Any, deep: int) -> Mapping[str, Any]:
    if isinstance(record, str):
        record = _parsed(record)
    if not isinstance(record, dict):
        raise _UnreadableError("it is no JSON object")
    inner = next((record[name] for name in _WRAPPERS if isinstance(record.get(name), str | dict)), None)
    if inner is None or deep == 0 or "flow" in record or "action" in record:
        return record
    return _unwrapped(inner, deep - 1)


def _parsed(line: str) -> Any:
    if len(line) > LONGEST_LINE:
        raise _UnreadableError(f"it is longer than {LONGEST_LINE} characters")
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _UnreadableError("it is no JSON") from error


def _read(record: Mapping[str, Any]) -> Drop | Passed:
    flow = record.get("flow", record)
    if isinstance(flow, dict) and "verdict" in flow:
        return _hubble(flow)
    if "action" in record and "source_namespace" in record:
        return _calico(record)
    known = ("lost_events", "node_status", "agent_event", "debug_event")  # of Hubble, beside flows
    if any(name in record for name in known):
        return Passed()
    raise _UnreadableError("it is neither a flow of Hubble nor one of Calico")


def _hubble(flow: Mapping[str, Any]) -> Drop | Passed:
    reason = str(flow.get("drop_reason_desc") or "POLICY_DENIED")
    leaves = flow.get("traffic_direction") == "EGRESS" and flow.get("is_reply") is not True
    if flow["verdict"] != "DROPPED" or not leaves or reason not in _REASONS:
        return Passed()
    source, target, ip = (_mapping(flow, name) for name in ("source", "destination", "IP"))
    protocol, port = _layer_4(_mapping(flow, "l4"))
    address = _address(ip.get("destination"))
    pod = f"{_text(target, 'namespace')}/{_text(target, 'pod_name')}".strip("/")
    return _drop(
        at=_time(flow.get("time")),
        namespace=_text(source, "namespace"),
        pod=_text(source, "pod_name"),
        host=_first_of(flow, "destination_names") or pod or address,
        address=address,
        port=port,
        protocol=protocol,
    )


def _layer_4(layer: Mapping[str, Any]) -> tuple[str, int]:
    for name, inner in layer.items():
        port = inner.get("destination_port", 0) if isinstance(inner, dict) else 0
        return _storable(name).lower(), _port(port)
    return "", 0


def _calico(record: Mapping[str, Any]) -> Drop | Passed:
    if record["action"] != "deny" or record.get("reporter", "src") != "src":
        return Passed()
    namespace = _text(record, "source_namespace")
    if namespace in _NOBODY:
        return Passed()
    address = _address(record.get("dest_ip"))
    return _drop(
        at=_time(record.get("end_time") or record.get("start_time")),
        namespace=namespace,
        pod=_first(record, "source_name", "source_name_aggr"),
        host=_first_of(record, "dest_domains") or _target(record) or address,
        address=address,
        port=_port(record.get("dest_port") or 0),
        protocol=_protocol(record.get("proto")),
    )


def _target(record: Mapping[str, Any]) -> str:
    """A pod's name with its namespace; what an address is called only where the address is not known."""
    name, namespace = _first(record, "dest_name", "dest_name_aggr"), _text(record, "dest_namespace")
    if name in _VAGUE:
        return "" if _address(record.get("dest_ip")) else _VAGUE[name]
    return name if namespace in _NOBODY or not name else f"{namespace}/{name}"


def _drop(
    *, at: datetime, namespace: str, pod: str, host: str, address: str, port: int, protocol: str
) -> Drop:
    if not namespace:
        raise _UnreadableError("it names no namespace that the packet came from")
    if not host:
        raise _UnreadableError("it names no destination")
    return Drop(at, namespace, pod, host[:_LONGEST_HOST], address, port, protocol[:10] or "unknown")


def _protocol(given: Any) -> str:
    number = _number(given)
    return _storable(str(given or "")).lower() if number is None else _NUMBERS.get(number, str(number))


def _port(given: Any) -> int:
    number = _number(given)
    if number is None or number > _PORTS:
        raise _UnreadableError("its port is none")
    return number


def _number(given: Any) -> int | None:
    """Written in digits, or a number."""
    text = str(given) if isinstance(given, int | str) else ""
    return int(text) if len(text) <= _DIGITS and text.isdecimal() else None


def _address(given: Any) -> str:
    try:
        return str(ip_address(given)) if isinstance(given, str) else ""
    except ValueError:
        return ""


def _time(given: Any) -> datetime:
    """ISO 8601 (RFC 3339, with nanoseconds too), or seconds or milliseconds since 1970."""
    found = None
    try:
        if isinstance(given, int | float) and not isinstance(given, bool):
            found = datetime.fromtimestamp(given / 1000 if given > _MILLISECONDS else given, UTC)
        elif isinstance(given, str):
            written = datetime.fromisoformat(given)
            found = written.astimezone(UTC) if written.tzinfo else written.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        pass
    if found is None or found < _BEGINNING:
        raise _UnreadableError("it has no time that can be read")
    return found


def _first_of(record: Mapping[str, Any], name: str) -> str:
    """Of a list of texts."""
    found = record.get(name)
    texts = [each for each in found if isinstance(each, str)] if isinstance(found, list) else []
    return _storable(texts[0]) if texts else ""


def _first(record: Mapping[str, Any], *names: str) -> str:
    found: Iterable[str] = (_text(record, name) for name in names)
    return next((text for text in found if text not in _NOBODY), "")


def _mapping(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = record.get(name)
    return found if isinstance(found, dict) else {}


def _text(record: Mapping[str, Any], name: str) -> str:
    found = record.get(name)
    return _storable(found) if isinstance(found, str) else ""


def _storable(text: str) -> str:
    return "".join(character for character in text if character.isprintable())
