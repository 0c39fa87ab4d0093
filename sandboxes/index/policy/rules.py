"""The rules, each a function of a file, the policy and the moment: what it finds, or None. Pure.

In the order in which they are told: what nobody can lift first, then what is a matter of the
file, then what a date will settle. A rule says in its reason what the person can read at once; when
it opens and where to ask are said by `decide.py` for all alike.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from sandboxes.index.policy.facts import Candidate, Screening
from sandboxes.index.policy.policy import Listed, Policy


class Rule(StrEnum):
    """The names that people and clients see."""

    INTERNAL = "internal-name"
    MALICIOUS = "malicious"
    BLOCKED = "blocked"
    DENIED = "denied"
    NOT_ALLOWED = "not-allowed"
    SDIST = "sdist"
    YANKED = "yanked"
    SIZE = "size"
    VULNERABLE = "vulnerable"
    FROZEN = "frozen"
    COOLDOWN = "cooldown"
    UNSCREENED = "screening"
    HELD = "held"


# Who can lift a rule. An approver's waiver lifts what an entry of the allow list would vouch against: how fresh,
# large or flawed a file may be is a matter of degree. What admins listed, and what may be an attack, takes an
# admin: a waiver that an admin grants, or broken glass. A name of our own nothing lifts but taking it off its list,
# because the file behind it is a stranger's.
NEVER_WAIVED: Final = frozenset({Rule.INTERNAL})
ADMINS_ALONE: Final = frozenset(
    {Rule.MALICIOUS, Rule.BLOCKED, Rule.DENIED, Rule.NOT_ALLOWED, Rule.HELD, Rule.UNSCREENED}
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule says against a file. `until`: when it stops saying so by itself; None: it does not."""

    rule: Rule
    reason: str
    until: datetime | None = None
    hold: bool = False  # not refused: not decided yet


type Check = Callable[[Candidate, Policy, datetime], Finding | None]


def internal(file: Candidate, policy: Policy, now: datetime) -> Finding | None:
    """Dependency confusion: a name of the company's own that somebody registered outside."""
    for entry in policy.internal:
        if entry.pattern.names(file.project) and (not entry.source or entry.source != file.source):
            return Finding(Rule.INTERNAL, f"{file.project} is a name of our own and never comes from outside")
    return None


def malicious(file: Candidate, policy: Policy, now: datetime) -> Finding | None:
    found = [known.id for known in file.advisories if known.malicious and known.confirmed]
    return Finding(Rule.MALICIOUS, f"known to be malicious ({_listed(found)})") if found else None


def blocked(file: Candidate, policy: Policy, now: datetime) -> Finding | None:
    if file.screening is not Screening.BLOCKED:
        return None
    return Finding(Rule.BLOCKED, "blocked by a person after it was screened")


def denied(file: Candidate, policy: Policy, now: datetime) -> Finding | None:
    entry = next((each for each in policy.deny if each.pattern.reaches(file.project, file.version)), None)
    if entry is None:
        return None
    return Finding(Rule.DENIED, f"{entry.pattern} is not given here{_because(entry)}")


def not_allowed(file: Candidate, policy: Policy, now: datetime) -> Finding | None:
    if all(_vouches(entries, file) for entries in policy.within):
        return None
    return Finding(
        Rule.NOT_ALLOWED, f"{file.project} {file.version} is not on the list of what is given here"
    )


def sdist(file: Candidate, policy: Policy, now: datetime) -> Finding | None:
    if file.built or policy.sdists:
        return None
    return Finding(Rule.SDIST, "a source distribution runs code of its own when it is installed")


def yanked(file: Candidate, policy: Policy, now: datetime) -> Finding | None:
    return Finding(Rule.YANKED, "yanked by its own project") if file.yanked and not policy.yanked else None


def size(file: Candidate, policy: Policy, now: datetime) -> Finding | None:
    if policy.most_bytes is None:
        return None
    if file.size is None:
        return Finding(Rule.SIZE, "the upstream does not say how large it is")
    if file.size <= policy.most_bytes:
        return None
    return Finding(Rule.SIZE, f"{_mib(file.size)} MiB; at most {_mib(policy.most_bytes)} MiB are given")


