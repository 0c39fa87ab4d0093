"""Versions, as each ecosystem orders them: PEP 440 by `packaging`, npm's by `semver`. Pure.

What neither can read is None, and its caller says what that means.
"""

from functools import lru_cache
from typing import Any, Protocol

import semver
from packaging.utils import canonicalize_version
from packaging.version import Version

from sandboxes.screening.words import Ecosystem

_LONGEST = 256  # characters; npm's own limit
_REMEMBERED = 512  # of each kind, about a kilobyte each: the same ones are asked for again soon or not at all


class Ordered(Protocol):
    """A version that was read: equal and smaller as its ecosystem says."""

    def __lt__(self, other: Any, /) -> bool: ...


@lru_cache(maxsize=_REMEMBERED)
def read(ecosystem: Ecosystem, text: str) -> Ordered | None:
    """To be compared with others of its ecosystem. npm's build metadata counts for nothing (semver)."""
    if len(text) > _LONGEST:
        return None
    try:
        return semver.Version.parse(text) if ecosystem is Ecosystem.NPM else Version(text)
    except (ValueError, TypeError):  # also a number of more digits than Python converts
        return None


@lru_cache(maxsize=_REMEMBERED)
def public(ecosystem: Ecosystem, text: str) -> Ordered | None:
    """Without the local part (1.0+cpu): a hole in 1.0 is one in each build of it."""
    version = read(ecosystem, text)
    return Version(version.public) if isinstance(version, Version) and version.local else version


@lru_cache(maxsize=_REMEMBERED)
def spellings(ecosystem: Ecosystem, text: str) -> tuple[str, ...]:
    """Under which entries of a list of versions it can stand: itself, and what it is a build of.

    Equal versions (1.0, v1.0.0) have one spelling, which comes first. What cannot be read stays as it is.
    """
    version = read(ecosystem, text)
    if isinstance(version, semver.Version):
        return (str(version.replace(build=None)),)
    if not isinstance(version, Version):
        return (text,)
    own, base = canonicalize_version(version), canonicalize_version(version.public)
    return (own,) if own == base else (own, base)
