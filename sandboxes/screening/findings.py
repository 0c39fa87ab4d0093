"""What a detector says of a file, and what it all comes to. Pure; the scanner's child processes import it."""

from enum import StrEnum

import msgspec


class Ability(StrEnum):
    """What code could do with what was found."""

    START = "start"  # runs whenever Python, or the package's shell, starts
    INSTALL = "install"  # runs when it is installed
    PROCESS = "process"  # starts programs
    NETWORK = "network"  # connects
    EXECUTE = "execute"  # runs code that is not there to be read: decoded, downloaded, made up
    SECRETS = "secrets"  # reads credentials, environment, keys, browsers
    FILES = "files"  # writes or deletes outside of itself
    NATIVE = "native"  # brings machine code
    IDENTITY = "identity"  # seems to be somebody or something else
    CONTENT = "content"  # a known pattern, or what has no business there


class Threat(StrEnum):
    """How seldom it is harmless."""

    LOW = "low"  # common in good packages
    MEDIUM = "medium"
    HIGH = "high"  # rare in good packages
    CRITICAL = "critical"  # hardly ever anything but an attack


class Level(StrEnum):
    """What findings come to, by the scale (`scoring.py`)."""

    CLEAN = "clean"
    NOTE = "note"
    WARN = "warn"
    HOLD = "hold"  # a person has to look


class Found(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that one detector found. `rule` is stable: tests, notes and decisions name it."""

    rule: str  # "start-hook.pth-code"
    ability: Ability
    threat: Threat
    why: str  # one plain sentence for an approver
    path: str = ""  # inside the archive; "" for the whole file
    line: int = 0  # from 1; 0: none
    excerpt: str = ""  # at most 300 characters, as it stands there
    installs: bool = False  # only an installation does it, if its rule does not say so


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a scan came to. `broken`: why the file could not be read to its end, which holds it."""

    findings: tuple[Found, ...] = ()
    broken: str = ""
    seconds: float = 0.0
    version: int = 0
    rules: str = ""  # which patterns were looked for: their digest; empty: it did not come to say
