"""Which version a client would have taken, had policy given it. Pure.

Written down with each page, so a person can be told afterwards why they have an older one.
"""

from collections.abc import Iterable, Sequence
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
    given = [(file, decision) for file, decision in decisions if decision.verdict is not Verdict.REFUSE]
    hidden = _unasked(refused.keys() - {file.version for file, _ in given})
    if not hidden:
        return None
    newest = max(hidden)
    if any(version > newest for version in _unasked(file.version for file, _ in given if not file.yanked)):
        return None
    return Withheld(hidden[newest], refused[hidden[newest]])


def _unasked(texts: Iterable[str]) -> dict[Version, str]:
    """Those that a client would take without being told to."""
    return {version: text for text in texts if (version := _version(text)) and not version.is_prerelease}


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None
