"""A sandbox's ways out: what is open, the form to ask for one, and what went through the egress proxy."""

from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_POST

from portal.accounts.access import person, require
from portal.accounts.models import User
from portal.accounts.permissions import Permission
from portal.approvals import queries, services
from portal.approvals.drafts import DraftError
from portal.approvals.durations import parse_duration
from portal.approvals.egress import Typed, way_of
from portal.approvals.models import Kind, Request, State
from portal.web.respond import cursor, page, slice_of, translated
from sandboxes.errors import ConflictError
from sandboxes.lifecycle import clock
from sandboxes.lifecycle.models import EgressException, Sandbox
from sandboxes.lifecycle.phases import GOING, OVER, Phase
from sandboxes.lifecycle.ways import Way
from sandboxes.usage import queries as usage

PAGE: Final = 50
NEWEST: Final = 20
LENGTHS: Final = {"PT1H": "1 hour", "PT4H": "4 hours", "P1D": "1 day", "P3D": "3 days", "P7D": "7 days"}
_FIELDS: Final = ("host", "cidr", "port", "until", "reason")


@dataclass(frozen=True)
class Line:
    """One exception as the page shows it: a word with a look, and whether there is anything to end."""

    row: EgressException
    to: str
    word: str
    look: str
    open: bool


@require(Permission.REQUEST_SANDBOX)
@require_http_methods(["GET", "HEAD", "POST"])
@translated
def egress(request: HttpRequest, sandbox_id: int) -> HttpResponse:
    """All of it on a page of its own; a POST asks."""
    me = person(request)
    sandbox = queries.sandbox_for(me, sandbox_id)
    if request.method != "POST":
        return page(request, "egress", _context(request, me, sandbox))
    typed = {name: request.POST.get(name, "").replace("\0", "") for name in _FIELDS}
    try:
        asked = services.ask_egress(sandbox.pk, by=me, typed=Typed(**typed))
    except DraftError as error:
        context = {**_context(request, me, sandbox), "errors": error.errors, "typed": typed}
        return page(request, "egress", context, status=422)
    except ConflictError as error:
        messages.warning(request, str(error), extra_tags="wait")
    else:
        _tell(request, asked)
    return redirect("sandbox", sandbox.pk)


@require(Permission.REQUEST_SANDBOX)
@require_POST
@translated
def end(request: HttpRequest, sandbox_id: int, exception_id: int) -> HttpResponse:
    row = services.end_egress(exception_id, sandbox_id=sandbox_id, by=person(request))
    messages.success(request, f"The way out to {_to(row)} is closed.", extra_tags="good")
    return redirect("sandbox", sandbox_id)


def shown(me: User, sandbox: Sandbox) -> dict[str, Any]:
    """What the section on the sandbox's page needs: the newest of each kind."""
    rows = sandbox.egress_exceptions.select_related("granted_by").order_by("-id")[:NEWEST]
    may_ask = queries.may_ask_egress(me, sandbox)
    return {
        "lines": [_line(row, sandbox) for row in rows],
        "waiting": [
            (one, _way(one))
            for one in sandbox.requests.filter(kind=Kind.EGRESS, state=State.PENDING).order_by("id")
        ],
        "connections": list(usage.connections(sandbox)[:NEWEST]),
        "may_ask": may_ask,
        "may_end": queries.may_end_egress(me, sandbox),
        "lengths": _lengths(sandbox) if may_ask else {},
        "proxy": settings.EGRESS_PROXY_URL,
    }


def version(sandbox: Sandbox) -> tuple[object, ...]:
    """Changes when the section does; bytes of open connections wait for their end."""
    rows = sandbox.egress_exceptions.order_by("-id").values_list("pk", "applied_at", "ended_at", "removed_at")
    connections = usage.connections(sandbox).values_list("pk", "ended_at", "repeats")
    return list(rows[:NEWEST]), list(connections[:NEWEST])


def _context(request: HttpRequest, me: User, sandbox: Sandbox) -> dict[str, Any]:
    before = cursor(request, "before")
    rows = usage.connections(sandbox)
    connections, more = slice_of(list((rows.filter(pk__lt=before) if before else rows)[: PAGE + 1]), PAGE)
    return {
        "sandbox": sandbox,
        "egress": {**shown(me, sandbox), "connections": connections, "alone": True},
        "before": before,
        "next": connections[-1].pk if more else None,
    }


def _line(row: EgressException, sandbox: Sandbox) -> Line:
    word, look = _state(row, sandbox)
    return Line(row, _to(row), word, look, row.ended_at is None and sandbox.phase not in GOING | OVER)


def _state(row: EgressException, sandbox: Sandbox) -> tuple[str, str]:
    """What the cluster and the proxy make of it now."""
    if sandbox.phase in GOING | OVER:
        return "Ended", "done"
    if row.ended_at is not None:
        carried_out = not row.cidr or row.removed_at is not None or row.applied_at is None
        return ("Ended", "done") if carried_out else ("Being closed", "wait")
    if row.until <= clock.now():
        return "Being closed", "wait"
    if sandbox.phase != Phase.READY:
        return "Closed for now", "wait"
    return ("Open", "good") if row.host or row.applied_at else ("Being opened", "wait")


def _to(row: EgressException) -> str:
    return str(Way(row.cidr, row.host, row.port))


def _way(one: Request) -> str:
    return str(way_of(one.egress))


def _lengths(sandbox: Sandbox) -> dict[str, str]:
    """Those that end before the lease does."""
    if sandbox.expires_at is None:
        return {}
    left = sandbox.expires_at - clock.now()
    return {value: label for value, label in LENGTHS.items() if parse_duration(value) < left}


def _tell(request: HttpRequest, asked: Request) -> None:
    if asked.state == State.APPROVED:
        messages.success(request, f"The way out to {_way(asked)} is open.", extra_tags="good")
    elif asked.state == State.DENIED:
        messages.error(request, f"Not opened. {' '.join(asked.reasons)}", extra_tags="bad")
    else:
        messages.info(request, "An approver decides on it; until then it stays closed.")
