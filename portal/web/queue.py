"""The queue: requests, waivers and held files that wait for an approver, oldest first."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from portal.accounts.access import person, require
from portal.accounts.models import User
from portal.accounts.permissions import Permission
from portal.approvals import queries, waiver_queries
from portal.approvals.models import Request, State
from portal.approvals.profiles import all_profiles
from portal.web import held as held_files
from portal.web.respond import cursor, page, search_text, slice_of
from portal.web.waiver_lines import Line, lines
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import LIVE
from sandboxes.screening import held

PAGE: Final = 20
MOST_WAIVERS: Final = 100
MOST_HELD: Final = 100


@dataclass(frozen=True)
class Brief:
    """What an approver knows of the person at a glance."""

    approved: int = 0
    denied: int = 0
    live: int = 0


@dataclass(frozen=True)
class Item:
    """What waits: a request, a waiver or a held file."""

    at: datetime
    own: bool
    request: Request | None = None
    brief: Brief = Brief()
    waiver: Line | None = None
    held: held_files.Line | None = None


@require(Permission.DECIDE_REQUESTS)
@require_safe
def queue(request: HttpRequest) -> HttpResponse:
    text, profile = search_text(request), request.GET.get("profile", "")
    if profile not in all_profiles():
        profile = ""
    rows = queries.queue(text=text, profile=profile)
    if after := cursor(request, "after"):
        rows = rows.filter(pk__gt=after)
    shown, more = slice_of(list(rows[: PAGE + 1]), PAGE)
    briefs = _briefs(one.requester for one in shown)
    me = person(request)
    context = {
        "items": _items(me, shown, briefs, _waivers(text, profile), _held(me, text, profile))
        if not after
        else _items(me, shown, briefs),
        "next": shown[-1].pk if more else None,
        "after": after,
        "text": text,
        "profile": profile,
        "profiles": all_profiles().values(),
    }
    return page(request, "queue", context, part="results")


def _waivers(text: str, profile: str) -> list[Line]:
    """All that are shown at once are on the first page: there are few, and people wait at a terminal."""
    return lines(waiver_queries.waiting(text=text, profile=profile)[:MOST_WAIVERS])


def _held(me: User, text: str, profile: str) -> list[Item]:
    """As waivers; by profile those that a sandbox of that profile waits for."""
    found = held_files.lines(me, held.waiting(text)[:MOST_HELD])
    wanted = [one for one in found if not profile or any(box.profile == profile for box in one.waits)]
    return [Item(one.row.at, one.own, held=one) for one in wanted]


def _items(
    me: User,
    requests: Iterable[Request],
    briefs: Mapping[int, Brief],
    waivers: Iterable[Line] = (),
    files: Iterable[Item] = (),
) -> list[Item]:
    found = [
        Item(one.created_at, one.requester_id == me.pk, one, briefs.get(one.requester_id, Brief()))
        for one in requests
    ]
    found += [Item(one.row.asked_at, one.row.asked_by_id == me.pk, waiver=one) for one in waivers]
    return sorted([*found, *files], key=lambda item: item.at)


def _briefs(people: Iterable[User]) -> Mapping[int, Brief]:
    """Two queries for all people on the page."""
    ids = {one.pk for one in people}
    decided = Request.objects.filter(requester__in=ids).order_by().values("requester").annotate(
        approved=Count("id", filter=Q(state=State.APPROVED)),
        denied=Count("id", filter=Q(state=State.DENIED)),
    )  # fmt: skip
    live = (
        Sandbox.objects.filter(owner__in=ids, phase__in=LIVE)
        .order_by()
        .values("owner")
        .annotate(live=Count("id"))
    )
    living = {row["owner"]: row["live"] for row in live}
    return {
        row["requester"]: Brief(row["approved"], row["denied"], living.get(row["requester"], 0))
        for row in decided
    }
