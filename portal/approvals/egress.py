"""What a person typed to ask for a way out of a sandbox, checked field by field. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from portal.approvals.drafts import DraftError
from portal.approvals.durations import SHORTEST, parse_duration
from sandboxes.errors import InvalidInputError
from sandboxes.lifecycle.ways import Way, parse_block, parse_host, parse_port

NO_PROXY = "There is no egress proxy here, so a host cannot be asked for by name; ask for an address block."
_MOST_TEXT = 4000


@dataclass(frozen=True)
class Typed:
    """As it came from a form or the API. `until` is ISO 8601: a moment, a duration from now, or nothing at all."""

    port: str
    reason: str
    host: str = ""
    cidr: str = ""
    until: str = ""


@dataclass(frozen=True)
class EgressDraft:
    """A way out that may be asked for, until a moment within the lease."""

    way: Way
    reason: str
    until: datetime


def parse_egress(typed: Typed, *, now: datetime, lease_end: datetime, proxied: bool) -> EgressDraft:
    """The draft, or a DraftError naming every field that is wrong. `proxied`: there is an egress proxy."""
    errors: dict[str, str] = {}
    host, cidr = typed.host.strip(), typed.cidr.strip()
    if bool(host) == bool(cidr):
        errors["host"] = "Name one host or one address block."
    elif host and not proxied:
        errors["host"] = NO_PROXY
    elif host:
        host = _tried(parse_host, host, "host", errors)
    else:
        cidr = _tried(parse_block, cidr, "cidr", errors)
    port = _tried(parse_port, typed.port, "port", errors)
    if not typed.reason.strip():
        errors["reason"] = "Say what it is needed for: an approver decides by it."
    elif len(typed.reason) > _MOST_TEXT or "\0" in typed.reason:
        errors["reason"] = f"Keep it below {_MOST_TEXT} plain characters."
    until = _until(typed.until.strip(), now, lease_end, errors)
    if errors or port is None:
        raise DraftError(errors)
    return EgressDraft(Way(cidr, host, port), typed.reason.strip(), until)


def as_json(draft: EgressDraft) -> dict[str, Any]:
    """How a request keeps it."""
    way = draft.way
    return {"cidr": way.cidr, "host": way.host, "port": way.port, "until": draft.until.isoformat()}


def way_of(kept: Any) -> Way:
    """Of a request for a way out, which always keeps one."""
    return Way(kept["cidr"], kept["host"], kept["port"])


def until_of(kept: Any) -> datetime:
    return datetime.fromisoformat(kept["until"])


def _tried[T, K](parse: Callable[[T], K], given: T, field: str, errors: dict[str, str]) -> Any:
    try:
        return parse(given)
    except InvalidInputError as error:
        errors[field] = str(error)
        return None


def _until(text: str, now: datetime, lease_end: datetime, errors: dict[str, str]) -> datetime:
    """To the second: what is shown is then what holds."""
    try:
        until = _moment(text, now) if text else lease_end
    except (InvalidInputError, ValueError, OverflowError):
        errors["until"] = f"{text[:40]!r} is no moment and no duration; write 2026-12-24T18:00Z, PT4H or P2D."
        return lease_end
    if until > lease_end:
        errors["until"] = (
            f"It cannot outlast the lease, which ends at {lease_end.astimezone(UTC):%Y-%m-%d %H:%M} UTC."
        )
    elif until < now + SHORTEST - timedelta(seconds=1):
        errors["until"] = "That is over, or as good as; the shortest is one minute."
    return until


def _moment(text: str, now: datetime) -> datetime:
    if text[:1] in ("P", "p"):
        return now + parse_duration(text)
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
