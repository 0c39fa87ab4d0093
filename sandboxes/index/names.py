"""Names of projects and files: which are valid, and what they say. Pure."""

import re

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

# PEP 508 names; anything else cannot be a project, so nobody is asked for it.
_PROJECT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
# What wheel and sdist names are made of ("!" and "+": epochs and local versions); no separator, no dot first.
_FILENAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+!-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LONGEST = 200  # characters; leaves room for suffixes within a file system's 255

_ARCHIVES = (".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".tar", ".zip", ".egg", ".exe", ".msi", ".rpm", ".deb")
METADATA = ".metadata"  # PEP 658: the file's URL plus this


def is_project(text: str) -> bool:
    return len(text) <= _LONGEST and _PROJECT.fullmatch(text) is not None


def is_filename(text: str) -> bool:
    """Also false for NAME.metadata, which could not be told from another file's metadata."""
    return len(text) <= _LONGEST and _FILENAME.fullmatch(text) is not None and not text.endswith(METADATA)


def is_sha256(text: str) -> bool:
    return _SHA256.fullmatch(text) is not None


def normalise(project: str) -> str:
    """PEP 503: runs of ``-``, ``_`` and ``.`` are one ``-``; lower case."""
    return canonicalize_name(project)


def version_of(project: str, filename: str) -> str:
    """The version a file name states, in PEP 440's canonical form where it has one; "" when it states none.

    `project` is normalised: sdist names are ambiguous without it (``a-b-1.tar.gz``).
    """
    if filename.endswith(".whl"):
        parts = filename.split("-")
        return canonical(parts[1]) if len(parts) >= 5 else ""
    stem = _without_archive(filename)
    for match in re.finditer("-", stem):
        if normalise(stem[: match.start()]) == project:
            return canonical(stem[match.end() :])
    return ""


def _without_archive(filename: str) -> str:
    for suffix in _ARCHIVES:
        if filename.endswith(suffix):
            return filename.removesuffix(suffix)
    return filename


def canonical(version: str) -> str:
    """PEP 440's one spelling of a version; unreadable ones stay as they are."""
    try:
        return str(Version(version))
    except InvalidVersion:
        return version
