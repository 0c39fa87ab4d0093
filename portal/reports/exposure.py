"""Who is exposed: one line for each file that a sandbox received and an advisory speaks against."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from itertools import batched
from typing import Final

from django.db import connection
from django.db.models import Count, Max, Min, Q, QuerySet

from portal.accounts.models import User
from portal.accounts.permissions import Permission
from portal.reports.export import Cell, TextStream, attachment, csv_lines
from sandboxes.audit.queries import about
from sandboxes.errors import NotFoundError
from sandboxes.lifecycle.phases import LIVE
from sandboxes.screening.models import Advisory, Exposure
from sandboxes.usage.models import Install

_BATCH: Final = 500  # exposures whose installs are read at once
_SAME_MOMENT: Final = timedelta(seconds=10)


@dataclass(frozen=True)
class Line:
    """`exposure` counts up; `at` is when the file was given, `found_at` when it was known to be bad.

    `live`: the sandbox is, now. `action` is what was to be done and `done_at` when it was; for one that
    was past when it was found, there was nothing to do. `confirmed` False: only a range of the advisory
    covers the version. `known_then`: a waiver or policy let it through. `closed_at`: see `closed_why`.
    """

    exposure: int
    advisory: str
    kind: str
    confirmed: bool
    sandbox: int
    phase: str
    live: bool
    person: str
    display_name: str
    department: str
    at: datetime
    ecosystem: str
    project: str
    version: str
    filename: str
    sha256: str
    known_then: bool
    found_at: datetime
    action: str
    done_at: datetime | None
    error: str
    closed_at: datetime | None
    closed_why: str


COLUMNS: Final = tuple(field.name for field in fields(Line))


def exposures(
    *, advisory: str = "", sandbox: int | None = None, live: bool | None = None, is_open: bool | None = None
) -> QuerySet[Exposure]:
    """Newest first. NotFoundError for an advisory that is not here: a slip must not read as "nobody"."""
    rows = Exposure.objects.select_related("sandbox__owner").order_by("-id")
    if advisory:
        if not Advisory.objects.filter(pk=advisory).exists():
            raise NotFoundError(f"There is no advisory {advisory}.")
        rows = rows.filter(advisory=advisory)
    if sandbox is not None:
        rows = rows.filter(sandbox=sandbox)
    if live is not None:
        alive = Q(sandbox__phase__in=LIVE)
        rows = rows.filter(alive if live else ~alive)
    return rows if is_open is None else rows.filter(closed_at__isnull=is_open)


def visible(rows: QuerySet[Exposure], viewer: User) -> QuerySet[Exposure]:
    """Everybody's for those who see all sandboxes; to everybody else what is about their own."""
    return rows if viewer.may(Permission.SEE_ALL_SANDBOXES) else rows.filter(sandbox__owner=viewer)


@dataclass(frozen=True)
class Event:
    """One moment of the way from an advisory to what was done; `number` of sandboxes, files or nothing."""

    at: datetime
    what: str  # "published", "came", "installed", "installed_last", "found", "isolate", "end", "notify", …
    number: int = 0


def timeline(advisory: Advisory) -> list[Event]:
    """Oldest first."""
    rows = Exposure.objects.filter(advisory=advisory)
    found = rows.aggregate(first=Min("found_at"), number=Count("id"))
    closed = rows.exclude(closed_at=None).aggregate(first=Min("closed_at"), number=Count("id"))
    live = rows.filter(live=True).exclude(acted_at=None).values("action").order_by("action")
    done = live.annotate(last=Max("acted_at"), number=Count("id"))
    first, last, files = _installed(advisory.pk)
    moments: list[tuple[datetime | None, str, int]] = [
        (advisory.published, "published", 0),
        *_arrival(advisory, found["first"]),
        (first, "installed", files),
        (last if files > 1 else None, "installed_last", 0),
        (found["first"], "found", found["number"]),
        *((row["last"], row["action"], row["number"]) for row in done),
        (advisory.withdrawn_at, "withdrawn", 0),
        (closed["first"], "closed", closed["number"]),
    ]
    events = [Event(at, what, number) for at, what, number in moments if at is not None]
    return sorted(events, key=lambda event: event.at)


def _arrival(advisory: Advisory, found: datetime | None) -> Iterator[tuple[datetime | None, str, int]]:
    """The row knows when it was written last; when a person declared it, the ledger knows."""
    declared = about(f"advisory:{advisory.pk}").filter(action="advisory.declared").order_by("id").first()
    if declared is not None:
        yield declared.at, "came", 0
        if advisory.imported_at - declared.at > _SAME_MOMENT:
            yield advisory.imported_at, "changed", 0
    else:
        again = found is not None and advisory.imported_at > found
        yield advisory.imported_at, "changed" if again else "came", 0


def _installed(advisory: str) -> tuple[datetime | None, datetime | None, int]:
    """When the first and the last of the files were given, and how many there are."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT min(at), max(at), count(*) FROM usage_install WHERE id IN ("
            "SELECT unnest(installs) FROM screening_exposure WHERE advisory_id = %s)",
            [advisory],
        )
        first, last, number = cursor.fetchone()
    return first, last, number


def lines(rows: Iterable[Exposure]) -> Iterator[Line]:
    """With the files, a few hundred exposures at a time."""
    for group in batched(rows, _BATCH, strict=False):
        wanted = [number for exposure in group for number in exposure.installs]
        files = Install.objects.in_bulk(wanted)
        for exposure in group:
            for number in exposure.installs:
                if number in files:
                    yield _line(exposure, files[number])


def download(rows: QuerySet[Exposure], filename: str) -> TextStream:
    """As CSV, however many there are."""
    found = (_cells(line) for line in lines(rows.iterator(chunk_size=_BATCH)))
    return attachment(csv_lines(COLUMNS, found), filename, content_type="text/csv; charset=utf-8")


def _cells(line: Line) -> list[Cell]:
    return list(asdict(line).values())


def _line(exposure: Exposure, file: Install) -> Line:
    sandbox = exposure.sandbox
    owner = sandbox.owner
    return Line(
        exposure=exposure.pk,
        advisory=exposure.advisory_id,
        kind=exposure.kind,
        confirmed=exposure.confirmed,
        sandbox=sandbox.pk,
        phase=sandbox.phase,
        live=sandbox.phase in LIVE,
        person=owner.username,
        display_name=str(owner),
        department=sandbox.department or owner.department,
        at=file.at,
        ecosystem=file.ecosystem,
        project=file.project,
        version=file.version,
        filename=file.filename,
        sha256=file.sha256,
        known_then=exposure.known_then,
        found_at=exposure.found_at,
        action=exposure.action,
        done_at=exposure.acted_at if exposure.live else None,
        error=exposure.error,
        closed_at=exposure.closed_at,
        closed_why=exposure.closed_why,
    )
