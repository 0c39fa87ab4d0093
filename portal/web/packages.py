"""What policy did to one sandbox: older versions that were taken, files that were refused, and its waivers."""

from dataclasses import dataclass
from typing import Any, Final

from django.urls import reverse

from portal.approvals import kept_back, waiver_queries
from portal.web import rule_words
from portal.web.waiver_lines import lines
from sandboxes.lifecycle.models import Sandbox
from sandboxes.usage import queries as usage
from sandboxes.usage.models import Fetch

NEWEST: Final = 10


@dataclass(frozen=True)
class Older:
    now: kept_back.Older
    rule: str
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
    found = kept_back.older(sandbox, usage.taken_older(sandbox)[:NEWEST])
    return [Older(one, rule_words.title(one.row.rule), _url(one.row, one.row.withheld)) for one in found]


def _refused(row: Fetch) -> Refused:
    version = kept_back.refused_version(row)
    return Refused(row, rule_words.title(row.refused), _url(row, version) if version else "")


def _url(row: Fetch | usage.TakenOlder, version: str) -> str:
    return reverse("why", args=[row.ecosystem, row.project, version])
