"""What an entry of the tables says."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sandboxes.screening.package import Kind

MARKER = "PETRIDISH INERT SAMPLE"
INERT = 'print("inert")'  # every payload

type Files = Mapping[str, str | bytes]


@dataclass(frozen=True)
class Release:
    """What is in one archive. Paths are as installed (wheel) or below the first folder (sdist, npm)."""

    version: str
    files: Files
    # Of `METADATA`, or over those that are made for `package.json`.
    metadata: Mapping[str, object] = field(default_factory=dict)
    # `RECORD` says these bytes of members that have others; None: it does not name the member at all.
    recorded: Mapping[str, bytes | None] = field(default_factory=dict)
    # Done to the finished archive.
    tamper: Callable[[bytes], bytes] | None = None
    provenance: bool = False


@dataclass(frozen=True)
class Attack:
    name: str  # of the entry: words with dashes
    recreates: str  # what is known by this shape, with its year
    kind: Kind
    project: str
    release: Release
    # The families of rules, one of which has to speak: what stands before a rule's dot.
    expects: frozenset[str]
    former: Release | None = None
    since: str = "2026-10-01T08:00:00Z"  # the project's oldest upload
    uploaded: str = "2026-11-01T08:00:00Z"
    releases: int = 1
