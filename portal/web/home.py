"""Home: my sandboxes with what is in them and the time left, and my requests. Live."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from portal.accounts.access import person, require
from portal.accounts.models import User
from portal.accounts.permissions import Permission
from portal.approvals import queries
from portal.approvals.models import Request, State
from portal.web import pausing
from portal.web.respond import fingerprint, page, unchanged
from portal.web.waiver_lines import Line, lines
from sandboxes.index.models import Waiver
from sandboxes.index.waivers import State as WaiverState
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import GOING, LIVE, OVER, Phase
from sandboxes.usage.models import Install

SHOWN = 30
EARLIER = 5
RECENT = timedelta(days=14)
NAMED = 6
MOST_INSTALLS = 2_000
FAST, SLOW = 2, 10  # seconds between looks: while something is on its way, and otherwise


@dataclass(frozen=True)
class Card:
    """One sandbox and the projects in it, newest first."""

    sandbox: Sandbox
    projects: Sequence[str]

    @property
    def named(self) -> Sequence[str]:
        return self.projects[:NAMED]

    @property
    def more(self) -> int:
        return len(self.projects) - len(self.named)


@require(Permission.REQUEST_SANDBOX)
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    me = person(request)
    live = _cards(_mine(me, LIVE | GOING)[:SHOWN])
    over = list(_mine(me, OVER)[:EARLIER])
    waiting, earlier = _requests(me)
    waivers = _waivers(me)
    paused = pausing.for_person(me)
    version = fingerprint(
        [
            (
                *(c.sandbox.pk, c.sandbox.phase, c.sandbox.expires_at, c.sandbox.hold_until),
                *(c.sandbox.last_error, c.projects),
            )
            for c in live
        ],
        [sandbox.pk for sandbox in over],
        [(one.pk, one.state) for one in waiting + earlier],
        [(one.row.pk, one.word) for one in waivers],
        paused,
    )
    changing = any(card.sandbox.phase != Phase.READY for card in live)
    context = {
        "live": live,
        "over": over,
        "waiting": waiting,
        "earlier": earlier,
        "waivers": waivers,
        "paused": paused,
        "version": version,
        "every": FAST if changing else SLOW,
    }
    return unchanged(request, version) or page(request, "home", context, part="live")


def _mine(me: User, phases: Iterable[Phase]) -> QuerySet[Sandbox]:
    return queries.sandboxes_visible(me).filter(owner=me, phase__in=phases).order_by("-id")


def _cards(sandboxes: Iterable[Sandbox]) -> list[Card]:
    shown = list(sandboxes)
    projects = _projects(shown)
    return [Card(sandbox, projects[sandbox.pk]) for sandbox in shown]


def _projects(sandboxes: Sequence[Sandbox]) -> dict[int, list[str]]:
    """What each sandbox received, one query for all of them."""
    found: dict[int, list[str]] = defaultdict(list)
    rows = Install.objects.filter(sandbox__in=sandboxes).order_by("-id").values_list("sandbox_id", "project")
    for sandbox_id, project in rows[:MOST_INSTALLS]:
        if project not in found[sandbox_id]:
            found[sandbox_id].append(project)
    return found


def _requests(me: User) -> tuple[list[Request], list[Request]]:
    """Those that wait, and the newest of those that were denied or withdrawn; an approved one is a sandbox."""
    mine = queries.requests_visible(me).filter(requester=me).select_related("decision").order_by("-id")
    waiting = list(mine.filter(state=State.PENDING)[:SHOWN])
    return waiting, list(mine.filter(state__in=(State.DENIED, State.WITHDRAWN))[:EARLIER])


def _waivers(me: User) -> list[Line]:
    """The newest that one asked for: those that wait or hold, and what became of others within two weeks."""
    recent = timezone.now() - RECENT
    rows = Waiver.objects.filter(asked_by=me).filter(
        Q(state=WaiverState.ASKED) | Q(state=WaiverState.GRANTED, until__gt=Now()) | Q(decided_at__gt=recent)
    )
    return lines(rows.order_by("-id")[:EARLIER])
