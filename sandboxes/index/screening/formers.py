"""The release before a file's own, in the storage, for the scan to compare with. Nothing is downloaded for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sandboxes.index.database import Database
from sandboxes.index.screening.material import Material
from sandboxes.screening.package import Facts
from sandboxes.screening.words import Ecosystem

_MOST: Final = 20  # files that are looked for; releases for many platforms have more
_FILES: Final = """
SELECT filename, sha256, sha256 AS name FROM index_file
WHERE project = %(project)s AND version = %(version)s"""
_TARBALLS: Final = """
SELECT '' AS filename, sha256, integrity AS name FROM index_tarball
WHERE package = %(project)s AND version = %(version)s"""


@dataclass(frozen=True, slots=True)
class Former:
    """`name`: of its bytes in the storage."""

    filename: str
    sha256: str
    name: str


class Formers:
    def __init__(self, database: Database, material: Material) -> None:
        self._database = database
        self._material = material

    async def of(self, facts: Facts) -> Former | None:
        """The file that is most like this one; None: none is stored. Raises `UnavailableError`."""
        if not facts.former_version:
            return None
        statement = _TARBALLS if facts.ecosystem == Ecosystem.NPM else _FILES
        values = {"project": facts.project, "version": facts.former_version}
        found = [Former(**row) for row in await self._database.rows(statement, values)]
        for former in by_likeness(facts.filename, found)[:_MOST]:
            if await self._material.has(former.name):
                return former
        return None


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
