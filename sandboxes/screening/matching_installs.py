"""Holding advisories against installs, by index alone, however many installs there are.

1. Which versions of the projects in question did anybody receive? The index on installs is walked from
   one version to the next, so a version that a million have costs as much as one that nobody else has.
2. Which of these are affected? Worked out in memory (`matching`), with all that is known of the project.
3. Who received those? One join, into a table of the session's own.
4. That is compared with the exposures that are there: new ones, changed ones, and those that are none any more.

An advisory that was written goes through this twice. First against what **live** sandboxes received: that is what
is urgent, and it costs what these have, not what years of installs hold. Then against what **past** ones did, in
portions of some ten thousand installs, or one advisory if that hits more.

Called within a transaction, by one worker at a time for the live and one for the past. They write about different
sandboxes, but for one that ends meanwhile, or ended before what it had received last was looked at. So whoever looks
at the past takes down first what is there (`_BEFORE`), and takes away only what is as it was then: what the other
wrote meanwhile may be about installs that came after this one had looked for them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import accumulate
from typing import Any, Final

from django.db import connection

from sandboxes.lifecycle.phases import LIVE
from sandboxes.screening import queries
from sandboxes.screening.exposure import Action, Kind, action_of, kind_of
from sandboxes.screening.models import Progress
from sandboxes.screening.words import Ecosystem
from sandboxes.usage.models import Install
from sandboxes.usage.services import final_until

CHANGES: Final = 1000  # advisories of one batch, against live sandboxes
PAST_CHANGES: Final = 200  # against past ones
HITS: Final = 50_000  # installs that more than one of these may hit together
# So many installs are looked at by their releases; above that, those of live sandboxes are fewer.
BY_RELEASE: Final = 10_000
INSTALLS: Final = 20_000  # installs of one batch
# What was given so long after its advisory had come was let through with open eyes. Until then an index
# that had not heard yet may have given it, and an import that takes its time may be the reason.
KNOWN_AFTER: Final = timedelta(minutes=10)
_LAST: Final = 2**63 - 1

_NEXT_LIVE: Final = """
    UPDATE screening_change SET live_done = true
    WHERE id IN (SELECT id FROM screening_change WHERE NOT live_done AND malicious = %s ORDER BY id LIMIT %s)
    RETURNING advisory_id
"""
_NEXT_PAST: Final = """
    SELECT id, advisory_id FROM screening_change WHERE live_done ORDER BY malicious DESC, id LIMIT %s
"""
# By their numbers: what was written about the same advisory meanwhile is still to be looked at.
_DONE: Final = "DELETE FROM screening_change WHERE id = ANY(%s)"
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
# How many installs each of these releases has; nobody counts further than to `most`.
_HOW_MANY: Final = """
    SELECT release.ecosystem, release.project, release.version, counted.number
    FROM unnest(%(ecosystems)s::text[], %(projects)s::text[], %(versions)s::text[])
         AS release(ecosystem, project, version)
    CROSS JOIN LATERAL (
        SELECT count(*) AS number FROM (
            SELECT FROM usage_install install
            WHERE install.ecosystem = release.ecosystem AND install.project = release.project
              AND install.version = release.version
            LIMIT %(most)s
        ) AS few
    ) AS counted
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
        JOIN {installs} install ON install.ecosystem = hit.ecosystem
             AND install.project = hit.project AND install.version = hit.version
        JOIN screening_advisory advisory ON advisory.id = hit.advisory
        WHERE install.id > %(after)s AND install.id <= %(until)s
        GROUP BY hit.advisory, install.sandbox_id
    ) AS found
    JOIN lifecycle_sandbox sandbox ON sandbox.id = found.sandbox
