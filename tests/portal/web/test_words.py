"""Words on pages: durations, moments, rules."""

from datetime import UTC, datetime, timedelta

import pytest

from portal.approvals.models import State
from portal.web.words import ACTIONS, PHASES, STATES, action, conditions, refusal, relative, remaining
from sandboxes.lifecycle.phases import Phase

NOW = datetime(2026, 11, 22, 18, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (timedelta(days=1, hours=17, minutes=5), "1 d 17 h"),
        (timedelta(hours=3), "3 h"),
        (timedelta(minutes=9, seconds=41), "9 min 41 s"),
        (timedelta(seconds=8), "8 s"),
        (timedelta(0), "0 s"),
        (timedelta(seconds=-5), "0 s"),
    ],
)
def test_time_left_in_its_two_largest_units(left: timedelta, said: str) -> None:
    assert remaining(left) == said


@pytest.mark.parametrize(
    ("away", "said"),
    [
        (timedelta(seconds=-20), "just now"),
        (timedelta(seconds=20), "in a moment"),
        (timedelta(minutes=-1), "1 minute ago"),
        (timedelta(hours=-3), "3 hours ago"),
        (timedelta(days=2), "in 2 days"),
        (timedelta(days=6, hours=23, minutes=59), "in 7 days"),
        (timedelta(days=-40), "2026-10-13"),
    ],
)
def test_moments_in_words(away: timedelta, said: str) -> None:
    assert relative(NOW + away, NOW) == said


def test_every_phase_and_state_has_a_word() -> None:
    assert set(PHASES) == set(Phase)
    assert set(STATES) == set(State)


def test_an_action_nobody_listed_is_shown_readably() -> None:
    assert "token.rotated" not in ACTIONS
    assert action("token.rotated", {}) == "Token rotated"
    assert action("request.submitted", {"kind": "extension"}) == "More time requested"


def test_a_rule_in_plain_words() -> None:
    rule = {"data_classes": ["public", "internal"], "gpu": False, "max_duration": "P7D", "max_live": 2}
    assert conditions(rule) == [
        "The data is public or internal",
        "It has no GPU",
        "The whole lease is at most 7 days",
        "The person has at most 2 live sandboxes, this one included",
    ]
    assert conditions({}) == []


def test_the_ledger_says_which_alarm_and_which_advisory() -> None:
    assert action("alarm.raised", {"kind": "honeytoken"}) == "Alarm: A planted credential was used"
    assert action("alarm.raised", {"kind": "of another time"}) == "Alarm raised"
    assert action("sandbox.exposed", {"advisory": "MAL-1"}) == "MAL-1 speaks against what it received"


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (
            "The seal lets this sandbox reach no a.example:443; ask for it at https://x/sandboxes/1",
            "The seal does not let it out",
        ),
        ("The host's address is not public.", "The host's address is not public."),
    ],
)
def test_a_refusal_without_where_to_ask(reason: str, said: str) -> None:
    assert refusal(reason) == said
