"""Which version a client would have taken, had policy given it. Pure.

Written down with each page, so a person can be told afterwards why they have an older one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from packaging.version import InvalidVersion, Version

from sandboxes.index.page import File
from sandboxes.index.policy.decide import Decision, Verdict


@dataclass(frozen=True, slots=True)
class Withheld:
    version: str
    rule: str


def withheld_on(decisions: Sequence[tuple[File, Decision]]) -> Withheld | None:
    """The newest version of which policy gives no file, if it is newer than all that it does give.

    Pre-releases and what its own project yanked do not count: no client takes those unasked.
    """
    refused = {
        file.version: decision.findings[0].rule.value
        for file, decision in decisions
        if decision.verdict is Verdict.REFUSE and file.yanked is False
    }
    if not refused:
        return None
    given = {file.version for file, decision in decisions if decision.verdict is not Verdict.REFUSE}
    hidden = {
        version: text
        for text in refused.keys() - given
        if (version := _version(text)) and not version.is_prerelease
    }
    if not hidden:
        return None
    newest = max(hidden)
    if any(version > newest for text in given if (version := _version(text))):
        return None
    return Withheld(hidden[newest], refused[hidden[newest]])


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None
