"""What screening says of a project's versions and of a file's bytes, in words that the index shares. Pure."""

from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum, StrEnum
from typing import Final

from packaging.utils import canonicalize_name

# A place that screens and says nothing of its patterns for longer is gone.
HEARD_OF: Final = timedelta(minutes=10)


class Ecosystem(StrEnum):
    """OSV's names for them, in lower case."""

    PYPI = "pypi"
    NPM = "npm"


class Severity(IntEnum):
    """Of a vulnerability. One that nobody rated counts as high: not known is not harmless."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


UNRATED = Severity.HIGH


class Screening(StrEnum):
    """How far screening is with these bytes."""

    UNKNOWN = "unknown"  # never looked at
    RUNNING = "running"
    PASSED = "passed"  # clean, or noted, or warned of: served
    HELD = "held"  # a person has to look
    BLOCKED = "blocked"  # a person said no


@dataclass(frozen=True, slots=True)
class Known:
    """An advisory that affects the file's version, or that its predecessor had.

    `confirmed` False: only a range of it covers the version, while it lists others one by one. Of malware
    that is a guess: whoever has the name now may be somebody else.
    """

    id: str  # "PYSEC-2024-1", "MAL-2024-1"
    malicious: bool = False
    severity: Severity = UNRATED
    confirmed: bool = True


def normalised(ecosystem: Ecosystem, project: str) -> str:
    """PyPI: PEP 503. npm knows no other spelling of a name; old ones differ by case alone."""
    return canonicalize_name(project) if ecosystem is Ecosystem.PYPI else project
