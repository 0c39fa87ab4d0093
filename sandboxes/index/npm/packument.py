"""A package's packument as the index keeps it: one model, of which both forms are rendered.

What a manifest says to npm is kept as JSON text and only put together again: a packument has thousands
of them, and nobody here asks what is in one. `reading.py` makes that text, of nothing but what it knows.
"""

import json
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Final

FORMAT: Final = 1  # of `Packument.document`; raise it when fields change their meaning


@dataclass(frozen=True, slots=True)
class Release:
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


@dataclass(frozen=True)
class Packument:
    name: str
    releases: tuple[Release, ...]
    tags: dict[str, str]  # each of a release that is here
    about: str = ""  # members of the full form: description, licence, …
    created: str = ""
    modified: str = ""
    source: str = ""  # the upstream's name

    def document(self) -> bytes:
        """As bytes to store; equal packuments give equal bytes."""
        releases = [[getattr(release, field) for field in _FIELDS] for release in self.releases]
        parts = [self.name, releases, self.tags, self.about, self.created, self.modified, self.source]
        return json.dumps(parts, separators=(",", ":")).encode()

    @classmethod
    def load(cls, document: bytes) -> "Packument":
        name, releases, *rest = json.loads(document)
        return cls(name, tuple(Release(*values) for values in releases), *rest)

    def find(self, version: str) -> Release | None:
        return self._by_version.get(version)

    @cached_property
    def _by_version(self) -> dict[str, Release]:
        return {release.version: release for release in self.releases}


_FIELDS: Final = tuple(field.name for field in fields(Release))
