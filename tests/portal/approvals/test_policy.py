"""Policy as a table, and as properties: it never allows by accident."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.approvals.policy import Facts, RuleSpec, decide, snapshot

DAY = timedelta(days=1)
ORDINARY = RuleSpec(
    name="Ordinary trial",
    outcome="approve",
    data_classes=("public",),
    risks=("low",),
    gpu=False,
    max_duration=7 * DAY,
    max_live=2,
)
GPU = RuleSpec(name="GPUs are scarce", outcome="ask", gpu=True)
BANNED = RuleSpec(name="Not this profile", outcome="deny", profiles=("banned",))
RULES = (BANNED, ORDINARY, GPU)
PLAIN = Facts("sandbox", "python", "low", False, "public", DAY, 1)


@pytest.mark.parametrize(
    ("facts", "outcome", "rule", "told"),
    [
        (PLAIN, "approve", "Ordinary trial", "Approved at once"),
        (replace(PLAIN, duration=7 * DAY), "approve", "Ordinary trial", "Approved at once"),
        (replace(PLAIN, live=2), "approve", "Ordinary trial", "Approved at once"),
        (replace(PLAIN, duration=8 * DAY), "ask", None, "8 days is more than 7 days"),
        (replace(PLAIN, live=3), "ask", None, "live sandbox number 3"),
        (replace(PLAIN, data_class="internal"), "ask", None, "the data is internal, not public"),
        (replace(PLAIN, risk="high"), "ask", None, "risk is high"),
        (replace(PLAIN, gpu=True), "ask", "GPUs are scarce", "it has a GPU"),
        (replace(PLAIN, profile="banned"), "deny", "Not this profile", "Denied by"),
    ],
)
def test_the_table(facts: Facts, outcome: str, rule: str | None, told: str) -> None:
    verdict = decide(facts, RULES)
    assert verdict.outcome == outcome
    assert (verdict.rule or {}).get("name") == rule
    assert told in " ".join(verdict.reasons)


def test_no_rules_at_all_asks() -> None:
    assert decide(PLAIN, ()).outcome == "ask"


def test_the_first_match_decides() -> None:
    deny_all = RuleSpec(name="Nothing now", outcome="deny")
    assert decide(PLAIN, (deny_all, ORDINARY)).outcome == "deny"
    assert decide(PLAIN, (ORDINARY, deny_all)).outcome == "approve"


def test_the_snapshot_is_plain_json() -> None:
    assert snapshot(ORDINARY)["max_duration"] == "P7D"
    assert snapshot(GPU)["max_duration"] is None


any_facts = st.builds(
    Facts,
    kind=st.sampled_from(["sandbox", "extension"]),
    profile=st.sampled_from(["python", "gpu", "banned", "unheard of"]),
    risk=st.sampled_from(["low", "high", "unknown"]),
    gpu=st.booleans(),
    data_class=st.sampled_from(["public", "internal", "confidential", "?"]),
    duration=st.timedeltas(min_value=timedelta(minutes=1), max_value=90 * DAY),
    live=st.integers(0, 50),
)


@given(any_facts)
def test_approval_means_that_every_condition_holds(facts: Facts) -> None:
    verdict = decide(facts, RULES)
    assert verdict.reasons
    if verdict.outcome == "approve":
        assert facts.data_class == "public"
        assert facts.risk == "low"
        assert not facts.gpu
        assert facts.duration <= 7 * DAY
        assert facts.live <= 2
