"""Which projects and versions an entry of a list means: `demo`, `acme-*`, `demo>=2,<3`, `@acme/*`. Pure.

A name is normalised as its ecosystem does; `*` stands for any run of characters, `?` for one.
Versions are PEP 440 specifiers; for npm comparisons with whole versions (`demo@>=2.0.0,<3.0.0`).
"""

import re
from dataclasses import dataclass
from fnmatch import translate
from functools import cached_property, lru_cache
from re import Pattern as Regex

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from semver import Version as SemVersion

from sandboxes.errors import InvalidInputError
from sandboxes.index.policy.facts import Ecosystem

_LONGEST = 300  # characters
_PYPI = re.compile(r"\s*([A-Za-z0-9*?](?:[A-Za-z0-9._*?-]*[A-Za-z0-9*?])?)\s*((?:[<>=!~].*)?)")
_NPM = re.compile(
    r"\s*((?:@[a-z0-9*?~][a-z0-9*?._~-]*/)?[a-z0-9*?~][a-z0-9*?._~-]*)\s*(?:@\s*(.+))?", re.IGNORECASE
)


@dataclass(frozen=True)
class Pattern:
    """A name, perhaps with wildcards, and which versions of it; `versions` "" means all."""

    ecosystem: Ecosystem
    name: str
    versions: str = ""

    def matches(self, project: str, version: str) -> bool:
        """A version that cannot be read is within every range: lists that refuse must not be got around."""
        return self.names(project) and self._within(version)

    def names(self, project: str) -> bool:
        """Whether some version of that project may be meant."""
        folded = project.lower() if self.ecosystem is Ecosystem.NPM else project  # as `_npm` has it
        return self._regex.fullmatch(folded) is not None

    def __str__(self) -> str:
        glue = "@" if self.versions and self.ecosystem is Ecosystem.NPM else ""
        return f"{self.name}{glue}{self.versions}"

    @cached_property
    def _regex(self) -> Regex[str]:
        return re.compile(translate(self.name.replace("[", "[[]")))

    def _within(self, version: str) -> bool:
        if not self.versions:
            return True
        if self.ecosystem is Ecosystem.NPM:
            return _within_npm(self.versions, version)
        try:
            return SpecifierSet(self.versions).contains(Version(version), prereleases=True)
        except InvalidVersion:
            return True


@lru_cache(maxsize=4096)
def parse(text: str, ecosystem: Ecosystem) -> Pattern:
    """Raises `InvalidInputError` that says what is wrong with it."""
    match = (_NPM if ecosystem is Ecosystem.NPM else _PYPI).fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise InvalidInputError(
            f"{text!r} names no project: write a name, a name with * in it, or a name and versions (demo>=2)."
        )
    name, versions = match[1], (match[2] or "").strip()
    if ecosystem is Ecosystem.NPM:
        return _npm(name.lower(), versions)
    try:
        SpecifierSet(versions)
    except InvalidSpecifier as error:
        raise InvalidInputError(
            f"{versions!r} is no version specifier; write for example demo>=2,<3."
        ) from error
    return Pattern(ecosystem, _normalised(name), versions)


def _npm(name: str, versions: str) -> Pattern:
    try:
        _within_npm(versions, "0.0.0") if versions else True
    except ValueError as error:
        raise InvalidInputError(
            f"{versions!r} is no range of versions; write for example demo@>=2.0.0,<3.0.0."
        ) from error
    return Pattern(Ecosystem.NPM, name, versions)


def _within_npm(versions: str, version: str) -> bool:
    """By SemVer's order, where a pre-release comes before what it leads to."""
    read = SemVersion.parse(version) if SemVersion.is_valid(version) else None
    inside = [read is None or read.match(part.strip()) for part in versions.split(",")]
    return all(inside)


def _normalised(name: str) -> str:
    """PEP 503, leaving wildcards alone."""
    return str(canonicalize_name(name))
