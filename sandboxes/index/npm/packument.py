"""A package's packument as the index keeps it: one model, of which both forms are rendered.

What a manifest says to npm is kept as JSON text and only put together again: a packument has thousands
of them, and nobody here asks what is in one. `reading.py` makes that text, of nothing but what it knows.
"""

from functools import cached_property
from typing import Any, Final

import msgspec

from sandboxes.index import weights
from sandboxes.index.npm.names import Order, order

# Bytes that a release takes in memory besides its characters, with its places in the orders.
_WEIGHT: Final = 850
_PART: Final = 150  # and each part of a pre-release
_TAG: Final = 200  # and each tag
FORMAT: Final = 1  # of `Packument.document`; raise it when fields change their meaning


class Release(msgspec.Struct, frozen=True, array_like=True):
    """One version. `short`, `more`, `dist`: members of JSON objects, without the braces."""

    version: str
    digest: str  # of the tarball, in hex; its length tells the algorithm (`flight.ALGORITHMS`)
    url: str  # of the tarball, absolute, at the upstream
    published: str | None = None  # as `page.utc` writes it
    deprecated: str = ""  # by its own project, and why
    size: int | None = None  # unpacked: the only one that packuments tell
    short: str = ""  # of the manifest, in both forms
    more: str = ""  # of the manifest, in the full form
    dist: str = ""  # besides the tarball's URL and integrity
    # Not the upstream's word but ours, as `page.File` has it.
    seen_at: str = ""
    absent_at: str = ""
    # Again the upstream's: who published it (a user's name), whether that was a pipeline that npm trusts instead of a
    # person, and whether an attestation (provenance) came with it. Documents of before say nothing of these.
    publisher: str = ""
    trusted: bool = False
    attested: bool = False

    @property
    def maintainers(self) -> frozenset[str]:
        """Users who may publish, as of this version."""
        listed = _members(self.more).get("maintainers")
        people = listed if isinstance(listed, list) else []
        names = (each.get("name") if isinstance(each, dict) else None for each in people)
        return frozenset(name for name in names if isinstance(name, str) and name)

    @property
    def signed(self) -> bool:
        """By its registry."""
        return bool(_members(self.dist).get("signatures"))


class Packument(msgspec.Struct, frozen=True, array_like=True, dict=True):
    name: str
    releases: tuple[Release, ...]
    tags: dict[str, str]  # each of a release that is here
    about: str = ""  # members of the full form: description, licence, …
    created: str = ""
    modified: str = ""
    source: str = ""  # the upstream's name

    def document(self) -> bytes:
        """As bytes to store; equal packuments give equal bytes."""
        return msgspec.json.encode(self)

    @classmethod
    def load(cls, document: bytes) -> "Packument":
        return msgspec.json.decode(document, type=cls)

    def weight(self, document: bytes) -> int:
        """Bytes that it takes in memory, with all that is worked out of it; `document` is its own."""
        parts = sum(each.version.count(".") for each in self.releases if "-" in each.version)
        objects = len(self.releases) * _WEIGHT + len(self.tags) * _TAG + parts * _PART
        said = (*self.tags, *(each.deprecated for each in self.releases))
        return weights.document(document, objects, said)

    def find(self, version: str) -> Release | None:
        return self._by_version.get(version)

    @cached_property
    def _by_version(self) -> dict[str, Release]:
        return {release.version: release for release in self.releases}

    @cached_property
    def ordered(self) -> tuple[tuple[Order, Release], ...]:
        """By SemVer, the oldest first; sorted once, for there are thousands."""
        pairs = [(order(release.version), release) for release in self.releases]
        return tuple(sorted(pairs, key=lambda pair: pair[0]))

    @cached_property
    def replaced(self) -> dict[str, str]:
        """Each version with the one that it takes the place of, as `candidates.replacements` has it."""
        found: dict[str, str] = {}
        newest = final = ""
        for place, release in self.ordered:
            found[release.version] = final if place.stable else newest
            newest = release.version
            final = newest if place.stable else final
        return found


def _members(text: str) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(f"{{{text}}}")
    return found