"""
_BY_RELEASE: Final = "usage_install"
# OFFSET 0 has it look from the sandboxes: PostgreSQL cannot know that this release is the one that everybody has.
_BY_SANDBOX: Final = """(
    SELECT received.* FROM (SELECT id FROM lifecycle_sandbox WHERE phase = ANY(%(live)s) OFFSET 0) AS sandbox
    CROSS JOIN LATERAL (SELECT * FROM usage_install WHERE sandbox_id = sandbox.id OFFSET 0) AS received
)"""
# Before anybody looks for installs: all that an exposure names by then is found as well, if it is still affected.
_BEFORE: Final = """
    CREATE TEMP TABLE screening_before ON COMMIT DROP AS
    SELECT id, installs, closed_at IS NULL AS open FROM screening_exposure WHERE advisory_id = ANY(%s)
"""
_BEFORE_BY_ID: Final = "ALTER TABLE screening_before ADD PRIMARY KEY (id)"
_AS_BEFORE: Final = """EXISTS (
    SELECT FROM screening_before before
    WHERE before.id = exposure.id AND before.installs = exposure.installs {further}
)"""
# `again`: it acts once more. Of a batch of installs only the new ones are in the table. The rows are locked before
# they are judged, each worker in the same order: what another one is writing right now is waited for, and counts.
_CHANGED: Final = """
    WITH judged AS (
        SELECT exposure.id, found.*,
               exposure.closed_at IS NOT NULL
               OR array_position(%(worst_first)s, found.kind) < array_position(%(worst_first)s, exposure.kind)
               OR (found.confirmed AND NOT exposure.confirmed) AS again,
               CASE WHEN %(whole)s AND {as_before} THEN found.installs ELSE ARRAY(
                   SELECT DISTINCT unnest(exposure.installs || found.installs) ORDER BY 1
               ) END AS all_installs
        FROM screening_exposure exposure
        JOIN screening_found found ON found.advisory = exposure.advisory_id
             AND found.sandbox = exposure.sandbox_id
        WHERE %(of_live)s::bool IS NULL OR found.live = %(of_live)s
        ORDER BY exposure.id FOR NO KEY UPDATE OF exposure
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
# What lacks something after `_CHANGED` is what the other worker has just found, who may know of fewer installs.
_NEW: Final = """
    INSERT INTO screening_exposure (advisory_id, sandbox_id, live, kind, confirmed, known_then, installs,
                                    action, acted_at, error, closed_why)
    SELECT advisory, sandbox, live, kind, confirmed, known_then, installs, action,
           CASE WHEN NOT live THEN now() END, '', ''
    FROM screening_found WHERE %(of_live)s::bool IS NULL OR live = %(of_live)s
    ON CONFLICT (advisory_id, sandbox_id) DO UPDATE SET installs = ARRAY(
        SELECT DISTINCT unnest(screening_exposure.installs || excluded.installs) ORDER BY 1
    ) WHERE NOT screening_exposure.installs @> excluded.installs
    RETURNING advisory_id, sandbox_id, live, kind
"""
_CLOSED: Final = """
    UPDATE screening_exposure exposure SET closed_at = clock_timestamp(), closed_why =
        CASE WHEN advisory.withdrawn_at IS NOT NULL
             THEN advisory.id || ' was withdrawn on ' ||
                  to_char(advisory.withdrawn_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') || '.'
             ELSE advisory.id || ' was changed and spares what was received.' END
    FROM screening_advisory advisory, lifecycle_sandbox sandbox
    WHERE advisory.id = exposure.advisory_id AND exposure.advisory_id = ANY(%(changed)s)
      AND sandbox.id = exposure.sandbox_id AND (sandbox.phase = ANY(%(live)s)) = %(of_live)s
      AND exposure.closed_at IS NULL AND {as_before} AND NOT EXISTS (
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


def next_live(reactions: Mapping[Kind, Action], *, malicious: bool) -> Outcome | None:
    """Holds the next advisories that were written against what live sandboxes received; None: there are none."""
    changed = {identity for (identity,) in _rows(_NEXT_LIVE, [malicious, CHANGES])}
    if not changed:
        return None
    hits = _hits_of(changed, reactions)
    many = sum(_how_many(hits, at_most=BY_RELEASE + 1).values()) > BY_RELEASE
    return _compared(hits, changed=changed, of_live=True, installs=_BY_SANDBOX if many else _BY_RELEASE)


def next_past(reactions: Mapping[Kind, Action]) -> Outcome | None:
    """Holds the next of these against what past sandboxes received; None: there are none."""
    rows = _rows(_NEXT_PAST, [PAST_CHANGES])
    waiting = list(dict.fromkeys(advisory for _, advisory in rows))
    if not waiting:
        return None
    _execute(_BEFORE, [waiting])
    _execute(_BEFORE_BY_ID, [])
    hits = _hits_of(set(waiting), reactions)
    changed = _as_many_as_fit(waiting, hits)
    outcome = _compared([hit for hit in hits if hit.advisory in changed], changed=changed, of_live=False)
    _execute("DROP TABLE screening_before", [])
    _execute(_DONE, [[number for number, advisory in rows if advisory in changed]])
    return outcome


def _hits_of(changed: set[str], reactions: Mapping[Kind, Action]) -> list[_Hit]:
    """What these advisories affect of all that anybody received."""
    named = _rows(_NAMED, [list(changed)])
    releases = _rows(_VERSIONS, [[row[0] for row in named], [row[1] for row in named]])
    return [hit for hit in _hits(releases, reactions) if hit.advisory in changed]


def _as_many_as_fit(waiting: list[str], hits: list[_Hit]) -> set[str]:
    """From the first on, until they hit more than `HITS` installs together; the first in any case."""
    number = _how_many(hits, at_most=HITS + 1)
    of_each = dict.fromkeys(waiting, 0)
    for hit in hits:
        of_each[hit.advisory] += number[hit.release]
    together = accumulate(of_each[advisory] for advisory in waiting)
    fitting = [advisory for advisory, sum_ in zip(waiting, together, strict=True) if sum_ <= HITS]
    return set(fitting or waiting[:1])


def _how_many(hits: list[_Hit], *, at_most: int) -> dict[_Release, int]:
    releases = list({hit.release for hit in hits})
    found = _rows(_HOW_MANY, _releases(releases) | {"most": at_most}) if releases else []
    return {_Release(*row[:3]): row[3] for row in found}


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
    hits: list[_Hit],
    *,
    changed: Iterable[str] = (),
    of_live: bool | None = None,
    installs: str = _BY_RELEASE,
    after: int = 0,
    until: int = _LAST,
) -> Outcome:
    """With `changed`, `hits` are all there is to say of these advisories: what else is there is closed.

    `of_live`: only live sandboxes, only past ones (for which `_BEFORE` was taken down), or all. What ended meanwhile
    is among `hits` all the same, so that nobody closes it.
    """
    values = _columns(hits) | {
        "after": after,
        "until": until,
        "changed": list(changed),
        "of_live": of_live,
        "whole": bool(changed),
    }
    _execute(_FOUND.format(installs=installs), values)
    as_before = _AS_BEFORE if of_live is False else "true"
    changes = _CHANGED.format(as_before=as_before.format(further=""))
    found = [Pair(*row) for row in [*_rows(changes, values), *_rows(_NEW, values)]]
    closing = _CLOSED.format(as_before=as_before.format(further="AND before.open"))
    closed = [Pair(*row) for row in _rows(closing, values)] if changed else []
    _execute("DROP TABLE screening_found", [])
    return Outcome(found, closed)


def _columns(hits: list[_Hit]) -> dict[str, Any]:
    return _releases([hit.release for hit in hits]) | {
        "advisories": [hit.advisory for hit in hits],
        "kinds": [hit.kind.value for hit in hits],
        "confirmed": [hit.confirmed for hit in hits],
        "actions": [hit.action.value for hit in hits],
        "live": [phase.value for phase in LIVE],
        "notify": Action.NOTIFY.value,
        "known_after": KNOWN_AFTER,
        "worst_first": [kind.value for kind in Kind],
    }


def _releases(releases: list[_Release]) -> dict[str, Any]:
    return {
        "ecosystems": [release.ecosystem for release in releases],
        "projects": [release.project for release in releases],
        "versions": [release.version for release in releases],
    }


def _execute(statement: str, values: list[Any] | dict[str, Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def _rows(statement: str, values: list[Any] | dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())
