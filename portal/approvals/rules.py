"""Rules as rows, read as policy wants them."""

from typing import cast

from portal.approvals.models import Rule
from portal.approvals.policy import Outcome, RuleSpec


def active_rules() -> list[RuleSpec]:
    """The enabled rules in order. A rule whose outcome is unknown asks: it must not allow."""
    return [_spec(rule) for rule in Rule.objects.filter(enabled=True).order_by("position")]


def _spec(rule: Rule) -> RuleSpec:
    outcome = rule.outcome if rule.outcome in ("approve", "deny", "ask") else "ask"
    return RuleSpec(
        name=rule.name,
        outcome=cast("Outcome", outcome),
        kinds=tuple(rule.kinds),
        data_classes=tuple(rule.data_classes),
        risks=tuple(rule.risks),
        profiles=tuple(rule.profiles),
        gpu=rule.gpu,
        max_duration=rule.max_duration,
        max_live=rule.max_live,
    )
