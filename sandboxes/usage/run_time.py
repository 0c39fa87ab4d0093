"""What scanning misses: downloads while something runs, and attempts to get out after something was installed.

A download is *late* when no installer asked for it, or when an installer did after the workspace's own
install steps. The owner's own `pip install` looks like the latter, so each says which of the two it is: the
first is rare, the second is to be read with the person who sat there in mind.

A workspace's own step says that it is one: pip repeats what `PIP_USER_AGENT_USER_DATA` holds in each request, and
`OWN` there marks it. The standard workspace does so, and any other may. The steps end with the last request so
marked in the `LONGEST_SETUP` after the first: a program that marks its own gains no more than that. Where nothing
is marked and the profile brings packages (an older workspace, another installer), the end is taken to be the
first pause of `PAUSE` among the files that were asked for since the sandbox opened, or `LONGEST_SETUP`. Where
there is neither, nobody but the owner installs anything, and only the first kind is told: a `pip install` that
somebody typed a day later tells nothing.

What was received before, and is fetched again as after waking up, is not late.

Everything is read newest first by an index that holds hardly more than what is looked for; what is joined to a
row is of the minutes before it. So nothing here costs more as history grows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from django.db import connection
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Sum

from sandboxes.lifecycle import clock
from sandboxes.lifecycle.models import Sandbox
from sandboxes.usage.installers import PATTERN, is_installer, named_project
from sandboxes.usage.models import Connection, Fetch, Install

WINDOW: Final = timedelta(minutes=10)  # that a download or an attempt is looked back from
PAUSE: Final = timedelta(minutes=2)
LONGEST_SETUP: Final = timedelta(minutes=30)
OWN: Final = "petridish-setup"  # as in `k8s-templates/sandbox/40-workspace.yaml`
RECENT: Final = timedelta(days=1)  # that the list of sandboxes counts
MOST_COUNTED: Final = 1000  # a sandbox: beyond it, more makes no difference
MOST_BEFORE: Final = 5  # packages named before one attempt
_SETUP_FILES: Final = 2000
_NOT_BY_INSTALLER: Final = Q(kind="file") & ~Q(client__regex=PATTERN)


class Why(StrEnum):
    """Why a download counts as one at run time."""

    NO_INSTALLER = "no_installer"
    AFTER_SETUP = "after_setup"  # by an installer, once the workspace's own packages were there


class How(StrEnum):
    """How it is known which package was being used."""

    NAMED = "named"  # by the client itself
    BEFORE = "before"  # the one installed last before it


@dataclass(frozen=True, slots=True)
class Used:
    """A package of the sandbox, as it was received."""

    project: str
    version: str
    at: datetime
    how: How


@dataclass(frozen=True, slots=True)
class Late:
    """A download at run time, and the package that was being used, when that is known."""

    fetch: Fetch
    why: Why
    used: Used | None


@dataclass(frozen=True, slots=True)
class Before:
    """A package that was downloaded before an attempt; `version` is "" for a file that never came."""

    project: str
    version: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """A refused connection, and what was downloaded in the minutes before it: the last first."""

    connection: Connection
    before: tuple[Before, ...]


def late(*, client: str, at: datetime, settled_at: datetime | None, again: bool) -> Why | None:
    """Why a file that was asked for counts as one at run time; None if it does not.

    `settled_at`: when the workspace's own installing ended; None if it has none, or has not ended.
    `again`: the sandbox had received the file before.
    """
    if not is_installer(client):
        return Why.NO_INSTALLER
    if settled_at is not None and at > settled_at and not again:
        return Why.AFTER_SETUP
    return None


def downloads(
    sandbox: Sandbox, packages: Sequence[str], *, before: int | None = None, limit: int = 50
) -> list[Late]:
    """Downloads at run time numbered below `before`, newest first; `packages` are those of the sandbox's profile."""
    settled_at = settled(sandbox, brings=bool(packages))
    rows = Fetch.objects.filter(sandbox=sandbox).order_by("-id")
    if before is not None:
        rows = rows.filter(pk__lt=before)
    # Two reads instead of one with OR: each has an index that gives its rows in this order.
    found = {row.pk: row for row in rows.filter(_NOT_BY_INSTALLER)[:limit]}
    if settled_at is not None:
        found |= {row.pk: row for row in _first_received(rows, settled_at)[:limit]}
    chosen = sorted(found.values(), key=lambda row: -row.pk)[:limit]
    used = _used(sandbox, chosen)
    whys = (
        late(client=row.client, at=row.at, settled_at=settled_at, again=False) for row in chosen
    )  # what is there again was left out
    return [Late(row, why, used.get(row.pk)) for row, why in zip(chosen, whys, strict=True) if why]


