"""What the index process asks the database about advisories and verdicts: plain SQL, no Django.

    rows = await database.rows(lookup.ADVISORIES, {"ecosystem": "pypi", "projects": ["django"]})
    against = lookup.known(Ecosystem.PYPI, rows)

Both statements are answered by one index, however much is known about other projects.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from sandboxes.screening.matching import ProjectAdvisories, Statement
from sandboxes.screening.words import Ecosystem, Screening, Severity

# A withdrawn advisory says nothing, whatever its date.
ADVISORIES: Final = """
    SELECT affected.project, affected.versions, affected.ranges,
           advisory.id, advisory.malicious, advisory.severity, advisory.aliases
    FROM screening_affected affected JOIN screening_advisory advisory ON advisory.id = affected.advisory_id
    WHERE affected.ecosystem = %(ecosystem)s AND affected.project = ANY(%(projects)s)
      AND advisory.withdrawn_at IS NULL
"""

VERDICTS: Final = "SELECT sha256, state FROM screening_verdict WHERE sha256 = ANY(%(files)s)"


def known(ecosystem: Ecosystem, rows: Iterable[Mapping[str, Any]]) -> dict[str, ProjectAdvisories]:
    """By project, from rows of `ADVISORIES`; a project that nothing is known against is not in it."""
    found: dict[str, list[Statement]] = {}
    for row in rows:
        found.setdefault(row["project"], []).append(_statement(row))
    return {project: ProjectAdvisories(ecosystem, statements) for project, statements in found.items()}


def states(rows: Iterable[Mapping[str, Any]]) -> dict[str, Screening]:
    """By sha256, from rows of `VERDICTS`; bytes that were never looked at are not in it."""
    return {row["sha256"]: Screening(row["state"]) for row in rows}


def _statement(row: Mapping[str, Any]) -> Statement:
    return Statement(
        id=row["id"],
        malicious=row["malicious"],
        severity=None if row["severity"] is None else Severity(row["severity"]),
        aliases=tuple(row["aliases"]),
        versions=row["versions"],
        ranges=row["ranges"],
    )
