"""The one decision: what each rule says, what lifts it, and what holds whatever is asked."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as changed

from sandboxes.index.policy import rules
from sandboxes.index.policy.decide import Verdict, decide
from sandboxes.index.policy.facts import Candidate, Ecosystem, Known, Screening, Severity
from sandboxes.index.policy.patterns import parse
from sandboxes.index.policy.policy import Internal, Listed, Policy
from sandboxes.index.policy.rules import ADMINS_ALONE, NEVER_WAIVED, Rule
from sandboxes.index.policy.waivers import Scope, Subject, Waiver

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
PYPI = Ecosystem.PYPI
OLD = Candidate(
    ecosystem=PYPI,
    project="demo",
    version="2.0",
    filename="demo-2.0-py3-none-any.whl",
    sha256="0" * 64,
    source="main",
    built=True,
    seen_at=NOW - 300 * DAY,
    uploaded_at=NOW - 300 * DAY,
    size=1000,
)
OURS = Internal(parse("demo", PYPI), "ours")
MALWARE = Known("MAL-2026-1", malicious=True)
HOLE = Known("PYSEC-2026-1", severity=Severity.CRITICAL)


def listed(*texts: str) -> tuple[Listed, ...]:
    return tuple(Listed(parse(text, PYPI), "because") for text in texts)


def waiver(rule: str = "", *, break_glass: bool = False, **changes: Any) -> Waiver:
    plain = Waiver(1, rule, PYPI, "demo", "", Scope.ALL, "", NOW + DAY, break_glass)
    return replace(plain, **changes)


FRESH_CANDIDATE: dict[str, Any] = {"version": "2.0rc1", "uploaded_at": NOW}
CASES: list[tuple[str, dict[str, Any], dict[str, Any], str | None]] = [
    ("an ordinary file", {}, {}, None),
    ("fresh", {"uploaded_at": NOW - DAY}, {}, "cooldown"),
    ("a second before it opens", {"uploaded_at": NOW - 7 * DAY + timedelta(seconds=1)}, {}, "cooldown"),
    ("the moment it opens", {"uploaded_at": NOW - 7 * DAY}, {}, None),
    ("no upload time, just seen", {"uploaded_at": None, "seen_at": NOW}, {}, "cooldown"),
    ("no upload time, seen long ago", {"uploaded_at": None}, {}, None),
    ("claims to be old, and was not there yesterday", {"absent_at": NOW - DAY}, {}, "cooldown"),
    ("was not there a year ago", {"absent_at": NOW - 365 * DAY}, {}, None),
    ("fresh, and mends a hole", {"uploaded_at": NOW, "fixes": (HOLE,)}, {}, None),
    ("no cooldown", {"uploaded_at": NOW}, {"cooldown": timedelta()}, None),
    ("malicious", {"advisories": (MALWARE,)}, {}, "malicious"),
    ("malicious, and on the allow list", {"advisories": (MALWARE,)}, {"allow": listed("demo")}, "malicious"),
    ("a critical hole", {"advisories": (HOLE,)}, {}, "vulnerable"),
    ("an unrated hole", {"advisories": (Known("X"),)}, {}, None),
    ("an unrated hole, high is refused", {"advisories": (Known("X"),)}, {"refuse_from": Severity.HIGH}, "vulnerable"),
    ("holes do not matter", {"advisories": (HOLE,)}, {"refuse_from": None}, None),
    ("denied", {}, {"deny": listed("demo<3")}, "denied"),
    ("denied in another version", {}, {"deny": listed("demo<2")}, None),
    ("denied up to the version it leads to", {"version": "2.0rc1"}, {"deny": listed("demo<2.0")}, "denied"),
    ("allowed up to that", FRESH_CANDIDATE, {"allow": listed("demo<2.0")}, "cooldown"),
    ("unreadable, a range is allowed", {"version": "odd"}, {"within": (listed("demo>=1"),)}, "not-allowed"),
    ("denied, though on the allow list", {}, {"deny": listed("demo"), "allow": listed("demo")}, "denied"),
    ("fresh, and on the allow list", {"uploaded_at": NOW}, {"allow": listed("de*")}, None),
    ("not on an exclusive list", {}, {"within": (listed("other"),)}, "not-allowed"),
    ("on one exclusive list of two", {}, {"within": (listed("demo"), listed("other"))}, "not-allowed"),
    ("on both", {}, {"within": (listed("demo"), listed("d*"))}, None),
    ("an sdist", {"built": False}, {}, "sdist"),
    ("an sdist, allowed", {"built": False}, {"sdists": True}, None),
    ("yanked", {"yanked": True}, {}, None),
    ("yanked, and yanked are refused", {"yanked": True}, {"yanked": False}, "yanked"),
    ("too large", {}, {"most_bytes": 999}, "size"),
    ("as large as may be", {}, {"most_bytes": 1000}, None),
    ("of unknown size where size matters", {"size": None}, {"most_bytes": 1000}, "size"),
    ("frozen before it", {}, {"freeze_at": NOW - 301 * DAY}, "frozen"),
    ("frozen after it", {}, {"freeze_at": NOW - 299 * DAY}, None),
    ("frozen, no upload time", {"uploaded_at": None}, {"freeze_at": NOW - 299 * DAY}, "frozen"),
    ("a name of our own", {}, {"internal": (Internal(parse("de*", PYPI)),)}, "internal-name"),
    ("a name of our own, from the wrong side", {}, {"internal": (OURS,)}, "internal-name"),
    ("a name of our own, from our own", {"source": "ours"}, {"internal": (OURS,)}, None),
    ("not screened", {}, {"screened": True}, "screening"),
    ("not screened, and on the allow list", {}, {"screened": True, "allow": listed("demo")}, "screening"),
    ("screened", {"screening": Screening.PASSED}, {"screened": True}, None),
    ("held by screening", {"screening": Screening.HELD}, {}, "held"),
    ("blocked after screening", {"screening": Screening.BLOCKED}, {}, "blocked"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("file", "policy", "rule"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_what_each_rule_says(file: dict[str, Any], policy: dict[str, Any], rule: str | None) -> None:
    decision = decide(changed(OLD, **file), Policy(**policy), NOW)
    assert [finding.rule.value for finding in decision.findings] == ([rule] if rule else [])
    assert decision.allowed is (rule is None)


def test_every_rule_is_in_the_table() -> None:
    assert {rule for *_, rule in CASES if rule} == {rule.value for rule in Rule}


def test_holding_is_not_refusing() -> None:
    unscreened = decide(OLD, Policy(screened=True), NOW)
    assert unscreened.verdict is Verdict.HOLD
    assert decide(changed(OLD, built=False), Policy(screened=True), NOW).verdict is Verdict.REFUSE


def test_all_that_speaks_against_it_is_told_gravest_first() -> None:
    file = changed(OLD, built=False, uploaded_at=NOW - DAY, advisories=(HOLE,))
    decision = decide(file, Policy(deny=listed("demo")), NOW)
    assert [each.rule.value for each in decision.findings] == ["denied", "sdist", "vulnerable", "cooldown"]
    assert decision.until is None  # for only one of them ends by itself
    assert decision.waivable


def test_when_it_opens() -> None:
    decision = decide(changed(OLD, uploaded_at=NOW - 2 * DAY), Policy(), NOW)
    assert decision.until == decision.settled_until == NOW + 5 * DAY


@pytest.mark.parametrize(
    ("changes", "lifted"),
    [
        ({}, True),
        ({"rule": ""}, True),
        ({"rule": "sdist"}, False),
        ({"project": "other"}, False),
        ({"version": "2.0"}, True),
        ({"version": "2.1"}, False),
        ({"until": NOW}, False),
        ({"ecosystem": Ecosystem.NPM}, False),
    ],
)
def test_what_a_waiver_lifts(changes: dict[str, Any], lifted: bool) -> None:
    policy = Policy(waivers=(waiver("cooldown", **changes) if "rule" not in changes else waiver(**changes),))
    decision = decide(changed(OLD, uploaded_at=NOW - DAY), policy, NOW)
    assert decision.allowed is lifted
    assert [finding.rule for finding, _ in decision.waived] == ([Rule.COOLDOWN] if lifted else [])


def test_a_waived_file_is_looked_at_again_when_the_waiver_ends() -> None:
    decision = decide(changed(OLD, uploaded_at=NOW), Policy(waivers=(waiver("cooldown"),)), NOW)
    assert decision.settled_until == NOW + DAY


# A file and a policy against which each rule, and no other, speaks.
AGAINST = {rule: (changed(OLD, **file), Policy(**policy)) for _, file, policy, rule in CASES if rule}
APPROVERS = {Rule.SDIST, Rule.YANKED, Rule.SIZE, Rule.VULNERABLE, Rule.FROZEN, Rule.COOLDOWN}


@pytest.mark.parametrize("rule", Rule)
def test_who_lifts_what(rule: Rule) -> None:
    """A waiver that names its rule was granted by whoever may; of all rules at once only broken glass lifts admins'."""
    file, policy = AGAINST[rule]

    def opened_by(one: Waiver) -> bool:
        return decide(file, replace(policy, waivers=(one,)), NOW).allowed

    assert opened_by(waiver(rule)) is (rule is not Rule.INTERNAL)
    assert opened_by(waiver(break_glass=True)) is (rule is not Rule.INTERNAL)
    assert opened_by(waiver()) is (rule in APPROVERS)
    assert not any(opened_by(waiver(other)) for other in Rule if other is not rule)
    assert {Rule.INTERNAL} == NEVER_WAIVED
    assert set(Rule) - NEVER_WAIVED - ADMINS_ALONE == APPROVERS


