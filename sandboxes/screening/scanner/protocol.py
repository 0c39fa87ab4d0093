"""What the pool and its children say to each other: one JSON object a line. Pure.

Files are handed over as open handles, by a socket beside the lines: a child opens none itself. A message there is one
byte, and has the file's handle, then that of an earlier release and that of its own sources, as the request says.

Each answer repeats its request's token, which nobody can know before: a line too many is taken for no other file's.
"""

from typing import Final

import msgspec

from sandboxes.screening.findings import Report
from sandboxes.screening.package import Facts

MOST: Final = 8 * 1024 * 1024  # bytes of a line
HANDLES: Final = 3


class Ready(msgspec.Struct, frozen=True):
    """A child's first line, once its detectors are loaded and its limits hold."""

    missing: tuple[str, ...]  # of its confinement, on this system


class Request(msgspec.Struct, frozen=True):
    facts: Facts
    token: str
    seconds: int = 30  # of processor time
    former: bool = False  # whether there is a handle for it
    sources: bool = False


class Answer(msgspec.Struct, frozen=True):
    token: str
    report: Report
