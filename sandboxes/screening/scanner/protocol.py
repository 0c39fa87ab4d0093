"""What the pool and its children say to each other: one JSON object a line. Pure.

Files are handed over as open handles, by a socket beside the lines: a child opens none itself. A message there is one
byte, and has the file's handle and then that of the release before it, if there is one.
"""

from typing import Final

import msgspec

from sandboxes.screening.package import Facts

MOST: Final = 8 * 1024 * 1024  # bytes of a line
HANDLES: Final = 2


class Ready(msgspec.Struct, frozen=True):
    """A child's first line, once its detectors are loaded and its limits hold."""

    missing: tuple[str, ...]  # of its confinement, on this system


class Request(msgspec.Struct, frozen=True):
    facts: Facts
    seconds: int = 30  # of processor time
