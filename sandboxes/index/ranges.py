"""Byte ranges after RFC 9110, section 14. Pure.

One range is honoured; a header with several, or one that cannot be read, is
ignored, as the RFC allows: the whole file is a correct answer.
"""

import re
from dataclasses import dataclass

_ONE = re.compile(r"bytes\s*=\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes `start` up to, not including, `stop`."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        return self.stop - self.start


class UnsatisfiableError(Exception):
    """The range begins behind the end: 416."""


def span_of(header: str | None, size: int) -> Span | None:
    """The part asked for, or None for the whole; raises `UnsatisfiableError`."""
    match = _ONE.fullmatch(header.strip()) if header else None
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        return _suffix(int(last), size)
    start = int(first)
    if last and int(last) < start:
        return None  # invalid, so ignored
    if start >= size:
        raise UnsatisfiableError
    return Span(start, min(int(last) + 1, size) if last else size)


def _suffix(length: int, size: int) -> Span:
    if length == 0 or size == 0:
        raise UnsatisfiableError
    return Span(max(0, size - length), size)
