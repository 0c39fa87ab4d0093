"""Until when, as people and the API write it: a moment, a day or a duration from now."""

from datetime import UTC, datetime, time

from portal.approvals.durations import parse_duration
from sandboxes.errors import InvalidInputError


def parse_until(text: str, now: datetime) -> datetime:
    """ISO 8601. A day means all of it, and a moment without a time zone is in UTC."""
    text = text.strip()
    try:
        if text[:1] in ("P", "p"):
            return now + parse_duration(text)
        moment = datetime.fromisoformat(text)
        if len(text) <= len("2026-12-24"):
            moment = datetime.combine(moment.date(), time(23, 59, 59))
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (InvalidInputError, ValueError, OverflowError) as error:
        raise InvalidInputError(
            f"{text[:40]!r} is no moment and no duration; write 2026-12-24, 2026-12-24T18:00Z, P7D or PT4H."
        ) from error
