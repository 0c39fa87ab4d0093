"""Retry-After, as proxies and API servers write it."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from sandboxes.cluster.pacing import retry_after

THEN = "Wed, 21 Oct 2026 07:28:00 GMT"


@pytest.mark.parametrize(
    ("header", "date", "seconds"),
    [
        ("7", None, 7.0),
        (" 7 ", None, 7.0),
        ("0", None, 0.0),
        ("999999999999999999999", None, 3600.0),
        (THEN, "Wed, 21 Oct 2026 07:27:30 GMT", 30.0),
        (THEN, "Wed, 21 Oct 2026 07:29:00 GMT", 0.0),
        ("Wed, 21 Oct 2099 07:28:00 GMT", None, 3600.0),
        ("Wednesday, 21-Oct-26 07:28:00 GMT", "Wed, 21 Oct 2026 07:27:30 GMT", 30.0),
        ("Wed Oct 21 07:28:00 2026", "Wed, 21 Oct 2026 07:27:30 GMT", 30.0),
        (None, None, None),
        ("", None, None),
        ("soon", None, None),
        ("-5", None, None),
        ("1.5", None, None),
        ("٣", None, None),
        ("Wed, 99 Oct 2026 07:28:00 GMT", None, None),
    ],
)
def test_seconds_and_dates(header: str | None, date: str | None, seconds: float | None) -> None:
    assert retry_after(header, date) == seconds


def test_without_a_date_of_its_own_our_clock_counts() -> None:
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(minutes=1), usegmt=True)
    seconds = retry_after(in_a_minute)
    assert seconds is not None
    assert 55 < seconds <= 60
