"""What screening knows of one project's files: its advisories, and verdicts that a person must see to."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from sandboxes.index import budget, weights
from sandboxes.index.book import Edition
from sandboxes.index.database import Database
from sandboxes.index.lru import Lru
from sandboxes.index.policy.facts import Candidate, Ecosystem, Screening
from sandboxes.screening import lookup
from sandboxes.screening.matching import ProjectAdvisories
from sandboxes.screening.standing import Name, Standing

type _Key = tuple[Hashable, Ecosystem, str]


@dataclass(frozen=True, slots=True)
class Knowledge:
    """`key` stands for all of it: equal keys of one project, equal knowledge."""

    key: Hashable = None
    advisories: ProjectAdvisories | None = None
    verdicts: Mapping[str, Standing] | None = None  # by sha256

    @property
    def advised(self) -> bool:
        return self.advisories is not None

    def informed(self, file: Candidate, replaces: str, *, screened: bool) -> Candidate:
        """`replaces`: the version that the file's is to take the place of, "" if none; `screened`: whether policy
        has every file screened first."""
        standing = self.verdicts.get(file.sha256) if self.verdicts else None
        if standing is not None:
            file = replace(file, screening=standing.of(_name(file), screened=screened))
        if self.advisories is None:
            return file
        fixes = self.advisories.fixed_by(file.version, replaces) if replaces else ()
        return replace(file, advisories=self.advisories.of(file.version), fixes=fixes)


class Advisor:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._found: Lru[_Key, tuple[ProjectAdvisories | None]] = Lru(budget.ADVISORIES)

    async def about(self, edition: Edition, ecosystem: Ecosystem, project: str) -> Knowledge:
        key = (edition.advice, ecosystem, project)
        found = self._found.get(key)
        if found is None:
            found = (await self._look_up(ecosystem, project),)
        # Weighed each time: advisories remember what they answered.
        weight = weights.ENTRY + len(project) + (found[0].weight if found[0] else 0)
        self._found.put(key, found, weight)
        return Knowledge((edition.advice, edition.verdicts_key), found[0], edition.verdicts)

    async def screening_of(self, file: Candidate) -> Screening:
        """The newest word on these bytes under this name, where every file is to be screened first."""
        rows = await self._database.rows(lookup.VERDICTS, {"files": [file.sha256]})
        standing = lookup.standings(rows).get(file.sha256)
        return standing.of(_name(file), screened=True) if standing else Screening.UNKNOWN

    async def _look_up(self, ecosystem: Ecosystem, project: str) -> ProjectAdvisories | None:
        values = {"ecosystem": ecosystem.value, "projects": [project]}
        rows = await self._database.rows(lookup.ADVISORIES, values)
        return lookup.known(ecosystem, rows).get(project)


def _name(file: Candidate) -> Name:
    return file.ecosystem.value, file.project, file.filename
