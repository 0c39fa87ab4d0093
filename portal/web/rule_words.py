"""The rules of package policy in plain words. Pure."""

from dataclasses import dataclass
from typing import Final

from sandboxes.index.policy.rules import Rule


@dataclass(frozen=True)
class Words:
    """What the rule is called, what it is for, and, of one that no waiver lifts, why."""

    title: str
    what: str
    never: str = ""


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
        "No waiver opens it, because it is known to attack whoever installs it. Take another version.",
    ),
    Rule.BLOCKED: Words(
        "Blocked by a person",
        "Somebody looked at what screening found in this file, and said no.",
        "No waiver opens it: a person has looked and decided. Talk to them.",
    ),
    Rule.DENIED: Words("On the deny list", "IT has put this package, or this version, on the deny list."),
    Rule.NOT_ALLOWED: Words(
        "Not on the allow list", "Only what is on an allow list is given here, and this is not on it."
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
        "Every file is looked through before it is given. This is under way, and opens by itself.",
        "No waiver opens it: it opens by itself as soon as screening is through.",
    ),
    Rule.HELD: Words(
        "Held by screening", "Screening found something, or an advisory may mean this. A person has to look."
    ),
}
EVERY_RULE: Final = "Every rule"


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