def vulnerable(file: Candidate, policy: Policy, now: datetime) -> Finding | None:
    if policy.refuse_from is None:
        return None
    found = [
        known for known in file.advisories if not known.malicious and known.severity >= policy.refuse_from
    ]
    if not found:
        return None
    worst = max(known.severity for known in found)
    return Finding(
        Rule.VULNERABLE, f"{worst.name.lower()} vulnerability ({_listed([known.id for known in found])})"
    )


def frozen(file: Candidate, policy: Policy, now: datetime) -> Finding | None:
    """Reproducible trials: the index as of a date. An upload time that is not known is no time before it."""
    if policy.freeze_at is None or (file.uploaded_at is not None and file.released_at <= policy.freeze_at):
        return None
    return Finding(
        Rule.FROZEN, f"released after {policy.freeze_at:%Y-%m-%d}, the date this index is frozen at"
    )


def cooldown(file: Candidate, policy: Policy, now: datetime) -> Finding | None:
    """Most bad releases are found within days. One that mends a known hole does not wait."""
    opens = file.released_at + policy.cooldown
    if now >= opens or file.fixes:
        return None
    return Finding(Rule.COOLDOWN, f"released {file.released_at:%Y-%m-%d}, too fresh to be given", opens)


def unscreened(file: Candidate, policy: Policy, now: datetime) -> Finding | None:
    if not policy.screened or file.screening not in (Screening.UNKNOWN, Screening.RUNNING):
        return None
    return Finding(Rule.UNSCREENED, "not screened yet", hold=True)


def held(file: Candidate, policy: Policy, now: datetime) -> Finding | None:
    """Also what an advisory may mean or not: its range covers the version, its own list of versions does not."""
    unsure = [known.id for known in file.advisories if known.malicious and not known.confirmed]
    if unsure:
        return Finding(Rule.HELD, f"may be malicious ({_listed(unsure)}); a person has to look at it")
    if file.screening is not Screening.HELD:
        return None
    return Finding(Rule.HELD, "screening found something that a person has to look at")


# An entry of the allow list vouches for the file: these are not asked. The others always are.
VOUCHED_FOR: Final[tuple[Check, ...]] = (sdist, yanked, size, vulnerable, frozen, cooldown)
ALL: Final[tuple[Check, ...]] = (
    internal, malicious, blocked, denied, not_allowed, *VOUCHED_FOR, held, unscreened,
)  # fmt: skip


# Of which policies a rule finds nothing, whatever the file.
_SILENT: Final[Mapping[Check, Callable[[Policy], bool]]] = {
    internal: lambda policy: not policy.internal,
    denied: lambda policy: not policy.deny,
    not_allowed: lambda policy: not policy.within,
    sdist: lambda policy: policy.sdists,
    yanked: lambda policy: policy.yanked,
    size: lambda policy: policy.most_bytes is None,
    vulnerable: lambda policy: policy.refuse_from is None,
    frozen: lambda policy: policy.freeze_at is None,
    unscreened: lambda policy: not policy.screened,
}


def asked(policy: Policy) -> tuple[Check, ...]:
    """The rules that may find something, in order."""
    return tuple(check for check in ALL if check not in _SILENT or not _SILENT[check](policy))


def is_vouched_for(file: Candidate, policy: Policy) -> bool:
    return bool(policy.allow) and _vouches(policy.allow, file)


def _vouches(entries: tuple[Listed, ...], file: Candidate) -> bool:
    return any(entry.pattern.covers(file.project, file.version) for entry in entries)


def _because(entry: Listed) -> str:
    return f": {entry.reason}" if entry.reason else ""


def _listed(ids: list[str]) -> str:
    shown = ", ".join(ids[:2])
    return shown if len(ids) <= 2 else f"{shown} and {len(ids) - 2} more"


def _mib(size: int) -> str:
    return f"{size / 1024 / 1024:.1f}"
