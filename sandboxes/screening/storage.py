"""Writing advisories in bulk: COPY into a table of the session's own, and from there in three statements.

Called within a transaction; the index's policy epoch is raised by the tables' triggers. The
statements that fire those come last, because from then on other writers of policy wait.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psycopg
from django.db import DatabaseError, DataError, connection

from sandboxes.screening import hints
from sandboxes.screening.osv import Record

_INCOMING: Final = """
    CREATE TEMP TABLE screening_incoming ON COMMIT DROP AS
    SELECT id, ecosystem, modified, published, withdrawn_at, malicious, severity, summary, aliases, document,
           source, imported_at
    FROM screening_advisory WITH NO DATA
"""
_COPY: Final = "COPY screening_incoming FROM STDIN"
_FORGET: Final = "DELETE FROM screening_affected WHERE advisory_id = ANY(%s)"
_TAKE: Final = """
    INSERT INTO screening_advisory
        (id, ecosystem, modified, published, withdrawn_at, malicious, severity, summary, aliases, document,
         source, imported_at)
    SELECT * FROM screening_incoming
    ON CONFLICT (id) DO UPDATE SET
        ecosystem = excluded.ecosystem, modified = excluded.modified, published = excluded.published,
        withdrawn_at = excluded.withdrawn_at, malicious = excluded.malicious, severity = excluded.severity,
        summary = excluded.summary, aliases = excluded.aliases, document = excluded.document,
        source = excluded.source, imported_at = excluded.imported_at
"""
_CHANGED: Final = (
    "INSERT INTO screening_change (advisory_id, malicious) SELECT id, malicious FROM screening_incoming"
)
_COPY_AFFECTED: Final = (
    "COPY screening_affected (advisory_id, ecosystem, project, versions, ranges) FROM STDIN"
)
_LOCKED: Final = (
    "SELECT id, modified, withdrawn_at FROM screening_advisory WHERE id = ANY(%s) ORDER BY id FOR UPDATE"
)
_STORED: Final = "SELECT id, modified, withdrawn_at FROM screening_advisory WHERE id = ANY(%s)"

# A record's own doing, though PostgreSQL does not call it an error of data.
_TOO_MUCH: Final = (psycopg.errors.ProgramLimitExceeded, psycopg.errors.StatementTooComplex)


@dataclass(frozen=True, slots=True)
class Written:
    """How many of the records given were what."""

    new: int = 0
    changed: int = 0
    withdrawn: int = 0  # of `changed`: they were in force before
    restored: int = 0  # of `changed`: they had been withdrawn
    unchanged: int = 0  # no newer than what is here
    elsewhere: int = 0  # about nothing that is served here: not kept


type _Stored = dict[str, tuple[datetime, datetime | None]]  # modified, withdrawn_at


def write(given: list[Record], *, source: str, now: datetime) -> Written:
    """Writes what is newer than what is here, and nothing else. No two of `given` have the same id."""
    fresh, unchanged, elsewhere = _sorted_out(given, _stored(_STORED, given))
    if not fresh:
        return Written(unchanged=unchanged, elsewhere=elsewhere)
    before = _stored(_LOCKED, fresh)  # somebody may have written between the two looks
    fresh, more, _ = _sorted_out(fresh, before)
    if fresh:
        _replace(fresh, set(before), source, now)
    flips = [
        (before[record.id][1] is not None, record.withdrawn_at is not None)
        for record in fresh
        if record.id in before
    ]
    return Written(
        new=len(fresh) - len(flips),
        changed=len(flips),
        withdrawn=flips.count((False, True)),
        restored=flips.count((True, False)),
        unchanged=unchanged + more,
        elsewhere=elsewhere,
    )


def is_about_content(error: DatabaseError) -> bool:
    """Whether some record's content is what PostgreSQL refuses, rather than that it cannot write at all."""
    return isinstance(error, DataError) or isinstance(error.__cause__, _TOO_MUCH)


def _stored(statement: str, given: list[Record]) -> _Stored:
    with connection.cursor() as cursor:
        cursor.execute(statement, [[record.id for record in given]])
        return {identity: (modified, withdrawn) for identity, modified, withdrawn in cursor.fetchall()}


def _sorted_out(given: list[Record], before: _Stored) -> tuple[list[Record], int, int]:
    """What is to be written; how many are not newer; how many are not about us, and never were."""
    fresh = []
    unchanged = elsewhere = 0
    for record in given:
        stored = before.get(record.id)
        if stored is not None and record.modified <= stored[0]:
            unchanged += 1
        elif stored is None and not record.affected:
            elsewhere += 1
        else:
            fresh.append(record)
    return fresh, unchanged, elsewhere


def _replace(fresh: list[Record], before: set[str], source: str, now: datetime) -> None:
    with connection.wrap_database_errors, connection.cursor() as cursor:
        cursor.execute(_INCOMING)
        with cursor.copy(_COPY) as copy:
            for record in fresh:
                copy.write_row(_columns(record, source, now))
        replaced = [record.id for record in fresh if record.id in before]
        if replaced:
            cursor.execute(_FORGET, [replaced])
        cursor.execute(_TAKE)
        with cursor.copy(_COPY_AFFECTED) as copy:
            for row in _affected(fresh):
                copy.write_row(row)
        cursor.execute(_CHANGED)
        cursor.execute("DROP TABLE screening_incoming")
    hints.advisories_changed()


def _columns(record: Record, source: str, now: datetime) -> tuple[Any, ...]:
    return (
        record.id,
        str(record.affected[0].ecosystem) if record.affected else "",
        record.modified,
        record.published,
        record.withdrawn_at,
        record.malicious,
        None if record.severity is None else int(record.severity),
        record.summary,
        list(record.aliases),
        record.document,
        source,
        now,
    )


def _affected(fresh: list[Record]) -> list[tuple[Any, ...]]:
    return [
        (record.id, str(each.ecosystem), each.project, list(each.versions), each.ranges_as_json())
        for record in fresh
        for each in record.affected
    ]
