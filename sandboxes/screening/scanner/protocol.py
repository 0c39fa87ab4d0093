"""What the pool and its children say to each other: one JSON object a line. Pure."""

from typing import Final

import msgspec

from sandboxes.screening.package import Facts

READY: Final = b"ready\n"  # a child's first line, once its detectors are loaded and its limits hold
MOST: Final = 8 * 1024 * 1024  # bytes of a line


class Request(msgspec.Struct, frozen=True):
    path: str
    facts: Facts
    former: str | None = None  # path of the file of the release before it
    seconds: int = 30  # of processor time
