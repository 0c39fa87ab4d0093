"""Waivers as pages show them: what each is about, for whom it holds, and a word with a look."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.urls import reverse

from portal.accounts.models import User
from portal.approvals import waiver_queries
from portal.web import rule_words
from sandboxes.index.models import Waiver
from sandboxes.index.policy.waivers import Scope
from sandboxes.index.waivers import State


@dataclass(frozen=True)
class Line:
    """`what` is "demo 2.0.0"; `why` is the address of the page that explains it, of one version only.

    `decider`: who grants it, "an approver" or "an admin".
    """

    row: Waiver
    what: str
    rule: str
    whom: str
    word: str
    look: str
    holds: bool
    why: str
    decider: str


def lines(rows: Iterable[Waiver]) -> list[Line]:
    """One query more than the rows, for the names of people."""
    found = list(rows)
    people = waiver_queries.people(found)
    return [_line(row, people) for row in found]


def line(row: Waiver) -> Line:
    return lines([row])[0]


def about(project: str, version: str) -> str:
    return f"{project} {version}" if version else f"{project}, every version"


def _line(row: Waiver, people: dict[str, User]) -> Line:
    holds = waiver_queries.is_holding(row)
    state = "over" if row.state == State.GRANTED and not holds else row.state
    word, look = rule_words.STATES["glass" if row.break_glass and holds else state]
    why = reverse("why", args=[row.ecosystem, row.project, row.version]) if row.version else ""
    what = about(row.project, row.version)
    decider = "an admin" if waiver_queries.needs_admin(row) else "an approver"
    return Line(row, what, rule_words.title(row.rule), whom(row, people), word, look, holds, why, decider)


def whom(row: Waiver, people: dict[str, User]) -> str:
    match Scope(row.scope):
        case Scope.SANDBOX:
            return f"Sandbox {row.subject}"
        case Scope.PERSON:
            return str(people.get(row.subject, "One person"))
        case Scope.DEPARTMENT:
            return f"Department {row.subject}"
        case Scope.ALL:
            return "Everybody"
