"""What a scan compares a file with, out of the storage: an earlier release of it, and what a wheel was built from.

The release before it, or if that is not here the newest one before that is: who publishes twice, or is fetched
before anybody fetched its predecessor, is compared all the same. A release that is held, or that a person said no to,
shows nobody what is usual. What came after the release before it, or is not on the page any more, is none of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from packaging.version import InvalidVersion, Version

from sandboxes.index.database import Database
from sandboxes.index.npm import names as npm
from sandboxes.screening.package import Facts
from sandboxes.screening.words import Ecosystem

_MOST: Final = 20  # files that are looked for in the storage; releases for many platforms have more
_SUSPECT: Final = "SELECT FROM screening_verdict verdict WHERE verdict.state IN ('held', 'blocked')"
_FILES: Final = f"""
SELECT filename, sha256, sha256 AS name, version FROM index_file file
WHERE project = %(project)s AND NOT EXISTS ({_SUSPECT} AND verdict.sha256 = file.sha256)"""  # noqa: S608
_TARBALLS: Final = f"""
SELECT '' AS filename, sha256, integrity AS name, version FROM index_tarball file
WHERE package = %(project)s AND NOT EXISTS ({_SUSPECT} AND verdict.sha256 = file.sha256)"""  # noqa: S608
_SOURCES: Final = """
SELECT filename, sha256, sha256 AS name, version FROM index_file
WHERE project = %(project)s AND version = %(version)s AND filename NOT LIKE '%%.whl'"""


@dataclass(frozen=True, slots=True)
class Former:
    """`name`: of its bytes in the storage."""

    filename: str
    sha256: str
    name: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class Compared:
    """With what a scan compared: an earlier release ("": none), and the sources of the same one."""

    former_sha256: str = ""
    sources: bool = False


NOTHING: Final = Compared()


class Has(Protocol):
    """The storage."""

    async def has(self, name: str, /) -> bool:
        """Raises `UnavailableError`."""


class Formers:
    def __init__(self, database: Database, storage: Has) -> None:
        self._database = database
        self._storage = storage

    async def of(self, facts: Facts) -> Former | None:
        """The newest earlier release's file that is most like this one; None: none is stored.

        Raises `UnavailableError`.
        """
        if not facts.former_version:
            return None
        statement = _TARBALLS if facts.ecosystem == Ecosystem.NPM else _FILES
        return await self._stored(
            [
                former
                for release in earlier(facts, await self._rows(statement, facts))
                for former in by_likeness(facts.filename, release)[:_MOST]
            ]
        )

    async def sources(self, facts: Facts) -> Former | None:
        """The source distribution of a wheel's own release, if it is stored. Raises `UnavailableError`."""
        if not facts.filename.endswith(".whl") or not facts.version:
            return None
        return await self._stored(sorted(await self._rows(_SOURCES, facts), key=lambda each: each.filename))

    async def _rows(self, statement: str, facts: Facts) -> list[Former]:
        values = {"project": facts.project, "version": facts.version}
        return [Former(**row) for row in await self._database.rows(statement, values)]

    async def _stored(self, found: Sequence[Former]) -> Former | None:
        for former in found[: 2 * _MOST]:
            if await self._storage.has(former.name):
                return former
        return None


def earlier(facts: Facts, found: Sequence[Former]) -> Iterator[list[Former]]:
    """The release before it and those before that, newest first, each with its files.

    As `candidates.replacements` has it: only a pre-release follows one.
    """
    by_version: dict[str, list[Former]] = {}
    for each in found:
        by_version.setdefault(each.version, []).append(each)
    if direct := by_version.pop(facts.former_version, None):
        yield direct
    own, last = _place(facts, facts.version), _place(facts, facts.former_version)
    if own is None or last is None:
        return
    places = {version: _place(facts, version) for version in by_version}
    usable = [
        (place.order, version)
        for version, place in places.items()
        if place is not None and place.order < last.order and (place.final or not own.final)
    ]
    for _, version in sorted(usable, reverse=True):
        yield by_version[version]


@dataclass(frozen=True, slots=True)
class _Place:
    order: Any
    final: bool


def _place(facts: Facts, version: str) -> _Place | None:
    """None for what is no version there."""
    if facts.ecosystem == Ecosystem.NPM:
        order = npm.order(version) if npm.read(version) else None
        return order and _Place(order, order.stable)
    try:
        read = Version(version)
    except InvalidVersion:
        return None
    return _Place(read, not read.is_prerelease)


def by_likeness(filename: str, found: Sequence[Former]) -> list[Former]:
    """For the same Python and platform first, then any wheel."""
    ending = _ending(filename)
    return sorted(
        found,
        key=lambda each: (
            _ending(each.filename) != ending,
            not each.filename.endswith(".whl"),
            each.filename,
        ),
    )


def _ending(filename: str) -> str:
    """All of a name that says what it runs on: a wheel's tags, a source distribution's suffix."""
    if filename.endswith(".whl"):
        return "-".join(filename.split("-")[-3:])
    return filename[-4:]
