"""Durations as people and the API write them: ISO 8601 in, ISO 8601 and words out."""

from datetime import timedelta

import isodate

from sandboxes.errors import InvalidInputError

SHORTEST = timedelta(minutes=1)


def parse_duration(text: str) -> timedelta:
    """ISO 8601 with a fixed length ("PT90M", "P7D"): months and years have none, so they are not taken."""
    try:
        duration = isodate.parse_duration(text.strip().upper())
    except (isodate.ISO8601Error, ValueError, OverflowError) as error:
        raise InvalidInputError(f"{text!r} is not an ISO 8601 duration; write PT10M, PT4H or P7D.") from error
    if not isinstance(duration, timedelta):
        raise InvalidInputError(f"{text!r} has months or years; write it in days, such as P30D.")
    if duration < SHORTEST:
        raise InvalidInputError(f"{text!r} is too short; the shortest is one minute, PT1M.")
    return duration


def format_duration(duration: timedelta) -> str:
    """The same as ISO 8601, "P7D"."""
    return str(isodate.duration_isoformat(duration))


def words(duration: timedelta) -> str:
    """The two largest units in words: "7 days", "1 hour 30 minutes"."""
    seconds = int(duration.total_seconds())
    parts = []
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}{'s' if count != 1 else ''}")
    return " ".join(parts[:2]) or "0 seconds"
