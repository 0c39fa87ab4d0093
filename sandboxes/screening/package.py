"""A file as detectors see it: its members, read one at a time and never extracted, and what is known beside it."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Protocol

import msgspec


class Kind(StrEnum):
    WHEEL = "wheel"
    SDIST = "sdist"
    NPM = "npm"


class Facts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the index knows of the file besides its bytes. Empty or None: not known."""

    filename: str
    ecosystem: str = "pypi"  # `words.Ecosystem`
    project: str = ""  # normalised
    version: str = ""
    uploaded_at: str = ""  # ISO 8601, UTC
    project_since: str = ""  # the oldest upload time of the project that its page tells
    requires_python: str = ""  # as its page says
    provenance: bool = False  # its page names an attestation
    former_version: str = ""  # of the release before it
    former_provenance: bool = False
    releases: int = 0  # that the project has
    signed: bool = False  # npm: by its registry
    former_signed: bool = False
    publisher: str = ""  # npm: the user who published it
    former_publisher: str = ""
    trusted: bool = False  # npm: a pipeline published it that its registry knows, not a person
    maintainers: tuple[str, ...] = ()  # npm: users who may publish, when it was published
    former_maintainers: tuple[str, ...] = ()


class Member(Protocol):
    """One regular file inside the archive."""

    @property
    def path(self) -> str:
        """With slashes, relative, as it would be installed or unpacked; of an sdist without its first folder."""

    @property
    def size(self) -> int: ...

    def read(self, most: int = ...) -> bytes:
        """Its bytes, no more than `most`. Raises `archives.LimitError` when the archive lies, or is too much."""

    def text(self, most: int = ...) -> str:
        """The same as UTF-8; what is none of it is replaced."""


class Package(Protocol):
    """`read` costs are counted over the whole package, so detectors share what they read: members are cached."""

    @property
    def kind(self) -> Kind: ...
    @property
    def facts(self) -> Facts: ...
    @property
    def members(self) -> Iterable[Member]:
        """In the archive's order, then links that lead to one of them, with its bytes.

        Other links, devices and folders are no members (see `oddities`), nor is what an archive inside this one
        holds: that is a package of its own, which detectors are shown by itself.
        """

    def member(self, path: str) -> Member | None: ...

    @property
    def oddities(self) -> Iterable[str]:
        """What is wrong with the archive itself, in plain words: duplicates, links, names that lead outside."""
