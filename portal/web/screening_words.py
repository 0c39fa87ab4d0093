"""How pages speak of advisories and of what screening found. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final

from sandboxes.screening.findings import Ability, Level, Threat
from sandboxes.screening.models import Advisory, Verdict
from sandboxes.screening.words import Ecosystem, Screening, Severity

ECOSYSTEMS: Final = {Ecosystem.PYPI.value: "Python (PyPI)", Ecosystem.NPM.value: "JavaScript (npm)"}
SEVERITIES: Final = {one.name.lower(): one.name.capitalize() for one in Severity}
# Ability → its name, and what it means for whoever installs the file.
ABILITIES: Final[dict[Ability, tuple[str, str]]] = {
    Ability.START: ("Runs at every start", "Code of it runs whenever Python, or the shell, starts."),
    Ability.INSTALL: ("Runs when installed", "Code of it runs before anybody uses it."),
    Ability.PROCESS: ("Starts programs", "It runs other programs."),
    Ability.NETWORK: ("Connects", "It reaches out to other machines."),
    Ability.EXECUTE: (
        "Runs hidden code",
        "It runs code that is not there to be read: decoded, fetched, made up.",
    ),
    Ability.SECRETS: ("Reads secrets", "It reads credentials, environment variables, keys or browsers."),
    Ability.FILES: ("Changes files", "It writes or deletes outside of itself."),
    Ability.NATIVE: ("Machine code", "It brings programs that nobody can read."),
    Ability.IDENTITY: ("May not be what it seems", "It looks like somebody or something else."),
    Ability.CONTENT: ("Known pattern", "It has something that attacks have, or that has no business there."),
}
THREATS: Final[dict[Threat, tuple[str, str, str]]] = {
    # Name, the badge's look, and what it says.
    Threat.LOW: ("Low", "done", "Common in good packages"),
    Threat.MEDIUM: ("Medium", "wait", "Sometimes in good packages"),
    Threat.HIGH: ("High", "wait", "Rare in good packages"),
    Threat.CRITICAL: ("Critical", "bad", "Hardly ever anything but an attack"),
}
LEVELS: Final[dict[str, tuple[str, str]]] = {
    Level.CLEAN: ("Clean", "good"),
    Level.NOTE: ("Noted", "done"),
    Level.WARN: ("Warned of", "wait"),
    Level.HOLD: ("Held", "bad"),
}
DECISIONS: Final[dict[str, tuple[str, str]]] = {
    "released": ("Released", "good"),
    "blocked": ("Blocked", "bad"),
}


def badge(one: Advisory) -> tuple[str, str]:
    """Word and look: what a withdrawn one said does not count any more."""
    if one.withdrawn_at is not None:
        return "Withdrawn", "done"
    if one.malicious:
        return "Malicious", "bad"
    if one.severity is None:
        return "Not rated, counts as high", "wait"
    return Severity(one.severity).name.capitalize(), "bad" if one.severity >= Severity.CRITICAL else "wait"


def state(one: Verdict) -> tuple[str, str]:
    """Word and look of how it stands with a file."""
    if one.decision:
        return DECISIONS.get(one.decision, (one.decision, "done"))
    if one.state == Screening.HELD:
        return "Held", "wait"
    return LEVELS.get(one.level, (one.state.capitalize(), "done"))


def range_in_words(events: Iterable[Sequence[str]]) -> str:
    """ "from 1.0 to before 2.0"; one that has several stretches has them in order."""
    found = [(kind, version) for kind, version in events]
    if found == [("introduced", "0")]:
        return "every version"
    parts = [_event(kind, version) for kind, version in found]
    return " ".join(part for part in parts if part)


def _event(kind: str, version: str) -> str:
    match kind:
        case "introduced":
            return "from the first" if version == "0" else f"from {version}"
        case "fixed" | "limit":
            return f"to before {version}"
        case "last_affected":
            return f"up to {version}"
    return ""
