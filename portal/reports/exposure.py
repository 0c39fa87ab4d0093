"""Who is exposed: one line for each file that a sandbox received and an advisory speaks against."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from itertools import batched
from typing import Final

from django.db import connection
from django.db.models import Count, Max, Q, QuerySet

from portal.accounts.models import User
from portal.accounts.permissions import Permission
from portal.reports.export import Cell, TextStream, attachment, csv_lines
from sandboxes.audit.queries import about
from sandboxes.errors import NotFoundError
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import LIVE
from sandboxes.screening.models import Advisory, Change, Exposure
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
        rows = rows.filter(advisory=advisory_of(advisory))
    if sandbox is not None:
        rows = rows.filter(sandbox=sandbox)
    if live is not None:
        # Those that are live are few, however many there were: that is where to begin.
        alive = Q(sandbox__in=list(Sandbox.objects.filter(phase__in=LIVE).values_list("pk", flat=True)))
        rows = rows.filter(alive if live else ~Q(sandbox__phase__in=LIVE))
    return rows if is_open is None else rows.filter(closed_at__isnull=is_open)


def advisory_of(identity: str) -> Advisory:
    """Without its document. NotFoundError for one that is not here."""
    found = Advisory.objects.defer("document").filter(pk=identity.replace("\0", "")).first()
    if found is None:
        raise NotFoundError(f"There is no advisory {identity}.")
    return found


def visible(rows: QuerySet[Exposure], viewer: User) -> QuerySet[Exposure]:
    """Everybody's for those who see all sandboxes; to everybody else what is about their own."""
    return rows if viewer.may(Permission.SEE_ALL_SANDBOXES) else rows.filter(sandbox__owner=viewer)


@dataclass(frozen=True)
class Event:
    """One moment of the way from an advisory to what was done; `number` of sandboxes, files or nothing."""

    at: datetime
    what: str  # "published", "came", "installed", "installed_last", "found", "isolate", "end", "notify", …
    number: int = 0


@dataclass(frozen=True)
class Totals:
    """Of one advisory, in sandboxes: `found` ever, of which `live` and `past` ones are open and `closed` are not.

    `files` that they received, `first` and `last` when. `complete` False: the past is still being looked through.
    """

    advisory: str
    found: int
    live: int
    past: int
    closed: int
    files: int
    first: datetime | None
    last: datetime | None
    complete: bool


@dataclass(frozen=True)
class _Sums:
    """What one look at an advisory's exposures gives; their installs are in the order of their numbers."""

    found: int
    found_at: datetime | None
    closed: int
    closed_at: datetime | None
    files: int
    first: int | None
    last: int | None


def totals(advisory: Advisory) -> Totals:
    sums = _sums(advisory.pk)
    first, last = _given(sums)
    live = _live(advisory.pk)
    past = sums.found - sums.closed - live
    complete = not Change.objects.filter(advisory=advisory).exists()
    return Totals(advisory.pk, sums.found, live, past, sums.closed, sums.files, first, last, complete)


def timeline(advisory: Advisory) -> list[Event]:
    """Oldest first."""
    sums = _sums(advisory.pk)
    live = Exposure.objects.filter(advisory=advisory, live=True).exclude(acted_at=None)
    done = live.values("action").order_by("action").annotate(last=Max("acted_at"), number=Count("id"))
    first, last = _given(sums)
    moments: list[tuple[datetime | None, str, int]] = [
        (advisory.published, "published", 0),
        *_arrival(advisory, sums.found_at),
        (first, "installed", sums.files),
        (last if sums.files > 1 else None, "installed_last", 0),
        (sums.found_at, "found", sums.found),
        *((row["last"], row["action"], row["number"]) for row in done),
        (advisory.withdrawn_at, "withdrawn", 0),
        (sums.closed_at, "closed", sums.closed),
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


def _sums(advisory: str) -> _Sums:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), min(found_at), count(closed_at), min(closed_at),"
            " coalesce(sum(cardinality(installs)), 0), min(installs[1]), max(installs[cardinality(installs)])"
            " FROM screening_exposure WHERE advisory_id = %s",
            [advisory],
        )
        return _Sums(*cursor.fetchone())


def _given(sums: _Sums) -> tuple[datetime | None, datetime | None]:
    """When the first and the last of the files were: by their numbers, which are given as files are."""
    if sums.first is None or sums.last is None:
        return None, None
    at = dict(Install.objects.filter(pk__in=[sums.first, sums.last]).values_list("pk", "at"))
    return at.get(sums.first), at.get(sums.last)


def _live(advisory: str) -> int:
    """How many that are open are of sandboxes that are live now."""
    rows = exposures(advisory=advisory, live=True, is_open=True)
    return rows.order_by().count()


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
    found = (_cells(line) for line in lines(_one_after_the_other(rows)))
    return attachment(csv_lines(COLUMNS, found), filename, content_type="text/csv; charset=utf-8")


def _one_after_the_other(rows: QuerySet[Exposure]) -> Iterator[Exposure]:
    """A page at a time, so that the first line does not wait for the last, and nothing is held open between."""
    page = list(rows[:_BATCH])
    while page:
        yield from page
        page = list(rows.filter(pk__lt=page[-1].pk)[:_BATCH]) if len(page) == _BATCH else []


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
