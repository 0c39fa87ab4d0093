"""How fast a cluster may be asked: what we impose on ourselves, and what it asks of us.

A `Pacer` is called before every request. It may sleep, or raise a TemporaryError
to send the caller away: a token bucket and a circuit breaker look alike from here.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

type Pacer = Callable[[], None]

_LONGEST: Final = 3600.0  # a header must not put a sandbox to sleep for a year


def unhurried() -> None:
    """The pacer of those who ask seldom."""


def retry_after(header: str | None, date: str | None = None) -> float | None:
    """Seconds until trying again is welcome (Retry-After, RFC 9110, 10.2.3); None if nobody said.

    The header holds seconds or a date. A date is counted from `date`, the answer's
    own Date header, so that a wrong clock on either side changes nothing.
    """
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), _LONGEST)
    until = moment(text)
    if until is None:
        return None
    seconds = (until - (moment(date or "") or datetime.now(UTC))).total_seconds()
    return min(max(seconds, 0.0), _LONGEST)


def moment(text: str) -> datetime | None:
    """A date as headers have it (RFC 9110, 5.6.7); None if it is none."""
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, IndexError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
