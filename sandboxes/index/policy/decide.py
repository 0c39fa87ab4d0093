"""`decide(file, policy, now)`: allow, hold or refuse. Pure, and the only place where it is decided.

Page, file, metadata, HEAD and range ask the same question and get the same answer, because
they get it here. What is missing never allows: no upload time counts from first sight, no
screening holds, an unreadable version is within every deny range and no allowed one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sandboxes.index.policy import rules
from sandboxes.index.policy.facts import Candidate
from sandboxes.index.policy.policy import Policy
from sandboxes.index.policy.rules import Check, Finding, Rule
from sandboxes.index.policy.waivers import Waiver


class Verdict(StrEnum):
    ALLOW = "allow"
    HOLD = "hold"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Decision:
    """`findings`: what speaks against it, the gravest first; `waived`: what would, were it not for a waiver.

    `settled_until`: up to when the same question has the same answer; None: until something changes.
    """

    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    waived: tuple[tuple[Finding, Waiver], ...] = ()
    settled_until: datetime | None = None

    @property
    def allowed(self) -> bool:
        return self.verdict is Verdict.ALLOW

    @property
    def until(self) -> datetime | None:
        """When all that speaks against it is over by itself, what is on hold aside; None: never, or nothing does."""
        ends = [finding.until for finding in self.findings if not finding.hold]
        return max((end for end in ends if end), default=None) if all(ends) else None

    @property
    def to_waive(self) -> tuple[Rule, ...]:
        """The rules of which each needs a waiver for it to be given; what is on hold opens by itself."""
        return tuple(finding.rule for finding in self.findings if not finding.hold)

    @property
    def waivable(self) -> bool:
        """Whether waivers could open it."""
        return bool(self.to_waive) and rules.NEVER_WAIVED.isdisjoint(self.to_waive)

    @property
    def needs_admin(self) -> bool:
        """Whether an approver's waivers are not enough for that."""
        return self.waivable and not rules.ADMINS_ALONE.isdisjoint(self.to_waive)


_ALLOWED = Decision(Verdict.ALLOW)


def decide(file: Candidate, policy: Policy, now: datetime, checks: Sequence[Check] = rules.ALL) -> Decision:
    """`now` in UTC, as all times of `file` and `policy` are.

    `checks`: for many files of one policy, what `rules.asked` says of it; the decision is the same.
    """
    vouched = rules.is_vouched_for(file, policy)
    findings: list[Finding] = []
    waived: list[tuple[Finding, Waiver]] = []
    for check in checks:
        if vouched and check in rules.VOUCHED_FOR:
            continue
        finding = check(file, policy, now)
        if finding is None:
            continue
        waiver = _waiver(finding.rule, file, policy, now)
        if waiver is None:
            findings.append(finding)
        else:
            waived.append((finding, waiver))
    if not findings and not waived:  # of nearly every file
        return _ALLOWED
    return Decision(_verdict(findings), tuple(findings), tuple(waived), _settled_until(findings, waived))


def _verdict(findings: list[Finding]) -> Verdict:
    if not findings:
        return Verdict.ALLOW
    return Verdict.HOLD if all(finding.hold for finding in findings) else Verdict.REFUSE


def _waiver(rule: Rule, file: Candidate, policy: Policy, now: datetime) -> Waiver | None:
    if rule in rules.NEVER_WAIVED:
        return None
    for waiver in policy.waivers:
        if waiver.lifts(rule, file, now) and rule not in _beyond(waiver):
            return waiver
    return None


def _beyond(waiver: Waiver) -> frozenset[Rule]:
    """A waiver that names its rule was granted by whoever may (`sandboxes.index.waivers`); one of all rules says
    by itself whether it was an admin's."""
    return frozenset() if waiver.break_glass or waiver.rule else rules.ADMINS_ALONE


def _settled_until(findings: list[Finding], waived: list[tuple[Finding, Waiver]]) -> datetime | None:
    moments = [finding.until for finding in findings]
    moments += [moment for finding, waiver in waived for moment in (finding.until, waiver.until)]
    return min((moment for moment in moments if moment is not None), default=None)
