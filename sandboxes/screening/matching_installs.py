"""Holding advisories against installs, by index alone, however many installs there are.

1. Which versions of the projects in question did anybody receive? The index on installs is walked from
   one version to the next, so a version that a million have costs as much as one that nobody else has.
2. Which of these are affected? Worked out in memory (`matching`), with all that is known of the project.
3. Who received those? One join, into a table of the session's own.
4. That is compared with the exposures that are there: new ones, changed ones, and those that are none any more.

Called within a transaction, by one worker at a time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.db import connection

from sandboxes.lifecycle.phases import LIVE
from sandboxes.screening import queries
from sandboxes.screening.exposure import Action, Kind, action_of, kind_of
from sandboxes.screening.models import Progress
from sandboxes.screening.words import Ecosystem
from sandboxes.usage.models import Install
from sandboxes.usage.services import final_until

CHANGES: Final = 1000  # advisories of one batch
INSTALLS: Final = 20_000  # installs of one batch
# What was given so long after its advisory had come was let through with open eyes. Until then an index
# that had not heard yet may have given it, and an import that takes its time may be the reason.
KNOWN_AFTER: Final = timedelta(minutes=10)
_LAST: Final = 2**63 - 1

_NEXT_CHANGES: Final = """
    DELETE FROM screening_change
    WHERE id IN (SELECT id FROM screening_change ORDER BY malicious DESC, id LIMIT %s)
    RETURNING advisory_id
"""
_NAMED: Final = """
    SELECT DISTINCT ecosystem, project FROM screening_affected WHERE advisory_id = ANY(%s)
"""
_VERSIONS: Final = """
    SELECT named.ecosystem, named.project, received.version
    FROM unnest(%s::text[], %s::text[]) AS named(ecosystem, project)
    CROSS JOIN LATERAL (
        WITH RECURSIVE walked AS (
            (SELECT version FROM usage_install install
             WHERE install.ecosystem = named.ecosystem AND install.project = named.project
             ORDER BY version LIMIT 1)
            UNION ALL
            SELECT (SELECT install.version FROM usage_install install
                    WHERE install.ecosystem = named.ecosystem AND install.project = named.project
                      AND install.version > walked.version
                    ORDER BY install.version LIMIT 1)
            FROM walked WHERE walked.version IS NOT NULL
        )
        SELECT version FROM walked WHERE version IS NOT NULL
    ) AS received
"""
_NEW_VERSIONS: Final = """
    SELECT DISTINCT install.ecosystem, install.project, install.version FROM usage_install install
    WHERE install.id > %s AND install.id <= %s AND EXISTS (
        SELECT FROM screening_affected affected
        WHERE affected.ecosystem = install.ecosystem AND affected.project = install.project
    )
"""
# An advisory says the same of all its releases, but for whether it is sure: then that counts.
_FOUND: Final = """
    CREATE TEMP TABLE screening_found ON COMMIT DROP AS
    SELECT found.*, sandbox.phase = ANY(%(live)s) AS live,
           CASE WHEN known_then THEN %(notify)s ELSE reaction END AS action
    FROM (
        SELECT hit.advisory, install.sandbox_id AS sandbox, min(hit.kind) AS kind,
               bool_or(hit.confirmed) AS confirmed,
               (array_agg(hit.action ORDER BY hit.confirmed DESC))[1] AS reaction,
               bool_and(install.at > advisory.imported_at + %(known_after)s) AS known_then,
               array_agg(install.id ORDER BY install.id) AS installs
        FROM unnest(%(advisories)s::text[], %(ecosystems)s::text[], %(projects)s::text[],
                    %(versions)s::text[], %(kinds)s::text[], %(confirmed)s::bool[], %(actions)s::text[])
             AS hit(advisory, ecosystem, project, version, kind, confirmed, action)
        JOIN usage_install install ON install.ecosystem = hit.ecosystem
             AND install.project = hit.project AND install.version = hit.version
        JOIN screening_advisory advisory ON advisory.id = hit.advisory
        WHERE install.id > %(after)s AND install.id <= %(until)s
        GROUP BY hit.advisory, install.sandbox_id
    ) AS found
    JOIN lifecycle_sandbox sandbox ON sandbox.id = found.sandbox
"""
# `again`: it acts once more. Of a batch of installs only the new ones are in the table.
_CHANGED: Final = """
    WITH judged AS (
        SELECT exposure.id, found.*,
               exposure.closed_at IS NOT NULL
               OR array_position(%(worst_first)s, found.kind) < array_position(%(worst_first)s, exposure.kind)
               OR (found.confirmed AND NOT exposure.confirmed) AS again,
               CASE WHEN %(whole)s THEN found.installs ELSE ARRAY(
                   SELECT DISTINCT unnest(exposure.installs || found.installs) ORDER BY 1
               ) END AS all_installs
        FROM screening_exposure exposure
        JOIN screening_found found ON found.advisory = exposure.advisory_id
             AND found.sandbox = exposure.sandbox_id
    ), changed AS (
        UPDATE screening_exposure exposure SET
            installs = judged.all_installs, kind = judged.kind, confirmed = judged.confirmed,
            closed_at = NULL, closed_why = '',
            known_then = CASE WHEN again THEN judged.known_then ELSE exposure.known_then END,
            live = CASE WHEN again THEN judged.live ELSE exposure.live END,
            action = CASE WHEN again THEN judged.action ELSE exposure.action END,
            acted_at = CASE WHEN NOT again THEN exposure.acted_at WHEN judged.live THEN NULL ELSE now() END
        FROM judged
        WHERE exposure.id = judged.id AND (again OR exposure.installs <> judged.all_installs
              OR exposure.kind <> judged.kind OR exposure.confirmed <> judged.confirmed)
        RETURNING exposure.advisory_id, exposure.sandbox_id, judged.live, judged.kind, again
    )
    SELECT advisory_id, sandbox_id, live, kind FROM changed WHERE again
