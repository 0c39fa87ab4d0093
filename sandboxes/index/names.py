"""Names of projects and files: which are valid, and what they say. Pure."""

import math
import re
from functools import lru_cache

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
# Versions that are their own canonical form, by their look: releases, pre-releases and post-releases.
_NUMBER = r"(?:0|[1-9][0-9]{0,17})"
_PLAIN_VERSION = re.compile(rf"{_NUMBER}(?:\.{_NUMBER})*(?:(?:a|b|rc){_NUMBER})?(?:\.post{_NUMBER})?")
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
    if filename.endswith(".whl"):
        return _wheel_release(project, filename)
    try:
        name, version = parse_sdist_filename(filename)
    except InvalidSdistFilename:
        return None
    return str(version) if name == project else None


def _wheel_release(project: str, filename: str) -> str | None:
    """Wheels of a project differ little but in their versions, so all else of a name is read once."""
    name, _, rest = filename.partition("-")
    version, _, build_and_tags = rest.partition("-")
    if _wheel_project(name, build_and_tags) != project:
        return None
    return _version(version)


@lru_cache(maxsize=1024)
def _wheel_project(name: str, build_and_tags: str) -> str | None:
    """The project of all wheels named so; None when such names are not valid."""
    tags = build_and_tags.removesuffix(".whl").split("-")[-3:]
    if math.prod(tag.count(".") + 1 for tag in tags) > _MOST_TAGS:
        return None
    try:
        return parse_wheel_filename(f"{name}-0-{build_and_tags}")[0]
    except InvalidWheelFilename:
        return None


def _version(text: str) -> str | None:
    """A page has hundreds, nearly all of them written as PEP 440 would; taking these apart costs ten times as much."""
    return text if _PLAIN_VERSION.fullmatch(text) else _version_taken_apart(text)


@lru_cache(maxsize=4096)
def _version_taken_apart(text: str) -> str | None:
    try:
        return str(Version(text))
    except InvalidVersion:
        return None


def canonical(version: str) -> str:
    """PEP 440's one spelling of a version; unreadable ones, and longer ones than any file has, stay as they are."""
    return (len(version) <= _LONGEST and _version(version)) or version
