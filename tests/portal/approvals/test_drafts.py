"""Durations and drafts: what is taken, what is refused, and what the person reads then."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.approvals.drafts import DraftError, parse_draft
from portal.approvals.durations import format_duration, parse_duration, words
from sandboxes.errors import InvalidInputError

GOOD: dict[str, Any] = {
    "profile": "python",
    "purpose": "See whether rich tables help our reports",
    "tools": ["rich", " rich ", ""],
    "duration": "PT10M",
    "data_class": "public",
    "answers": {"why": "It is asked for", "licence": "  "},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PT1M", timedelta(minutes=1)),
        ("pt10m", timedelta(minutes=10)),
        ("P7D", timedelta(days=7)),
        ("P1W", timedelta(days=7)),
        ("P1DT12H", timedelta(days=1, hours=12)),
    ],
)
def test_durations_that_are_taken(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize("text", ["", "10 minutes", "P1M", "P1Y", "PT59S", "-P1D", "P", "PT", "P9999999999D"])
def test_durations_that_are_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        parse_duration(text)


@given(st.integers(1, 60 * 24 * 365).map(lambda minutes: timedelta(minutes=minutes)))
def test_what_is_written_is_read_back(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration
    assert words(duration)


def test_a_good_draft() -> None:
    draft = parse_draft(**GOOD)
    assert draft.tools == ("rich",)
    assert draft.duration == timedelta(minutes=10)
    assert draft.answers == {"why": "It is asked for"}


@pytest.mark.parametrize(
    ("change", "field", "told"),
    [
        ({"profile": "mainframe"}, "profile", "choose one of"),
        ({"purpose": "  "}, "purpose", "Say what"),
        ({"purpose": "nul \0"}, "purpose", "cannot be stored"),
        ({"purpose": "x" * 5000}, "purpose", "Keep it below"),
        ({"duration": "soon"}, "duration", "ISO 8601"),
        ({"duration": "P31D"}, "duration", "at most 30 days"),
        ({"data_class": "secret"}, "data_class", "choose public or internal"),
        ({"tools": ["x" * 300]}, "tools", "200"),
        ({"answers": {"why": "\0"}}, "answers", "plain"),
        ({"answers": {"why": "It helps", "wyh": "It helps"}}, "answers", "why, licence, source, impact"),
    ],
)
def test_each_field_is_refused_by_name(change: dict[str, Any], field: str, told: str) -> None:
    with pytest.raises(DraftError) as caught:
        parse_draft(**{**GOOD, **change})
    assert set(caught.value.errors) == {field}
    assert told in caught.value.errors[field]
    assert caught.value.code == "invalid"


@pytest.mark.parametrize("data_class", ["confidential", "personal"])
def test_data_that_may_not_come_in_is_refused_with_the_reason(data_class: str) -> None:
    with pytest.raises(DraftError, match="may not be used in a sandbox") as caught:
        parse_draft(**{**GOOD, "data_class": data_class})
    assert caught.value.code == "data_class_refused"


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(DraftError) as caught:
        parse_draft(profile="x", purpose="", tools=[], duration="x", data_class="x", answers={})
    assert set(caught.value.errors) == {"profile", "purpose", "duration", "data_class"}