@pytest.mark.parametrize("rule", Rule)
def test_a_decision_says_who_can_open_it(rule: Rule) -> None:
    decision = decide(*AGAINST[rule], NOW)
    assert decision.waivable is (rule not in (Rule.INTERNAL, Rule.UNSCREENED))  # the second opens by itself
    assert decision.needs_admin is (decision.waivable and rule not in APPROVERS)


def test_what_will_be_screened_yet_is_no_obstacle_to_a_waiver() -> None:
    decision = decide(changed(OLD, uploaded_at=NOW - DAY), Policy(screened=True), NOW)
    assert [each.rule for each in decision.findings] == [Rule.COOLDOWN, Rule.UNSCREENED]
    assert (decision.to_waive, decision.waivable, decision.needs_admin) == ((Rule.COOLDOWN,), True, False)
    assert decision.until == NOW + 6 * DAY


@pytest.mark.parametrize(
    ("scope", "subject", "holds"),
    [
        (Scope.ALL, "", True),
        (Scope.SANDBOX, "7", True),
        (Scope.SANDBOX, "8", False),
        (Scope.PERSON, "3", True),
        (Scope.PERSON, "7", False),
        (Scope.DEPARTMENT, "Research", True),
        (Scope.DEPARTMENT, "research", False),
    ],
)
def test_for_whom_a_waiver_holds(scope: Scope, subject: str, holds: bool) -> None:
    who = Subject(sandbox=7, person=3, department="Research", profile="python")
    assert waiver(scope=scope, subject=subject).holds_for(who) is holds


