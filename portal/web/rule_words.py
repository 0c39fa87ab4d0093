"""The rules of package policy in plain words. Pure."""

from dataclasses import dataclass
from typing import Final

from sandboxes.index.policy.rules import Finding, Rule


@dataclass(frozen=True)
class Words:
    """What the rule is called, what it is for, and why no waiver lifts it, or why only an admin's does."""

    title: str
    what: str
    never: str = ""
    admin: str = ""


RULES: Final[dict[str, Words]] = {
    Rule.INTERNAL: Words(
        "A name of our own",
        "The company has a package of this name. Whoever registers the same name outside must not get their "
        "code in here, so it never comes from outside.",
        "No waiver opens it: taking a stranger’s package for ours is the very attack this stops. "
        "If the name is not ours, an admin takes it off the list.",
    ),
    Rule.MALICIOUS: Words(
        "Known to be malicious",
        "An advisory says that this version was made to do harm.",
        admin="Only an admin grants a waiver: it is known to attack whoever installs it. Better take another version.",
    ),
    Rule.BLOCKED: Words(
        "Blocked by a person",
        "Somebody looked at what screening found in this file, and said no.",
        admin="Only an admin grants a waiver, because a person has looked and decided.",
    ),
    Rule.DENIED: Words(
        "On the deny list",
        "IT has put this package, or this version, on the deny list.",
        admin="Only an admin grants a waiver, because admins keep the list.",
    ),
    Rule.NOT_ALLOWED: Words(
        "Not on the allow list",
        "Only what is on an allow list is given here, and this is not on it.",
        admin="Only an admin grants a waiver, because admins keep the list.",
    ),
    Rule.SDIST: Words(
        "Source distributions are not given",
        "Installing a source distribution runs code of its author’s at once. A wheel is only unpacked, so "
        "wheels are given and source distributions are not.",
    ),
    Rule.YANKED: Words(
        "Yanked by its own project", "The people who made it took it back. Mostly it is broken."
    ),
    Rule.SIZE: Words("Too large", "Files above a size are not given."),
    Rule.VULNERABLE: Words(
        "Known to be vulnerable",
        "An advisory describes a serious weakness of this version. Mostly a newer one has it mended.",
    ),
    Rule.FROZEN: Words(
        "Released after the freeze date",
        "The index is shown as it was on a date, so that a trial can be repeated. This came later.",
    ),
    Rule.COOLDOWN: Words(
        "Too fresh to be given",
        "Most bad releases are found within days of their release. So a new one waits, unless it mends a "
        "known weakness of the one before.",
    ),
    Rule.UNSCREENED: Words(
        "Not screened yet",
        "Every file is looked through before it is given, which begins when it is asked for. It opens by itself.",
        admin="Only an admin grants a waiver, because nobody knows yet what is in it.",
    ),
    Rule.HELD: Words(
        "Held by screening",
        "Screening found something, or an advisory may mean this. What screening held is in the approvers’ queue "
        "already: they release it, and it is given to everybody, or they block it.",
        admin="Only an admin grants a waiver, because this may be an attack.",
    ),
}
EVERY_RULE: Final = "Every rule"
_NAMED_FIRST: Final = frozenset({Rule.INTERNAL, Rule.DENIED, Rule.NOT_ALLOWED})


def spoken(finding: Finding) -> str:
    """The reason as a sentence begins; one that begins with a project's name keeps it as it is."""
    if finding.rule in _NAMED_FIRST:
        return finding.reason
    return finding.reason[:1].upper() + finding.reason[1:]


def title(rule: str) -> str:
    """ "" is every rule, as broken glass lifts it."""
    known = RULES.get(rule)
    return known.title if known else rule or EVERY_RULE


STATES: Final[dict[str, tuple[str, str]]] = {
    "asked": ("Waiting for a decision", "wait"),
    "granted": ("Granted", "good"),
    "refused": ("Refused", "bad"),
    "withdrawn": ("Withdrawn", "done"),
    "ended": ("Ended", "done"),
    "over": ("Over", "done"),
    "glass": ("Glass broken", "bad"),
}
VERDICTS: Final[dict[str, tuple[str, str]]] = {
    "allow": ("Given", "good"),
    "hold": ("On hold", "wait"),
    "refuse": ("Refused", "bad"),
}