def denied(sandbox: Sandbox, *, before: int | None = None, limit: int = 50) -> list[Attempt]:
    """Refused connections numbered below `before`, newest first, with what came in the minutes before each."""
    rows = Connection.objects.filter(sandbox=sandbox, allowed=False).order_by("-at", "-id")
    if before is not None:
        moment = Connection.objects.filter(pk=before, sandbox=sandbox).values_list("at", flat=True).first()
        rows = rows.filter(pk__lt=before) if moment is None else rows.filter(at__lte=moment, pk__lt=before)
    found = list(rows[:limit])
    joined = _before([row.pk for row in found])
    return [Attempt(row, tuple(joined.get(row.pk, ()))) for row in found]


@dataclass(frozen=True, slots=True)
class Counts:
    """Of the last day: downloads that no installer asked for, and attempts to get out, each of a loop counted."""

    downloads: int = 0
    attempts: int = 0


def recent(sandboxes: Iterable[int]) -> dict[int, Counts]:
    """For a list of sandboxes: what is worth a look, by sandbox; those with nothing are not in it."""
    ids, since = list(sandboxes), clock.now() - RECENT
    fetched = Fetch.objects.filter(_NOT_BY_INSTALLER, sandbox__in=ids, at__gt=since).order_by()
    by_fetch = dict(fetched.values("sandbox").annotate(n=Count("id")).values_list("sandbox", "n"))
    refused = Connection.objects.filter(sandbox__in=ids, allowed=False, at__gt=since).order_by()
    counted = refused.values("sandbox").annotate(rows=Count("id"), more=Sum("repeats"))
    by_connection = {
        sandbox: rows + more for sandbox, rows, more in counted.values_list("sandbox", "rows", "more")
    }
    return {
        pk: Counts(by_fetch.get(pk, 0), by_connection.get(pk, 0))
        for pk in ids
        if pk in by_fetch or pk in by_connection
    }


_SETTLED = """
SELECT at FROM (
    SELECT at, lead(at) OVER (ORDER BY at) AS next, min(at) OVER () AS first FROM (
        SELECT at FROM usage_fetch WHERE sandbox_id = %(sandbox)s AND kind = 'file' ORDER BY at LIMIT %(most)s
    ) AS files
) AS runs
WHERE next IS NULL OR next - at > %(pause)s OR next - first > %(longest)s
ORDER BY at LIMIT 1"""


# The same, where it says which requests are its own: pip's JSON, with its keys in order and no spaces.
_SETTLED_MARKED = """
SELECT max(at) FROM (
    SELECT at, min(at) OVER () AS first FROM (
        SELECT at, user_agent FROM usage_fetch WHERE sandbox_id = %(sandbox)s AND kind = 'file'
        ORDER BY at LIMIT %(most)s
    ) AS files
    WHERE position(%(mark)s IN user_agent) > 0
) AS own
WHERE at - first <= %(longest)s"""