def test_nobody_is_of_no_department() -> None:
    who = Subject(sandbox=7, person=3, department="", profile="python")
    assert not waiver(scope=Scope.DEPARTMENT, subject="").holds_for(who)


# ---- whatever is asked

START = datetime(2026, 1, 1, tzinfo=UTC)
times = st.integers(0, 365 * 24).map(lambda hours: START + timedelta(hours=hours))
knowns = st.builds(Known, st.just("X"), st.booleans(), st.sampled_from(Severity))
files = st.builds(
    Candidate,
    ecosystem=st.just(PYPI),
    project=st.sampled_from(["demo", "other"]),
    version=st.sampled_from(["1.0", "2.0", "", "odd"]),
    filename=st.just("f"),
    sha256=st.just("0" * 64),
    source=st.sampled_from(["main", "ours"]),
    built=st.booleans(),
    seen_at=times,
    uploaded_at=st.none() | times,
    absent_at=st.none() | times,
    size=st.none() | st.integers(0, 2000),
    yanked=st.booleans(),
    advisories=st.lists(knowns, max_size=2).map(tuple),
    fixes=st.lists(knowns, max_size=1).map(tuple),
    screening=st.sampled_from(Screening),
)
lists = st.lists(st.sampled_from(listed("demo", "d*", "other>1")), max_size=2).map(tuple)
policies = st.builds(
    Policy,
    cooldown=st.integers(0, 20).map(lambda days: timedelta(days=days)),
    freeze_at=st.none() | times,
    sdists=st.booleans(),
    yanked=st.booleans(),
    most_bytes=st.none() | st.integers(0, 2000),
    refuse_from=st.none() | st.sampled_from(Severity),
    screened=st.booleans(),
    allow=lists,
    within=st.lists(lists, max_size=1).map(tuple),
    deny=lists,
    internal=st.sampled_from([(), (OURS,), (Internal(parse("o*", PYPI)),)]),
    waivers=st.lists(
        st.builds(waiver, st.sampled_from(["", *Rule]), break_glass=st.booleans(), until=times), max_size=2
    ).map(tuple),
)  # fmt: skip


@given(files, policies, times)
def test_what_is_not_asked_would_have_found_nothing(file: Candidate, policy: Policy, now: datetime) -> None:
    assert decide(file, policy, now, rules.asked(policy)) == decide(file, policy, now)


@given(files, policies, policies, times)
def test_a_profile_is_never_milder_than_the_floor(
    file: Candidate, floor: Policy, profile: Policy, now: datetime
) -> None:
    profile = replace(profile, waivers=())
    if decide(file, profile.above(floor), now).allowed:
        assert decide(file, floor, now).allowed


@given(files, policies, times, st.timedeltas(timedelta(0), timedelta(days=400)))
def test_an_answer_holds_until_it_says(
    file: Candidate, policy: Policy, now: datetime, later: timedelta
) -> None:
    decision = decide(file, policy, now)
    then = now + later
    if decision.settled_until is None or then < decision.settled_until:
        again = decide(file, policy, then)
        assert (again.verdict, again.findings) == (decision.verdict, decision.findings)


@given(files, policies, times)
def test_nothing_that_takes_an_admin_opens_by_less(file: Candidate, policy: Policy, now: datetime) -> None:
    decision = decide(file, policy, now)
    for finding, lifted_by in decision.waived:
        assert finding.rule not in NEVER_WAIVED
        assert finding.rule not in ADMINS_ALONE or lifted_by.break_glass or lifted_by.rule == finding.rule
        assert lifted_by.until > now
    if decision.allowed and any(known.malicious for known in file.advisories):
        assert any(finding.rule in ADMINS_ALONE for finding, _ in decision.waived)


@given(files, policies, times)
def test_more_knowledge_against_it_never_opens_it(file: Candidate, policy: Policy, now: datetime) -> None:
    if not decide(file, policy, now).allowed:
        assert not decide(changed(file, advisories=(*file.advisories, MALWARE)), policy, now).allowed
        if file.released_at <= now:
            assert not decide(changed(file, uploaded_at=None, seen_at=now), policy, now).allowed
