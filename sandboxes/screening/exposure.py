"""What is done with a sandbox that an advisory turns out to affect, in words. Pure.

Three answers, from mild to hard. Whatever is done, it is written down, and the owner sees it.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from sandboxes.screening.words import Known, Severity


class Action(StrEnum):
    """What is done with a live sandbox."""

    NOTIFY = "notify"  # people are told, nothing else
    ISOLATE = "isolate"  # cut off at once, kept as it is
    END = "end"  # everything in it is deleted


class Kind(StrEnum):
    """What an advisory says, as far as reactions tell it apart; worst first."""

    MALICIOUS = "malicious"
    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


# Where no row of `Reaction` says otherwise.
DEFAULTS: Final[Mapping[Kind, Action]] = {
    kind: Action.ISOLATE if kind is Kind.MALICIOUS else Action.NOTIFY for kind in Kind
}
# An alarm for each hole of a library would bury the one that matters: of the rest, pages tell.
ALARMING: Final = frozenset({Kind.MALICIOUS, Kind.CRITICAL, Kind.HIGH})
_OF_SEVERITY: Final = {
    Severity.CRITICAL: Kind.CRITICAL,
    Severity.HIGH: Kind.HIGH,
    Severity.MEDIUM: Kind.MEDIUM,
    Severity.LOW: Kind.LOW,
}


def kind_of(known: Known) -> Kind:
    return Kind.MALICIOUS if known.malicious else _OF_SEVERITY[known.severity]


def action_of(known: Known, reactions: Mapping[Kind, Action], *, known_then: bool = False) -> Action:
    """What is done with whoever received it.

    A guess (malware by its range alone) cuts nobody off: a person has to look first. Nor does what
    somebody let through with open eyes, an approver by a waiver or an admin by policy.
    """
    if known_then or not known.confirmed:
        return Action.NOTIFY
    return reactions[kind_of(known)]
