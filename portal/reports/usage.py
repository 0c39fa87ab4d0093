"""Who tried what over a period: per person, department, tool or version, or each install.

A report reads the installs of its period through the index on their time, in one
query and through a server-side cursor, so its cost grows with the period and not
with history. People are shown with the name and department they have today.
Whoever calls this has checked `Permission.READ_REPORTS`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import Count, F, Max, Min, Q, QuerySet
from django.utils import timezone

from portal.reports import export
from sandboxes.errors import InvalidInputError
from sandboxes.usage.models import Install
from sandboxes.usage.queries import declared_names

_CHUNK = 1000
_EARLIEST, _LATEST = date(2000, 1, 1), date(9998, 12, 31)


class By(StrEnum):
    PERSON = "person"
    DEPARTMENT = "department"
    TOOL = "tool"
    VERSION = "version"
    INSTALL = "install"


USUAL: Final = By.PERSON
_USUAL_PERIOD: Final = timedelta(days=30)


def period(start: date | None, end: date | None) -> tuple[date, date]:
    """What is not said, for the page and the API alike: up to today, and the thirty days before the end."""
    last = end or timezone.now().date()
    if start is None:
        start = last - _USUAL_PERIOD if last - date.min > _USUAL_PERIOD else date.min
    return start, last


@dataclass(frozen=True)
class PersonRow:
    """What one person tried. `installs` are files received, `tools` different projects among them."""

    username: str
    display_name: str
    department: str
    sandboxes: int
    tools: int
    installs: int
    first_at: datetime
    last_at: datetime
    clients: list[str]


@dataclass(frozen=True)
class DepartmentRow:
    """What the people of one department tried; "" are those without one."""

    department: str
    people: int
    sandboxes: int
    tools: int
    installs: int
    first_at: datetime
    last_at: datetime
    clients: list[str]


@dataclass(frozen=True)
class ToolRow:
    """Who tried one project (its normalised name)."""

    tool: str
    versions: int
    people: int
    sandboxes: int
    installs: int
    first_at: datetime
    last_at: datetime
    clients: list[str]


@dataclass(frozen=True)
class VersionRow:
    """Who received one version of a project; `files` counts different contents (sha256)."""

    tool: str
    version: str
    files: int
    people: int
    sandboxes: int
    installs: int
    first_at: datetime
    last_at: datetime
    clients: list[str]


@dataclass(frozen=True)
class InstallRow:
    """One file that one sandbox received. `declared`: its owner had named the tool; dependencies rarely are."""

    at: datetime
    username: str
    display_name: str
    department: str
    sandbox_id: int
    sandbox: str | None
    tool: str
    version: str
    file: str
    sha256: str
    size: int
    client: str
    declared: bool


type UsageRow = PersonRow | DepartmentRow | ToolRow | VersionRow | InstallRow


@dataclass(frozen=True)
class Usage:
    """The rows of one report, read as they are asked for, once; `columns` are known even when there are none."""

    kind: type[UsageRow]
    found: Iterator[UsageRow]

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(field.name for field in fields(self.kind))

    def __iter__(self) -> Iterator[UsageRow]:
        return self.found


def rows(*, start: date, end: date, by: By | str, limit: int | None = None) -> Usage:
    """The report over `start` to `end`, both included, days in UTC; InvalidInputError for what is no period.

    `limit`: no more rows than this, for a page; without it the database has the
    whole report ready before the first row comes.
    """
    if by not in set(By):
        raise InvalidInputError(f"“{by}” is no kind of report; ask for {', '.join(By)}.")
    received = _received(start, end)
    if by == By.INSTALL:
        return Usage(InstallRow, _each(received, limit))
    level = _LEVELS[By(by)]
    return Usage(level.kind, _grouped(received, level, limit))


def csv_lines(usage: Usage) -> Iterator[str]:
    """The report as CSV, a line at a time, safe for spreadsheets."""
    return export.csv_lines(usage.columns, map(attrgetter(*usage.columns), usage))


def json_lines(usage: Usage) -> Iterator[str]:
    """The report as one JSON array, a row at a time."""
    return export.json_lines(map(vars, usage))


def download(usage: Usage, filename: str) -> export.TextStream:
    """The report as a CSV file to keep, streamed."""
    return export.attachment(
        csv_lines(usage), filename, content_type="text/csv; charset=utf-8; header=present"
    )


def _received(start: date, end: date) -> QuerySet[Install]:
    if not _EARLIEST <= start <= end <= _LATEST:
        raise InvalidInputError("A period begins before it ends, in the years 2000 to 9998.")
    first = datetime.combine(start, time.min, UTC)
    after = datetime.combine(end + timedelta(days=1), time.min, UTC)
    return Install.objects.filter(at__gte=first, at__lt=after).order_by()


@dataclass(frozen=True)
class _Level:
    """How installs are grouped into rows of one kind, and what is counted besides `_ALWAYS`."""

    kind: type[UsageRow]
    group: Mapping[str, F]
    counts: Mapping[str, Count]


_DEPARTMENT = {"department": F("sandbox__owner__department")}
_PERSON = {
    "username": F("sandbox__owner__username"),
    "display_name": F("sandbox__owner__display_name"),
    **_DEPARTMENT,
}
_TOOL = {"tool": F("project")}
_PEOPLE = {"people": Count("sandbox__owner", distinct=True)}
_TOOLS = {"tools": Count("project", distinct=True)}
_ALWAYS = {
    "sandboxes": Count("sandbox", distinct=True),
    "installs": Count("id"),
    "first_at": Min("at"),
    "last_at": Max("at"),
    "clients": ArrayAgg("client", distinct=True, filter=~Q(client=""), default=[]),
}
_LEVELS = {
    By.PERSON: _Level(PersonRow, _PERSON, _TOOLS),
    By.DEPARTMENT: _Level(DepartmentRow, _DEPARTMENT, {**_PEOPLE, **_TOOLS}),
    By.TOOL: _Level(ToolRow, _TOOL, {**_PEOPLE, "versions": Count("version", distinct=True)}),
    By.VERSION: _Level(
        VersionRow,
        {**_TOOL, "version": F("version")},
        {**_PEOPLE, "files": Count("sha256", distinct=True)},
    ),
}


def _grouped(received: QuerySet[Any], level: _Level, limit: int | None) -> Iterator[UsageRow]:
    # With a prefix, for Django lets no annotation be named like a column ("version").
    found = received.annotate(**{f"by_{name}": source for name, source in level.group.items()})
    found = found.values(*(f"by_{name}" for name in level.group)).annotate(**level.counts, **_ALWAYS)
    found = found.order_by(*(f"by_{name}" for name in level.group))[:limit]
    for row in found.iterator(chunk_size=_CHUNK):
        yield level.kind(**{name.removeprefix("by_"): value for name, value in row.items()})


_INSTALL = {
    "at": "at",
    "username": "sandbox__owner__username",
    "display_name": "sandbox__owner__display_name",
    "department": "sandbox__owner__department",
    "sandbox_id": "sandbox_id",
    "sandbox": "sandbox__name",
    "tool": "project",
    "version": "version",
    "file": "filename",
    "sha256": "sha256",
    "size": "size",
    "client": "client",
}


def _each(received: QuerySet[Any], limit: int | None) -> Iterator[UsageRow]:
    found = received.order_by("at", "id").values_list("sandbox__tools", *_INSTALL.values())[:limit]
    for tools, *values in found.iterator(chunk_size=_CHUNK):
        row = dict(zip(_INSTALL, values, strict=True))
        yield InstallRow(**row, declared=row["tool"] in _declared(tuple(tools)))


@lru_cache(maxsize=1024)
def _declared(tools: tuple[str, ...]) -> frozenset[str]:
    return frozenset(declared_names(tools))
