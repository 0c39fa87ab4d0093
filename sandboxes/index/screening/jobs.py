"""Jobs: what is to be screened, as rows. Whoever asks, takes, finishes or gives one up does it here.

A job is bytes (a sha256) under a name. Whoever has those bytes can do it. It is leased for `LEASE` seconds at a time,
and `attempts` counts how often it was begun: one whose scanner dies three times is held, and never lost. What
nobody has the bytes of any more is dropped after a while; who wants the file has it fetched, and a job made, again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from sandboxes.index.database import Database
from sandboxes.screening.package import Facts

CHANNEL: Final = (
    "screening_job"  # each notification is the sha256 of a job that was asked for, or is free again
)
LEASE: Final = 30.0  # seconds; whoever works on it takes it anew in time
ATTEMPTS: Final = 3
_NEXT: Final = 20  # jobs that are looked at together
_ORPHANED: Final = "15 minutes"

# Whoever comes second finds the job there. Verdicts are asked in the same statement: one may just have
# come. It counts for its own name alone (`screening.standing`), but for a person's
# "no".
_WANT: Final = """
WITH made AS (
    INSERT INTO screening_job (sha256, ecosystem, project, version, filename, facts, urgent, weight, attempts)
    SELECT %(sha256)s::text, %(ecosystem)s, %(project)s, %(version)s, %(filename)s, %(facts)s::jsonb, true, 0, 0
    WHERE NOT EXISTS (
        SELECT FROM screening_verdict WHERE sha256 = %(sha256)s::text AND (state = 'blocked' OR
            state IN ('passed', 'held') AND
            (filename = '' OR (ecosystem, project, filename) = (%(ecosystem)s, %(project)s, %(filename)s))))
    ON CONFLICT (sha256, ecosystem, project, filename)
        DO UPDATE SET urgent = true, wanted_at = now() WHERE NOT screening_job.urgent)
SELECT pg_notify('screening_job', %(sha256)s::text)"""
_AGAIN: Final = """
INSERT INTO screening_job (sha256, ecosystem, project, version, filename, facts, urgent, weight, attempts)
VALUES (%(sha256)s::text, %(ecosystem)s, %(project)s, %(version)s, %(filename)s, %(facts)s::jsonb, false, %(weight)s, 0)
ON CONFLICT (sha256, ecosystem, project, filename) DO NOTHING RETURNING id"""

_FREE: Final = "(leased_until IS NULL OR leased_until < now())"
_ORDER: Final = "ORDER BY urgent DESC, weight DESC, wanted_at"
_WAITING: Final = f"""
SELECT job.sha256, job.attempts, tarball.integrity
FROM (SELECT sha256, ecosystem, urgent, weight, wanted_at, attempts FROM screening_job
      WHERE {_FREE} AND (urgent OR NOT %(urgent)s::boolean) AND NOT sha256 = ANY(%(passed_over)s::text[])
      {_ORDER} LIMIT {_NEXT}) job
LEFT JOIN LATERAL (
    SELECT integrity FROM index_tarball WHERE sha256 = job.sha256 ORDER BY id LIMIT 1) tarball
    ON job.ecosystem = 'npm'
{_ORDER}"""  # noqa: S608 -- of our own words
_TAKE: Final = f"""
UPDATE screening_job SET leased_until = now() + make_interval(secs => {LEASE}), attempts = attempts + 1
WHERE id = (
    SELECT id FROM screening_job WHERE {_FREE} AND sha256 = ANY(%(stored)s::text[])
    {_ORDER} LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, sha256, ecosystem, project, version, filename, facts, urgent, attempts"""  # noqa: S608
_HOLD_ON: Final = f"""
UPDATE screening_job SET leased_until = now() + make_interval(secs => {LEASE})
WHERE id = %(id)s AND attempts = %(attempts)s"""  # noqa: S608
# Only by who has it: `attempts` tells whether another took it since.
_GIVE_BACK: Final = """
WITH back AS (
    UPDATE screening_job SET leased_until = NULL, attempts = attempts - 1
    WHERE id = %(id)s AND attempts = %(attempts)s RETURNING sha256)
SELECT pg_notify('screening_job', sha256) FROM back"""
_DROP_ORPHANS: Final = f"""
DELETE FROM screening_job
WHERE wanted_at < now() - interval '{_ORPHANED}' AND {_FREE} AND attempts < {ATTEMPTS}"""  # noqa: S608
_ANY: Final = "SELECT EXISTS (SELECT FROM screening_job) AS any"


@dataclass(frozen=True, slots=True)
class Waiting:
    """`name`: of its bytes in the storage; `given_up`: nobody is to try again, so they are not needed."""

    sha256: str
    name: str
    given_up: bool


@dataclass(frozen=True, slots=True)
class Job:
    """One that is leased to us. `attempts`: with this one; more than `ATTEMPTS`: it is not to be tried any more."""

    id: int
    sha256: str
    name: str
    facts: Facts
    urgent: bool
    attempts: int

    @property
    def key(self) -> dict[str, Any]:
        return {"id": self.id, "attempts": self.attempts}


class Jobs:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def want(self, sha256: str, facts: Facts) -> None:
        """For somebody who waits; the bytes are stored. Raises `UnavailableError`."""
        await self._database.rows(_WANT, _values(sha256, facts))

    async def again(self, sha256: str, facts: Facts, weight: int) -> bool:
        """When there is time. False: there is such a job, which may have begun."""
        return bool(await self._database.rows(_AGAIN, _values(sha256, facts) | {"weight": weight}))

    async def waiting(self, *, urgent: bool, passed_over: Iterable[str]) -> list[Waiting]:
        """Those that come next, the most urgent first. `urgent`: only those that somebody waits for."""
        values = {"urgent": urgent, "passed_over": list(passed_over)}
        rows = await self._database.rows(_WAITING, values)
        return [
            Waiting(row["sha256"], row["integrity"] or row["sha256"], row["attempts"] >= ATTEMPTS)
            for row in rows
        ]

    async def take(self, stored: Mapping[str, str]) -> Job | None:
        """The first of these (sha256 → name in the storage) that is free still."""
        row = await self._database.row(_TAKE, {"stored": list(stored)})
        if row is None:
            return None
        name = stored[row["sha256"]]
        return Job(row["id"], row["sha256"], name, _facts(row), row["urgent"], row["attempts"])

    async def hold_on(self, job: Job) -> None:
        await self._database.rows(_HOLD_ON, job.key)

    async def give_back(self, job: Job) -> None:
        """Not done, through no fault of the file's."""
        await self._database.rows(_GIVE_BACK, job.key)

    async def drop_orphans(self) -> None:
        await self._database.rows(_DROP_ORPHANS, {})

    async def any(self) -> bool:
        row = await self._database.row(_ANY, {})
        return row is not None and bool(row["any"])


def _values(sha256: str, facts: Facts) -> dict[str, Any]:
    return {
        "sha256": sha256,
        "ecosystem": facts.ecosystem,
        "project": facts.project,
        "version": facts.version,
        "filename": facts.filename,
        "facts": msgspec.json.encode(facts).decode(),
    }


def _facts(row: Mapping[str, Any]) -> Facts:
    """As they were written; what cannot be read of them is not known, and the scan goes on without it."""
    try:
        return msgspec.convert(row["facts"], Facts)
    except msgspec.ValidationError:
        return Facts(
            filename=row["filename"],
            ecosystem=row["ecosystem"],
            project=row["project"],
            version=row["version"],
        )
