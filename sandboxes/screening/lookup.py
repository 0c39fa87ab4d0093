"""What the index process asks the database about advisories and verdicts: plain SQL, no Django.

    rows = await database.rows(lookup.ADVISORIES, {"ecosystem": "pypi", "projects": ["django"]})
    against = lookup.known(Ecosystem.PYPI, rows)

Each statement is answered by indexes, however much is known about other projects or passed.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from sandboxes.screening.matching import ProjectAdvisories, Statement
from sandboxes.screening.standing import Name, Standing
from sandboxes.screening.words import Ecosystem, Screening, Severity

# A withdrawn advisory says nothing, whatever its date.
ADVISORIES: Final = """
    SELECT affected.project, affected.versions, affected.ranges,
           advisory.id, advisory.malicious, advisory.severity, advisory.aliases
    FROM screening_affected affected JOIN screening_advisory advisory ON advisory.id = affected.advisory_id
    WHERE affected.ecosystem = %(ecosystem)s AND affected.project = ANY(%(projects)s)
      AND advisory.withdrawn_at IS NULL
"""

# Of each name under which the bytes were asked for.
VERDICTS: Final = """
    SELECT sha256, ecosystem, project, filename, state FROM screening_verdict WHERE sha256 = ANY(%(files)s)
"""
# What a person has to look at, or said no to, with what passed of the same bytes under other names.
AGAINST: Final = """
    SELECT sha256, ecosystem, project, filename, state FROM screening_verdict
    WHERE sha256 IN (SELECT sha256 FROM screening_verdict WHERE state IN ('held', 'blocked'))
"""


def known(ecosystem: Ecosystem, rows: Iterable[Mapping[str, Any]]) -> dict[str, ProjectAdvisories]:
    """By project, from rows of `ADVISORIES`; a project that nothing is known against is not in it."""
    found: dict[str, list[Statement]] = {}
    for row in rows:
        found.setdefault(row["project"], []).append(_statement(row))
    return {project: ProjectAdvisories(ecosystem, statements) for project, statements in found.items()}


def standings(rows: Iterable[Mapping[str, Any]]) -> dict[str, Standing]:
    """By sha256, from rows of `VERDICTS` or `AGAINST`; bytes that were never looked at are not in it."""
    found: dict[str, dict[Name, Screening]] = {}
    for row in rows:
        name = (row["ecosystem"], row["project"], row["filename"])
        found.setdefault(row["sha256"], {})[name] = Screening(row["state"])
    return {sha256: Standing(states) for sha256, states in found.items()}


def _statement(row: Mapping[str, Any]) -> Statement:
    return Statement(
        id=row["id"],
        malicious=row["malicious"],
        severity=None if row["severity"] is None else Severity(row["severity"]),
        aliases=tuple(row["aliases"]),
        versions=row["versions"],
        ranges=row["ranges"],
    )
