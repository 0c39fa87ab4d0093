"""What is said about a file in one place and otherwise in another, and what is odd about the archive itself.

Catches: a file served under a name that it does not have; wheels whose RECORD or tags do not fit what is in
them, as somebody leaves them who adds a member to a finished archive; archives that installers and scanners
read differently (the zip confusions of 2025 in uv and PyPI's answer to them; tar members that lead
outside); dependency confusion (2021: an inside name, outside, at 99.9.9).
Cost: two small members, and RECORD's hashes over the whole archive.
"""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

from packaging.specifiers import SpecifierSet
from packaging.tags import Tag, parse_tag
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from sandboxes.screening.archives.wheel_record import record_disagreements
from sandboxes.screening.detectors import core_metadata
from sandboxes.screening.findings import Ability, Found, Threat
from sandboxes.screening.package import Facts, Kind, Package

_MOST_TOLD: Final = 20  # of RECORD's disagreements and of oddities: more say nothing more
_LONGEST: Final = 300
# How grave an oddity is, by the words of `archives`; others are of medium threat.
_ODDITIES: Final = (
    (
        re.compile(r"is a (hard )?link to '(?!/)|differ by case only|a backslash|^and \d+ more"),
        Threat.LOW,
    ),
    (
        re.compile(
            r"is a (hard )?link to '/|more than once|two ends|before its bytes|has a NUL|goes up with|"
            r"is absolute|after an empty block|before its start|is encrypted"
        ),
        Threat.HIGH,
    ),
)
_RECORD: Final = (
    (re.compile(r"which is not there|has no hash of|is no RECORD|names .* twice"), Threat.LOW),
    (
        re.compile(r"changed after it was built|(leaves out|says) '.*\.(py|pth|so|pyd)'|files named RECORD"),
        Threat.HIGH,
    ),
)
_HIGH: Final = 90  # a first number of a version that nobody has counted up to
_YEARS: Final = range(1990, 2100)
_FEW_RELEASES: Final = 5
_TAG: Final = 200  # characters
_VALUE: Final = 256  # characters of a version, or of what Pythons it takes: more are none


def look(package: Package, former: Package | None) -> Iterator[Found]:
    for told in list(package.oddities)[:_MOST_TOLD]:
        yield Found("archive.odd", Ability.CONTENT, _by_words(told, _ODDITIES), told[:_LONGEST])
    yield from _high_version(package.facts)
    if package.kind is Kind.NPM:
        yield from _npm(package)
        return
    yield from _file_name(package.facts)
    yield from _own_word(package)
    if package.kind is Kind.WHEEL:
        yield from _tags(package)
        for told in islice(record_disagreements(package), _MOST_TOLD):
            yield Found("metadata.record", Ability.CONTENT, _by_words(told, _RECORD), told[:_LONGEST])


def _by_words(told: str, table: tuple[tuple[re.Pattern[str], Threat], ...]) -> Threat:
    return next((threat for pattern, threat in table if pattern.search(told)), Threat.MEDIUM)


def _high_version(facts: Facts) -> Iterator[Found]:
    """Dependency confusion: whoever has an inside name outside outbids every version that is inside."""
    first = re.match(r"[0-9]{1,9}", facts.version)
    number = int(first[0]) if first else 0
    if number < _HIGH or number in _YEARS or not 1 <= facts.releases <= _FEW_RELEASES:
        return
    yield _odd(
        "metadata.version-high",
        Threat.HIGH,
        f"It is version {facts.version[:100]} of a project that has {facts.releases} releases: a number that "
        "outbids all others, as somebody chooses who has taken the name of an inside project.",
    )


def _file_name(facts: Facts) -> Iterator[Found]:
    named = _named(facts.filename)
    if named is None:
        yield _odd("metadata.file-name", Threat.MEDIUM, "Its file name is not one that the standards allow.")
        return
    project, version, _ = named
    if facts.project and project != canonicalize_name(facts.project):
        yield _odd(
            "metadata.file-name",
            Threat.HIGH,
            f"Its file name says {project}, and its page is that of {facts.project}.",
        )
    if facts.version and _differ(version, facts.version):
        yield _odd(
            "metadata.file-name",
            Threat.MEDIUM,
            f"Its file name says version {version}, and its page {facts.version}.",
        )


