"""npm's lock files (package-lock.json, npm-shrinkwrap.json): which tarballs they pin."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sandboxes.errors import InvalidInputError
from sandboxes.index.npm.integrity import digest_of
from sandboxes.index.npm.names import is_name, read

_FOLDER: Final = "node_modules/"
_LARGEST: Final = 64 * 1024 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class Pinned:
    name: str
    version: str
    digest: str  # of the tarball, in hex; "": the file does not say, or says a SHA-1, which is no proof

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass
class LockFile:
    """`left_out`: what comes from no registry."""

    pinned: list[Pinned] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def read_lock(path: Path) -> LockFile:
    """Raises `InvalidInputError` for a file that cannot be read."""
    packages = _packages(path)
    found, seen = LockFile(), set[Pinned]()
    for place, package in packages.items():
        _, mark, name = place.rpartition(_FOLDER)
        if not mark or not isinstance(package, dict) or package.get("link") or package.get("inBundle"):
            continue  # the project's own folders, and what comes within another's tarball
        pinned = _pinned(name, package)
        if pinned is None:
            found.left_out.append(place)
        elif pinned not in seen:
            seen.add(pinned)
            found.pinned.append(pinned)
    return found


def _pinned(name: str, package: dict[str, Any]) -> Pinned | None:
    alias, version = package.get("name"), package.get("version")
    resolved = str(package.get("resolved", "https:"))
    name = alias if isinstance(alias, str) else name
    if not (is_name(name) and isinstance(version, str) and read(version)):
        return None
    if not resolved.startswith(("https:", "http:")):
        return None  # a repository or a file
    return Pinned(name, version, digest_of(package.get("integrity")))


def _packages(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LARGEST:
            raise InvalidInputError(f"{path} is too large for a lock file.")
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"{path} cannot be read as a lock file of npm.") from error
    packages = document.get("packages") if isinstance(document, dict) else None
    if not isinstance(packages, dict):
        raise InvalidInputError(
            f"{path} says nothing of packages: it is no lock file of npm, or one of npm 6; "
            "npm 7 and newer write it anew with `npm install --package-lock-only`."
        )
    return packages
