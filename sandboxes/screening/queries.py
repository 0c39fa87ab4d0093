"""Reads about advisories and their feeds."""

import json
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Min, QuerySet
from django.db.models.functions import Coalesce

from sandboxes.screening import lookup
from sandboxes.screening.matching import ProjectAdvisories
from sandboxes.screening.models import Feed, Job
from sandboxes.screening.words import Ecosystem


def against(ecosystem: Ecosystem, projects: Iterable[str]) -> dict[str, ProjectAdvisories]:
    """What is known against these, by normalised name: what the index asks, for those who have Django."""
    with connection.cursor() as cursor:
        cursor.execute(lookup.ADVISORIES, {"ecosystem": ecosystem.value, "projects": list(projects)})
        names = [column.name for column in cursor.description or ()]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    for row in rows:
        row["ranges"] = json.loads(row["ranges"])  # Django leaves jsonb as it comes
    return lookup.known(ecosystem, rows)


def age(feed: Feed, now: datetime) -> timedelta:
    """How long ago we last had all of it; of one that never came, since it was last asked for."""
    return now - (feed.succeeded_at or feed.attempted_at)


def feeds() -> QuerySet[Feed]:
    """The one that is behind most comes first."""
    return Feed.objects.order_by(Coalesce("succeeded_at", "attempted_at"), "source")


def behind(now: datetime, longest: timedelta) -> list[Feed]:
    """To alarm about: feeds that we last had in full longer ago than that, and those that we never had."""
    return [feed for feed in feeds() if feed.succeeded_at is None or age(feed, now) > longest]


def waiting_since() -> datetime | None:
    """Since when the first file that somebody wants waits to be screened; None: no file does."""
    oldest: datetime | None = Job.objects.filter(urgent=True).aggregate(oldest=Min("wanted_at"))["oldest"]
    return oldest


def waiting() -> int:
    """How many of those there are."""
    return Job.objects.filter(urgent=True).count()
