"""Which projects and versions an entry of a list means: `demo`, `acme-*`, `demo>=2,<3`, `@acme/*`. Pure.

A name is normalised as its ecosystem does; `*` stands for any run of characters, `?` for one.
Versions are PEP 440 specifiers; for npm comparisons with whole versions (`demo@>=2.0.0,<3.0.0`).

A range is read in two ways. PEP 440 (Version specifiers, exclusive ordered comparison) lets `<2.0` end before
2.0rc1, and `>1.0` begin after 1.0.post1 and 1.0+local. That is right for a list that vouches (`covers`): it speaks
for no version that it may not have meant. A list that refuses would be got around by naming such a
version, so it goes by plain order as well (`reaches`): 2.0rc1 comes before 2.0, so `<2.0` refuses it.
"""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import translate
from functools import cached_property, lru_cache
from re import Pattern as Regex
from typing import Final

from packaging.specifiers import InvalidSpecifier, Specifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from semver import Version as SemVersion

from sandboxes.errors import InvalidInputError
from sandboxes.index.policy.facts import Ecosystem

_LONGEST = 300  # characters
_EXCLUSIVE: Final[dict[str, Callable[[Version, Version], bool]]] = {"<": operator.lt, ">": operator.gt}
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

    def reaches(self, project: str, version: str) -> bool:
        """For lists that refuse. A version that cannot be read is within every range: no way around the list."""
        return self.names(project) and self._within(version, wide=True)

    def covers(self, project: str, version: str) -> bool:
        """For lists that vouch. A version that cannot be read is within no range: nobody vouched for it."""
        return self.names(project) and self._within(version, wide=False)

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

    def _within(self, version: str, *, wide: bool) -> bool:
        if not self.versions:
            return True
        if self.ecosystem is Ecosystem.NPM:
            return _within_npm(self.versions, version, wide=wide)
        try:
            read = Version(version)
        except InvalidVersion:
            return wide
        return all(_meets(one, read, wide=wide) for one in _specifiers(self.versions))


@lru_cache(maxsize=4096)
def _specifiers(versions: str) -> tuple[Specifier, ...]:
    return tuple(SpecifierSet(versions))


def _meets(one: Specifier, version: Version, *, wide: bool) -> bool:
    if one.contains(version, prereleases=True):
        return True
    by_order = _EXCLUSIVE.get(one.operator) if wide else None
    return by_order is not None and by_order(version, Version(one.version))


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
        _within_npm(versions, "0.0.0", wide=True) if versions else True
    except ValueError as error:
        raise InvalidInputError(
            f"{versions!r} is no range of versions; write for example demo@>=2.0.0,<3.0.0."
        ) from error
    return Pattern(Ecosystem.NPM, name, versions)


def _within_npm(versions: str, version: str, *, wide: bool) -> bool:
    """By SemVer's order, where a pre-release comes before what it leads to; narrow, `<2.0.0` ends before those."""
    if not SemVersion.is_valid(version):
        return wide
    read = SemVersion.parse(version)
    for part in map(str.strip, versions.split(",")):
        if not read.match(part) or (not wide and part.startswith("<") and _leads_to(read, part[1:])):
            return False
    return True


def _leads_to(version: SemVersion, bound: str) -> bool:
    """Whether it is a pre-release of a bound that is none itself."""
    return bool(version.prerelease) and SemVersion.is_valid(bound) and version.finalize_version() == bound


def _normalised(name: str) -> str:
    """PEP 503, leaving wildcards alone."""
    return str(canonicalize_name(name))
