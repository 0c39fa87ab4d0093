"""What the environment says about feeds of advisories. Read by `portal.env`, checked the same way."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import isodate

from sandboxes.errors import InvalidInputError


@dataclass(frozen=True)
class Feeds:
    """SCREENING_FEEDS, SCREENING_FEED_EVERY, SCREENING_FEED_LONGEST."""

    sources: tuple[str, ...] = field(repr=False)  # paths and https URLs, which may hold credentials
    every: timedelta  # how often each is taken in
    longest: timedelta  # how old the last success may be before people are told


def read(environ: Mapping[str, str]) -> Feeds:
    """InvalidInputError names the variable and the remedy."""
    return Feeds(
        sources=tuple(dict.fromkeys(environ.get("SCREENING_FEEDS", "").split())),
        every=_hours(environ, "SCREENING_FEED_EVERY", "1"),
        longest=_hours(environ, "SCREENING_FEED_LONGEST", "24"),
    )


def _hours(environ: Mapping[str, str], name: str, default: str) -> timedelta:
    """A number of hours, or an ISO 8601 duration as other settings have."""
    text = environ.get(name) or default
    try:
        length = isodate.parse_duration(text) if text[0] in "Pp" else timedelta(hours=float(text))
    except (ValueError, TypeError, OverflowError):
        length = None
    if not isinstance(length, timedelta) or length <= timedelta():
        raise InvalidInputError(f"{name} is {text!r}; set it to a number of hours such as {default}.")
    return length
