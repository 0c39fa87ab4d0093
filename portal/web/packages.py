"""What policy did to one sandbox: older versions that were taken, files that were refused, and its waivers."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.urls import reverse

from portal.approvals import waiver_queries, waivers, why
from portal.web import rule_words
from portal.web.waiver_lines import lines
from sandboxes.index.names import release_of
from sandboxes.index.npm import names as npm
from sandboxes.index.policy.facts import Ecosystem
from sandboxes.lifecycle import clock
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import LIVE
from sandboxes.usage import queries as usage
from sandboxes.usage.models import Fetch

NEWEST: Final = 10


@dataclass(frozen=True)
class Older:
    """`opens`: when the newer one is given by itself; `given`: it is by now."""

    project: str
    taken: str
    newest: str
    rule: str
    opens: datetime | None
    given: bool
    url: str


@dataclass(frozen=True)
class Refused:
    row: Fetch
    rule: str
    url: str


def shown(sandbox: Sandbox) -> dict[str, Any]:
    """What the section on the sandbox's page needs: the newest of each kind."""
    rows = waiver_queries.of_sandbox(sandbox)
    return {
        "older": _older(sandbox),
        "refused": [_refused(row) for row in usage.refused(sandbox)[:NEWEST]],
        "waivers": lines(rows[:NEWEST]),
        "glass": [one for one in lines(waiver_queries.holding(rows.filter(break_glass=True))) if one.holds],
    }


def version(sandbox: Sandbox) -> tuple[object, ...]:
    """Changes when the section does; fetches and installs are looked at by the page itself."""
    rows = waiver_queries.of_sandbox(sandbox).values_list("pk", "state", "until")
    return tuple(rows[:NEWEST])


def _older(sandbox: Sandbox) -> list[Older]:
    taken = usage.taken_older(sandbox)[:NEWEST]
    if not taken:
        return []
    reader = why.Reader(clock.now()) if sandbox.phase in LIVE else None
    subject = why.subject_of(sandbox)
    found = []
    for one in taken:
        about = waivers.about(one.ecosystem, one.project, one.withheld)
        now = reader.explain(about, subject) if reader else None
        found.append(
            Older(
                one.project,
                one.version,
                one.withheld,
                rule_words.title(one.rule),
                now.opens if now else None,
                bool(now and now.given),
                reverse("why", args=[one.ecosystem, one.project, one.withheld]),
            )
        )
    return found


def _refused(row: Fetch) -> Refused:
    """The file's name says the version, but for names that are no distribution's."""
    if row.ecosystem == Ecosystem.NPM:
        release: str | None = npm.version_of(row.project, row.filename)
    else:
        release = release_of(row.project, row.filename.removesuffix(".metadata"))
    url = reverse("why", args=[row.ecosystem, row.project, release]) if release else ""
    return Refused(row, rule_words.title(row.refused), url)
