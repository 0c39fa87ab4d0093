"""Names of npm packages, versions and tarballs: which are valid, and what they say. Pure."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from semver import Version

# npm's own rules for new names, and the upper case that old ones have. None begins with a dot.
_NAME = re.compile(r"(?:@[A-Za-z0-9~-][A-Za-z0-9._~-]*/)?[A-Za-z0-9~-][A-Za-z0-9._~-]*")
_LONGEST: Final = 214
_LONGEST_VERSION: Final = 100  # leaves room for the name within a file system's 255
_LARGEST: Final = 2**53 - 1  # of a version's numbers: what JavaScript can count to
_TARBALL: Final = ".tgz"
_BETWEEN: Final = "/-/"  # a name and its tarball
RESERVED: Final = "-"  # what is no package begins with it
LONGEST_TAG: Final = 200
_REMEMBERED: Final = 512  # versions; up to 5 kB each, and packuments keep their own order


class Order(NamedTuple):
    """Where a version stands among others (SemVer 2.0, 11); as a tuple, for that is compared fast."""

    major: int
    minor: int
    patch: int
    stable: bool
    prerelease: tuple[tuple[bool, int, str], ...]  # of each part whether it is no number, and what it is

    @property
    def core(self) -> tuple[int, int, int]:
        return self[:3]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a path below `/npm/` means: a tarball, one version's manifest, or else the packument."""

    name: str
    filename: str = ""
    version: str = ""  # of a tarball
    manifest: str = ""  # a version or a tag


def asked(path: str) -> Asked | None:
    """`path` is decoded; None: there is nothing of such a name."""
    name, between, filename = path.partition(_BETWEEN)
    if between:
        version = version_of(name, filename) if is_name(name) else ""
        return Asked(name, filename, version) if version else None
    if is_name(path):
        return Asked(path)
    name, _, wanted = path.rpartition("/")
    return Asked(name, manifest=wanted) if is_name(name) and is_tag(wanted) else None


def is_tag(text: str) -> bool:
    """Of a tag or a version: what a URL can name."""
    return 0 < len(text) <= LONGEST_TAG and text.isprintable() and not text.startswith(".")


def is_name(text: str) -> bool:
    return len(text) <= _LONGEST and text != RESERVED and _NAME.fullmatch(text) is not None


def filename_of(name: str, version: str) -> str:
    """As registries name tarballs; ours are always named so, whatever the upstream's are."""
    return f"{_bare(name)}-{version}{_TARBALL}"


def version_of(name: str, filename: str) -> str:
    """The version that a tarball of ours is of; "" for what is none of that package."""
    version = filename.removeprefix(f"{_bare(name)}-").removesuffix(_TARBALL)
    return version if read(version) and filename == filename_of(name, version) else ""


@lru_cache(maxsize=_REMEMBERED)
def read(version: str) -> Version | None:
    """SemVer as npm reads it, in its one spelling; None for all else, builds (`1.0.0+a`) included."""
    if len(version) > _LONGEST_VERSION or not version.isascii():
        return None
    try:
        found = Version.parse(version)
    except ValueError:
        return None
    parts = (found.major, found.minor, found.patch, *_numbers(found.prerelease))
    return found if found.build is None and max(parts) <= _LARGEST else None


@lru_cache(maxsize=_REMEMBERED)
def order(version: str) -> Order:
    """Of a version that can be read."""
    found = read(version)
    if found is None:
        raise ValueError(f"{version!r} is no version")
    parts = (found.prerelease or "").split(".") if found.prerelease else []
    return Order(
        found.major,
        found.minor,
        found.patch,
        not parts,
        tuple((False, int(part), "") if part.isdecimal() else (True, 0, part) for part in parts),
    )


def _numbers(prerelease: str | None) -> list[int]:
    return [int(part) for part in (prerelease or "").split(".") if part.isdecimal()]


def _bare(name: str) -> str:
    return name.rpartition("/")[2]