def _named(filename: str) -> tuple[str, str, frozenset[Tag]] | None:
    """Project, version and tags by the file's name; None: it is none of an installable file."""
    try:
        if filename.endswith(".whl"):
            name, version, _, tags = parse_wheel_filename(filename)
            return str(name), str(version), tags
        name, version = parse_sdist_filename(filename)
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
        return None
    return str(name), str(version), frozenset()


def _own_word(package: Package) -> Iterator[Found]:
    """METADATA or PKG-INFO against what the index knows."""
    if package.kind is Kind.WHEEL:
        folders = core_metadata.dist_infos(package)
        if len(folders) > 1:
            yield _odd(
                "metadata.two",
                Threat.HIGH,
                f"It has several sets of metadata: {', '.join(folders[:5])}; installers read one.",
            )
    member = core_metadata.metadata_member(package)
    if member is None:
        # Old sdists have none; no installer takes such a wheel.
        threat = Threat.LOW if package.kind is Kind.SDIST else Threat.MEDIUM
        yield _odd("metadata.missing", threat, "It says nothing about itself: its metadata is missing.")
        return
    message = core_metadata.fields(member)
    yield from _against(
        package.facts, member.path, core_metadata.one(message, "Name"), core_metadata.one(message, "Version")
    )
    yield from _python(package.facts, member.path, core_metadata.one(message, "Requires-Python"))


def _against(facts: Facts, path: str, name: str, version: str) -> Iterator[Found]:
    if facts.project and canonicalize_name(name) != canonicalize_name(facts.project):
        yield _odd(
            "metadata.name",
            Threat.HIGH,
            f"It calls itself {name[:100] or 'nothing'}, and is served as {facts.project}.",
            path,
        )
    if facts.version and _differ(version, facts.version):
        yield _odd(
            "metadata.version",
            Threat.HIGH,
            f"It says that it is version {version[:100] or 'none'}, and is served as {facts.version}.",
            path,
        )


def _differ(one: str, other: str) -> bool:
    try:
        return Version(one[:_VALUE]) != Version(other[:_VALUE])
    except ValueError:  # also a number of more digits than Python converts
        return one != other


def _python(facts: Facts, path: str, says: str) -> Iterator[Found]:
    """The page decides what an installer takes; a page that knows nothing disagrees with nothing."""
    if not facts.requires_python or _specifiers(says) == _specifiers(facts.requires_python):
        return
    yield _odd(
        "metadata.requires-python",
        Threat.LOW,
        f"It needs Python {says[:100] or 'of any version'}, and its page says {facts.requires_python[:100]}.",
        path,
    )


def _specifiers(text: str) -> object:
    try:
        return SpecifierSet(text[:_VALUE])
    except ValueError:
        return "".join(text.split())


def _tags(package: Package) -> Iterator[Found]:
    """PEP 427: WHEEL lists the tags of the file name, one by one."""
    named = _named(package.facts.filename)
    folders = core_metadata.dist_infos(package)
    member = package.member(f"{folders[0]}.dist-info/WHEEL") if folders else None
    if named is None or member is None:
        return
    listed = [str(tag).strip() for tag in core_metadata.fields(member).get_all("Tag") or []]
    try:
        # A long one stands for more tags than there is memory.
        tags: frozenset[Tag] = frozenset().union(*(parse_tag(tag) for tag in listed if len(tag) <= _TAG))
    except ValueError:
        tags = frozenset()
    if tags and not tags & named[2]:
        yield _odd(
            "metadata.tags",
            Threat.MEDIUM,
            f"It was built for {', '.join(listed[:5])[:150]}, which its file name does not say.",
            member.path,
        )


def _npm(package: Package) -> Iterator[Found]:
    facts = package.facts
    said = core_metadata.package_json(package)
    if said is None:
        yield _odd("metadata.missing", Threat.MEDIUM, "It has no package.json that can be read.")
        return
    name, version = str(said.get("name", "")), str(said.get("version", "")).strip().removeprefix("v")
    if facts.project and name.lower() != facts.project.lower():
        yield _odd(
            "metadata.name",
            Threat.HIGH,
            f"It calls itself {name[:100] or 'nothing'}, and is served as {facts.project}.",
            "package.json",
        )
    if facts.version and version != facts.version:
        yield _odd(
            "metadata.version",
            Threat.HIGH,
            f"It says that it is version {version[:100] or 'none'}, and is served as {facts.version}.",
            "package.json",
        )


def _odd(rule: str, threat: Threat, why: str, path: str = "") -> Found:
    return Found(rule, Ability.IDENTITY, threat, why, path)
