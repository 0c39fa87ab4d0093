"""Names of projects and files: which are valid, and what they say. Pure."""

import math
import re

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

# PEP 508 names; anything else cannot be a project, so nobody is asked for it.
_PROJECT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
# What wheel and sdist names are made of ("!" and "+": epochs and local versions); no separator, no dot first.
_FILENAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+!-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LONGEST = 200  # characters; leaves room for suffixes within a file system's 255

_MOST_TAGS = 512  # of a wheel; more dots multiply to more tags than any real one has, and cost memory
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


def release_of(project: str, filename: str) -> str | None:
    """The version a wheel or sdist is of, in PEP 440's canonical form; None when it is not of `project`.

    `project` is normalised. None too for what is no valid name of either kind (eggs, installers): what a
    file is cannot be told then, so it could be neither decided nor advised about.
    """
    try:
        name, version = _parsed(filename)
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None
    return str(version) if name == project else None


def _parsed(filename: str) -> tuple[str, Version]:
    if not filename.endswith(".whl"):
        return parse_sdist_filename(filename)
    tags = filename.removesuffix(".whl").split("-")[-3:]
    if math.prod(tag.count(".") + 1 for tag in tags) > _MOST_TAGS:
        raise InvalidWheelFilename("too many tags")
    name, version, _, _ = parse_wheel_filename(filename)
    return name, version


def canonical(version: str) -> str:
    """PEP 440's one spelling of a version; unreadable ones stay as they are."""
    try:
        return str(Version(version))
    except InvalidVersion:
        return version