def settled(sandbox: Sandbox, *, brings: bool = True) -> datetime | None:
    """When the workspace's own installing ended; None while it has not begun, or may still go on.

    `brings`: its profile has packages, so that it installs something whether or not it says so.
    """
    values: dict[str, Any] = {
        "sandbox": sandbox.pk,
        "most": _SETUP_FILES,
        "pause": PAUSE,
        "longest": LONGEST_SETUP,
        "mark": f'"user_data":"{OWN}"',
    }
    with connection.cursor() as cursor:
        cursor.execute(_SETTLED_MARKED, values)
        row = cursor.fetchone()
        if brings and (row is None or row[0] is None):
            cursor.execute(_SETTLED, values)
            row = cursor.fetchone()
    last = row[0] if row else None
    return last if last is not None and clock.now() - last > PAUSE else None


def _first_received(rows: QuerySet[Fetch], after: datetime) -> QuerySet[Fetch]:
    """Files that were asked for after that moment, and had not been received before."""
    earlier = Install.objects.filter(
        sandbox=OuterRef("sandbox"), filename=OuterRef("filename"), at__lt=OuterRef("at")
    )
    return rows.filter(~Exists(earlier), kind="file", at__gt=after)


# The newest package before each fetch that an installer brought, and not the file itself.
_USED = """
SELECT f.id, used.project, used.version, used.at
FROM usage_fetch f CROSS JOIN LATERAL (
    SELECT i.project, i.version, i.at FROM usage_install i
    WHERE i.sandbox_id = f.sandbox_id AND i.at <= f.at AND i.at > f.at - %(window)s
        AND i.filename <> f.filename AND i.client ~ %(installers)s
    ORDER BY i.at DESC, i.id DESC LIMIT 1
) AS used
WHERE f.id = ANY(%(ids)s)"""


def _used(sandbox: Sandbox, fetches: Sequence[Fetch]) -> dict[int, Used]:
    """What the client names, if the sandbox received it; else what was installed last before."""
    named = _named(sandbox, {named_project(row.client) for row in fetches})
    values: dict[str, Any] = {"ids": [row.pk for row in fetches], "window": WINDOW, "installers": PATTERN}
    with connection.cursor() as cursor:
        cursor.execute(_USED, values)
        used = {pk: Used(project, version, at, How.BEFORE) for pk, project, version, at in cursor}
    for row in fetches:
        own = named.get(named_project(row.client))
        if own is not None and own.at <= row.at:
            used[row.pk] = own
    return used


def _named(sandbox: Sandbox, projects: set[str]) -> dict[str, Used]:
    """The newest of each that the sandbox received."""
    rows = Install.objects.filter(sandbox=sandbox, project__in=projects - {""})
    newest = rows.order_by("project", "-id").distinct("project")
    return {row.project: Used(row.project, row.version, row.at, How.NAMED) for row in newest}


# Files and not installs: what is installed a second time was received the first time only.
_BEFORE = """
SELECT c.id, files.project, coalesce(received.version, ''), files.at
FROM usage_connection c
CROSS JOIN LATERAL (
    SELECT f.project, max(f.at) AS at, (array_agg(f.filename ORDER BY f.at DESC))[1] AS filename FROM (
        SELECT project, filename, at FROM usage_fetch
        WHERE sandbox_id = c.sandbox_id AND kind = 'file' AND refused = ''
            AND at <= c.at AND at > c.at - %(window)s
        ORDER BY at DESC LIMIT %(files)s
    ) AS f
    GROUP BY f.project ORDER BY max(f.at) DESC LIMIT %(most)s
) AS files
LEFT JOIN LATERAL (
    SELECT i.version FROM usage_install i
    WHERE i.sandbox_id = c.sandbox_id AND i.filename = files.filename LIMIT 1
) AS received ON true
WHERE c.id = ANY(%(ids)s) ORDER BY c.id, files.at DESC"""


def _before(connections: list[int]) -> dict[int, list[Before]]:
    values: dict[str, Any] = {
        "ids": connections,
        "window": WINDOW,
        "most": MOST_BEFORE,
        "files": MOST_BEFORE * 20,
    }
    joined: dict[int, list[Before]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_BEFORE, values)
        for pk, project, version, at in cursor:
            joined.setdefault(pk, []).append(Before(project, version, at))
    return joined
