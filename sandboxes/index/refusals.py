"""What is said of a file that policy does not give: on its page, in a status line, in a problem document. Pure.

One sentence everywhere, so a person can search for what a terminal showed them:
``[cooldown] released 2026-11-19, too fresh to be given; opens 2026-11-26 10:00 UTC; why URL``.
The URL is never cut; what explains can be cut, because the page behind the URL explains it again.
"""

from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote

from sandboxes.index.errors import Refusal
from sandboxes.index.page import clean
from sandboxes.index.policy.decide import Decision
from sandboxes.index.policy.rules import Rule

_LONGEST_PHRASE: Final = 200  # characters
_SHORTEST_REASON: Final = 20  # of it that the reason has at least, however long the rest is

_TITLES: Final = {
    Rule.INTERNAL: "A name of our own",
    Rule.MALICIOUS: "Known to be malicious",
    Rule.BLOCKED: "Blocked by a person",
    Rule.DENIED: "On the deny list",
    Rule.NOT_ALLOWED: "Not on the allow list",
    Rule.SDIST: "Source distributions are not given",
    Rule.YANKED: "Yanked by its own project",
    Rule.SIZE: "Too large",
    Rule.VULNERABLE: "Known to be vulnerable",
    Rule.FROZEN: "Released after the freeze date",
    Rule.COOLDOWN: "Too fresh to be given",
    Rule.UNSCREENED: "Not screened yet",
    Rule.HELD: "Held by screening",
}


def why_url(public_url: str, ecosystem: str, project: str, version: str) -> str:
    """The portal's page that explains, and where a waiver is asked for."""
    base = quote(public_url, safe=":/[]%")  # it goes into status lines
    return f"{base}/why/{ecosystem}/{quote(project, safe='')}/{quote(version, safe='')}/"


def sentence(decision: Decision, why: str) -> str:
    """The whole of it on one line; the gravest finding speaks for all."""
    gravest = decision.findings[0]
    return f"[{gravest.rule}] {clean(gravest.reason)}{_tail(decision, why)}"


def phrase(decision: Decision, why: str) -> str:
    """`sentence` as a status line can hold it: printable ASCII, short."""
    gravest, tail = decision.findings[0], _tail(decision, why)
    head = f"[{gravest.rule}] "
    room = max(_LONGEST_PHRASE - len(head) - len(tail), _SHORTEST_REASON)
    reason = "".join(char if " " <= char <= "~" else "?" for char in clean(gravest.reason))
    return f"{head}{_cut(reason, room)}{tail}"


def refusal(decision: Decision, why: str) -> Refusal:
    """Of a decision that does not allow."""
    gravest = decision.findings[0]
    others = "".join(f"; also [{each.rule}] {clean(each.reason)}" for each in decision.findings[1:])
    return Refusal(
        rule=gravest.rule.value,
        title=_TITLES[gravest.rule],
        phrase=phrase(decision, why),
        detail=f"{sentence(decision, why)} ({_help(decision)}){others}",
        why=why,
        until=decision.until,
        waivable=decision.waivable,
    )


def yanked(decision: Decision, why: str, upstream: bool | str) -> str:
    """What stands on the page (PEP 592); what the project itself said of its file stays behind it."""
    own = sentence(decision, why)
    if upstream is False:
        return own
    said = f": {upstream}" if isinstance(upstream, str) else ""
    return f"{own} ; yanked by its own project{said}"


def _help(decision: Decision) -> str:
    if decision.needs_admin:
        return "a waiver, which takes an admin, can be asked for there"
    if decision.waivable:
        return "a waiver can be asked for there"
    return "no waiver opens it" if decision.to_waive else "it opens by itself"


def _tail(decision: Decision, why: str) -> str:
    opens = f"; opens {opening(decision.until):%Y-%m-%d %H:%M} UTC" if decision.until else ""
    return f"{opens}; why {why}"


def opening(until: datetime) -> datetime:
    """The full minute by which it is open."""
    whole = until.astimezone(UTC).replace(second=0, microsecond=0)
    return whole if whole == until else whole + timedelta(minutes=1)


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: room - 3].rstrip()}..."