"""
_NEW: Final = """
    INSERT INTO screening_exposure (advisory_id, sandbox_id, live, kind, confirmed, known_then, installs,
                                    action, acted_at, error, closed_why)
    SELECT advisory, sandbox, live, kind, confirmed, known_then, installs, action,
           CASE WHEN NOT live THEN now() END, '', ''
    FROM screening_found
    ON CONFLICT (advisory_id, sandbox_id) DO NOTHING
    RETURNING advisory_id, sandbox_id, live, kind
"""
_CLOSED: Final = """
    UPDATE screening_exposure exposure SET closed_at = clock_timestamp(), closed_why =
        CASE WHEN advisory.withdrawn_at IS NOT NULL
             THEN advisory.id || ' was withdrawn on ' ||
                  to_char(advisory.withdrawn_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') || '.'
             ELSE advisory.id || ' was changed and spares what was received.' END
    FROM screening_advisory advisory
    WHERE advisory.id = exposure.advisory_id AND exposure.advisory_id = ANY(%s)
      AND exposure.closed_at IS NULL AND NOT EXISTS (
          SELECT FROM screening_found found
          WHERE found.advisory = exposure.advisory_id AND found.sandbox = exposure.sandbox_id
      )
    RETURNING exposure.advisory_id, exposure.sandbox_id, exposure.live, exposure.kind, exposure.closed_why
"""


@dataclass(frozen=True, slots=True)
class Pair:
    """An exposure that is new, worse than before, or closed; then with the reason."""

    advisory: str
    sandbox: int
    live: bool
    kind: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    found: list[Pair]
    closed: list[Pair]


@dataclass(frozen=True, slots=True)
class _Release:
    ecosystem: str
    project: str
    version: str


@dataclass(frozen=True, slots=True)
class _Hit:
    """An advisory that affects a release, and what is done with who has it."""

    advisory: str
    release: _Release
    kind: Kind
    confirmed: bool
    action: Action


def next_changes(reactions: Mapping[Kind, Action]) -> Outcome | None:
    """Holds the next advisories that were written against all installs; None: there are none."""
    changed = {identity for (identity,) in _rows(_NEXT_CHANGES, [CHANGES])}
    if not changed:
        return None
    named = _rows(_NAMED, [list(changed)])
    releases = _rows(_VERSIONS, [[row[0] for row in named], [row[1] for row in named]])
    hits = [hit for hit in _hits(releases, reactions) if hit.advisory in changed]
    return _compared(hits, changed=changed)


def next_installs(reactions: Mapping[Kind, Action]) -> Outcome | None:
    """Holds the next installs that came against all advisories; None: there are none."""
    progress, _ = Progress.objects.get_or_create(pk=1)
    newer = Install.objects.filter(pk__gt=progress.install)
    if not newer.exists():
        return None
    horizon = final_until(Install)
    batch = list(newer.filter(pk__lte=horizon).order_by("pk").values_list("pk", flat=True)[:INSTALLS])
    if not batch:
        return None
    hits = _hits(_rows(_NEW_VERSIONS, [progress.install, batch[-1]]), reactions)
    outcome = _compared(hits, after=progress.install, until=batch[-1])
    Progress.objects.filter(pk=1).update(install=batch[-1])
    return outcome


def _hits(releases: Iterable[tuple[Any, ...]], reactions: Mapping[Kind, Action]) -> list[_Hit]:
    by_ecosystem: dict[str, list[_Release]] = {}
    for row in releases:
        by_ecosystem.setdefault(row[0], []).append(_Release(*row))
    found = []
    for ecosystem, received in by_ecosystem.items():
        against = queries.against(Ecosystem(ecosystem), {release.project for release in received})
        for release in received:
            known = against[release.project].of(release.version) if release.project in against else ()
            found += [
                _Hit(one.id, release, kind_of(one), one.confirmed, action_of(one, reactions)) for one in known
            ]
    return found


def _compared(
    hits: list[_Hit], *, changed: set[str] | None = None, after: int = 0, until: int = _LAST
) -> Outcome:
    """With `changed`, `hits` are all there is to say of these advisories: what else is there is closed."""
    with connection.cursor() as cursor:
        cursor.execute(_FOUND, {**_columns(hits), "after": after, "until": until})
    worst_first = {"worst_first": [kind.value for kind in Kind], "whole": changed is not None}
    found = [Pair(*row) for row in [*_rows(_CHANGED, worst_first), *_rows(_NEW, [])]]
    closed = [Pair(*row) for row in _rows(_CLOSED, [list(changed)])] if changed else []
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE screening_found")
    return Outcome(found, closed)


def _columns(hits: list[_Hit]) -> dict[str, Any]:
    return {
        "advisories": [hit.advisory for hit in hits],
        "ecosystems": [hit.release.ecosystem for hit in hits],
        "projects": [hit.release.project for hit in hits],
        "versions": [hit.release.version for hit in hits],
        "kinds": [hit.kind.value for hit in hits],
        "confirmed": [hit.confirmed for hit in hits],
        "actions": [hit.action.value for hit in hits],
        "live": [phase.value for phase in LIVE],
        "notify": Action.NOTIFY.value,
        "known_after": KNOWN_AFTER,
    }


def _rows(statement: str, values: list[Any] | dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())
