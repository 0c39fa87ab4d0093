"""What is said of a file that is not given: pure text, in its three forms."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandboxes.index.policy.decide import Decision, Verdict
from sandboxes.index.policy.rules import Finding, Rule
from sandboxes.index.refusals import phrase, refusal, sentence, why_url, yanked

WHY = "https://portal.example/why/pypi/demo/2.0/"
OPENS = datetime(2026, 11, 26, 9, 59, 30, tzinfo=UTC)
FRESH = Finding(Rule.COOLDOWN, "released 2026-11-19, too fresh to be given", OPENS)
SDIST = Finding(Rule.SDIST, "a source distribution runs code of its own when it is installed")
TOLD = (
    "[cooldown] released 2026-11-19, too fresh to be given; opens 2026-11-26 10:00 UTC; "
    "why https://portal.example/why/pypi/demo/2.0/"
)


def refused(*findings: Finding) -> Decision:
    return Decision(Verdict.REFUSE, findings)


def test_one_sentence_in_every_place() -> None:
    decision = refused(FRESH)
    assert sentence(decision, WHY) == phrase(decision, WHY) == yanked(decision, WHY, upstream=False) == TOLD
    told = refusal(decision, WHY)
    assert told.detail == f"{TOLD} (a waiver can be asked for there)"
    assert (told.rule, told.title, told.why) == ("cooldown", "Too fresh to be given", WHY)
    assert (told.until, told.waivable) == (OPENS, True)


def test_it_opens_when_the_last_of_all_rules_does_or_never() -> None:
    assert "opens" not in phrase(refused(SDIST, FRESH), WHY)
    later = Finding(Rule.COOLDOWN, "x", OPENS + timedelta(days=1))
    assert "opens 2026-11-27 10:00 UTC" in phrase(refused(FRESH, later), WHY)


def test_other_rules_are_in_the_detail() -> None:
    told = refusal(refused(SDIST, FRESH), WHY).detail
    assert told.startswith(f"[sdist] {SDIST.reason}; why {WHY} (a waiver")
    assert told.endswith(f"; also [cooldown] {FRESH.reason}")


@pytest.mark.parametrize(
    ("rule", "hold", "waivable", "says"),
    [
        (Rule.SDIST, False, True, "(a waiver can be asked for there)"),
        (Rule.MALICIOUS, False, True, "(a waiver, which takes an admin, can be asked for there)"),
        (Rule.INTERNAL, False, False, "(no waiver opens it)"),
        (Rule.UNSCREENED, True, False, "(it opens by itself)"),
    ],
)
def test_it_says_what_opens_it(rule: Rule, hold: bool, waivable: bool, says: str) -> None:
    told = refusal(refused(Finding(rule, "x", hold=hold)), WHY)
    assert told.waivable is waivable
    assert told.detail.endswith(says)


@pytest.mark.parametrize(
    ("upstream", "end"),
    [(True, "; yanked by its own project"), ("it is broken", "; yanked by its own project: it is broken")],
)
def test_the_projects_own_reason_stays_and_stands_apart(upstream: bool | str, end: str) -> None:
    assert yanked(refused(FRESH), WHY, upstream) == f"{TOLD} {end}"


def test_every_rule_has_a_title() -> None:
    assert {refusal(refused(Finding(rule, "x")), WHY).title for rule in Rule}


@pytest.mark.parametrize(
    ("version", "path"),
    [("1!2.0+local", "1%212.0%2Blocal"), ("2.0", "2.0"), ("ü /\r\n", "%C3%BC%20%2F%0D%0A")],
)
def test_versions_in_urls(version: str, path: str) -> None:
    assert why_url("https://portal.example", "pypi", "demo", version) == WHY.replace("2.0", path)


@given(st.text(), st.none() | st.datetimes(datetime(2000, 1, 1), datetime(2999, 1, 1)))  # noqa: DTZ001 -- hypothesis wants them so
def test_a_phrase_is_printable_ascii_and_short_and_keeps_its_url(reason: str, opens: datetime | None) -> None:
    until = opens.replace(tzinfo=UTC) if opens else None
    said = phrase(refused(Finding(Rule.DENIED, reason, until)), WHY)
    assert said.isascii()
    assert said.isprintable()
    assert len(said) <= 200
    assert said.endswith(f"why {WHY}")


def test_a_long_url_is_never_cut_and_leaves_room_for_a_reason() -> None:
    why = why_url("https://portal.example", "pypi", "n" * 200, "1.0")
    assert phrase(refused(SDIST), why) == f"[sdist] a source distribu...; why {why}"
