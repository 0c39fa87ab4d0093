"""Policy: a pure function from facts and ordered rules to a verdict with reasons.

The first rule whose conditions all hold decides. When none does, a person is
asked: policy never allows by accident. The reasons are written for the person
who asked, so a verdict of "ask" also says what kept the request from being
approved at once.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Literal

from portal.approvals.durations import format_duration, words
from sandboxes.lifecycle.ways import Way

Outcome = Literal["approve", "deny", "ask"]


@dataclass(frozen=True)
class Facts:
    """All that policy may look at. `duration` is the whole lease, `live` counts this sandbox too."""

    kind: str  # "sandbox", "extension" or "egress"
    profile: str
    risk: str
    gpu: bool
    data_class: str
    duration: timedelta
    live: int
    way: Way | None = None  # of a way out: where to


# A rule that approves everything was not written with holes in the seal in mind: those it must name.
APPROVED_UNNAMED = ("sandbox", "extension")


@dataclass(frozen=True)
class RuleSpec:
    """A rule as policy sees it. An empty condition holds for everything; see APPROVED_UNNAMED for the one exception."""

    name: str
    outcome: Outcome
    kinds: tuple[str, ...] = ()
    data_classes: tuple[str, ...] = ()
    risks: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    gpu: bool | None = None
    max_duration: timedelta | None = None
    max_live: int | None = None


@dataclass(frozen=True)
class Verdict:
    """What policy says. `rule` is a snapshot of the rule that decided, None if none did."""

    outcome: Outcome
    reasons: tuple[str, ...]
    rule: dict[str, Any] | None


def decide(facts: Facts, rules: Sequence[RuleSpec]) -> Verdict:
    """The first rule that matches, with why; "ask" when none does."""
    passed_over: list[str] = []
    for rule in rules:
        misses = _misses(rule, facts)
        if not misses:
            return Verdict(rule.outcome, _reasons(rule, passed_over), snapshot(rule))
        if rule.outcome == "approve":
            passed_over += [f"Not approved at once by “{rule.name}”: {miss}." for miss in misses]
    return Verdict("ask", (*passed_over, "No rule covers this, so an approver decides."), None)


def _reasons(rule: RuleSpec, passed_over: list[str]) -> tuple[str, ...]:
    if rule.outcome == "approve":
        return (f"Approved at once by the rule “{rule.name}”.",)
    if rule.outcome == "deny":
        return (f"Denied by the rule “{rule.name}”.",)
    return (*passed_over, f"The rule “{rule.name}” asks an approver.")


def _misses(rule: RuleSpec, facts: Facts) -> list[str]:
    """Each condition that does not hold, in words."""
    kinds = rule.kinds or (APPROVED_UNNAMED if rule.outcome == "approve" else ())
    tests = [
        (
            not kinds or facts.kind in kinds,
            f"it is for {_either(kinds)}, this is {facts.kind}",
        ),
        (
            not rule.data_classes or facts.data_class in rule.data_classes,
            f"the data is {facts.data_class}, not {_either(rule.data_classes)}",
        ),
        (
            not rule.risks or facts.risk in rule.risks,
            f"the profile’s risk is {facts.risk}, not {_either(rule.risks)}",
        ),
        (
            not rule.profiles or facts.profile in rule.profiles,
            f"the profile is {facts.profile}, not {_either(rule.profiles)}",
        ),
        (rule.gpu is None or rule.gpu == facts.gpu, "it has a GPU" if facts.gpu else "it has no GPU"),
        (
            rule.max_duration is None or facts.duration <= rule.max_duration,
            f"{words(facts.duration)} is more than {words(rule.max_duration or timedelta())}",
        ),
        (
            rule.max_live is None or facts.live <= rule.max_live,
            f"this would be live sandbox number {facts.live}; the rule allows {rule.max_live}",
        ),
    ]
    return [words_ for holds, words_ in tests if not holds]


def _either(values: Sequence[str]) -> str:
    return " or ".join(values)


def snapshot(rule: RuleSpec) -> dict[str, Any]:
    """The rule as JSON, kept with the request: the rule itself may change later."""
    return {**asdict(rule), "max_duration": format_duration(rule.max_duration) if rule.max_duration else None}
