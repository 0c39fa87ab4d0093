"""Waivers: the list of those that hold, one with its evidence and its decision, and breaking the glass."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.accounts.access import person, require
from portal.accounts.models import User
from portal.accounts.permissions import Permission
from portal.approvals import queries, waiver_queries, waivers, why
from portal.approvals.drafts import DraftError
from portal.approvals.durations import parse_duration
from portal.web.deciding import Deciding, Pick
from portal.web.respond import (
    BIGGEST_ID,
    cursor,
    fingerprint,
    page,
    posts_of,
    slice_of,
    translated,
    unchanged,
)
from portal.web.waiver_lines import line, lines
from portal.web.why import address, reasons
from sandboxes.audit.queries import about
from sandboxes.errors import ConflictError, InvalidInputError, NotFoundError
from sandboxes.index.models import Waiver
from sandboxes.index.policy.waivers import Scope, Subject
from sandboxes.index.waivers import State
from sandboxes.lifecycle import clock

PAGE: Final = 50
SHORTER: Final = {
    "PT4H": "4 hours",
    "P1D": "1 day",
    "P7D": "7 days",
    "P30D": "30 days",
    "P90D": "90 days",
}
GLASS: Final = {"PT1H": "1 hour", "PT4H": "4 hours", "PT12H": "12 hours", "P1D": "1 day"}
SCOPES: Final = {
    Scope.SANDBOX: "This sandbox",
    Scope.PERSON: "The person",
    Scope.DEPARTMENT: "Their department",
    Scope.ALL: "Everybody",
}
MOST_ENTRIES: Final = 20
SLOW, NEVER = 5, 0  # seconds between looks


@require(Permission.REQUEST_SANDBOX)
@require_safe
def waiver_list(request: HttpRequest) -> HttpResponse:
    me = person(request)
    rows = waiver_queries.waivers_visible(me)
    everything = request.GET.get("show") == "all"
    before = cursor(request, "before")
    if not everything:
        found, more = slice_of(list(waiver_queries.holding(rows)[: PAGE + 1]), PAGE)
    else:
        found, more = slice_of(list((rows.filter(pk__lt=before) if before else rows)[: PAGE + 1]), PAGE)
    context = {
        "lines": [(one, one.holds and waiver_queries.may_end(me, one.row)) for one in lines(found)],
        "everything": everything,
        "before": before,
        "next": found[-1].pk if more and everything else None,
        "more": more and not everything,
    }
    return page(request, "waivers", context)


@require(Permission.REQUEST_SANDBOX)
@require_safe
@translated
def show(request: HttpRequest, waiver_id: int) -> HttpResponse:
    me = person(request)
    waiver = waiver_queries.waiver_for(me, waiver_id)
    version = fingerprint(waiver.state, waiver.until, waiver_queries.is_holding(waiver))
    if same := unchanged(request, version):
        return same
    return page(request, "waiver", _context(me, waiver, version), part="live")


@require(Permission.DECIDE_REQUESTS)
@posts_of("waiver")
@translated
def decide(request: HttpRequest, waiver_id: int) -> HttpResponse:
    me = person(request)
    waiver = waiver_queries.waiver_for(me, waiver_id)
    grant = request.POST.get("decision") == "grant"
    typed = {name: request.POST.get(name, "").replace("\0", "") for name in ("reason", "until", "scope")}
    try:
        waivers.decide(waiver.pk, by=me, grant=grant, **typed)
    except InvalidInputError as error:
        context = {**_context(me, waiver, "", typed), "error": str(error), "typed": typed}
        return page(request, "waiver", context, status=422)
    except ConflictError as error:
        messages.warning(request, str(error), extra_tags="wait")
    else:
        messages.success(request, f"You {'granted' if grant else 'refused'} this waiver.", extra_tags="good")
    return redirect("waiver", waiver.pk)


@require(Permission.REQUEST_SANDBOX)
@require_POST
@translated
def withdraw(request: HttpRequest, waiver_id: int) -> HttpResponse:
    return _done(
        request, waiver_id, lambda me: waivers.withdraw(waiver_id, by=me), "The waiver is withdrawn."
    )


@require(Permission.REQUEST_SANDBOX)
@require_POST
@translated
def end(request: HttpRequest, waiver_id: int) -> HttpResponse:
    reason = request.POST.get("reason", "").replace("\0", "")
    said = "Ended. The rule holds again, everywhere within seconds."
    return _done(request, waiver_id, lambda me: waivers.end(waiver_id, by=me, reason=reason), said)


@require(Permission.BREAK_GLASS)
@require_http_methods(["GET", "HEAD", "POST"])
@translated
def break_glass(request: HttpRequest) -> HttpResponse:
    me = person(request)
    given = request.POST if request.method == "POST" else request.GET
    names = ("ecosystem", "project", "version", "sandbox", "scope", "until", "reason")
    typed = {name: given.get(name, "").replace("\0", "") for name in names}
    if request.method != "POST":
        return page(request, "break_glass", _glass(typed))
    try:
        waiver = waivers.break_glass(by=me, typed=_typed(typed))
    except DraftError as error:
        return page(request, "break_glass", {**_glass(typed), "errors": error.errors}, status=422)
    except (InvalidInputError, NotFoundError, ConflictError) as error:
        context = {**_glass(typed), "errors": {"project": str(error)}}
        return page(request, "break_glass", context, status=422)
    messages.warning(
        request, "The glass is broken. Every approver and admin has an alarm of it.", extra_tags="bad"
    )
    return redirect("waiver", waiver.pk)


def _typed(typed: dict[str, str]) -> waivers.Typed:
    number = typed["sandbox"].strip()
    if number and not (number.isascii() and number.isdecimal() and int(number[:20]) <= BIGGEST_ID):
        raise DraftError({"sandbox": f"{number[:40]!r} is no sandbox’s number."})
    values = {**typed, "project": typed["project"].strip()}
    return waivers.Typed(**{**values, "sandbox": int(number) if number else None})  # type: ignore[arg-type]


def _glass(typed: dict[str, str]) -> dict[str, Any]:
    return {
        "typed": typed,
        "scopes": {scope.value: label for scope, label in SCOPES.items()},
        "lengths": GLASS,
        "usual": waivers.USUAL_BREAK_GLASS,
    }


def _done(request: HttpRequest, waiver_id: int, act: Callable[[User], Waiver], said: str) -> HttpResponse:
    try:
        act(person(request))
    except InvalidInputError as error:
        messages.error(request, str(error), extra_tags="bad")
    except ConflictError as error:
        messages.warning(request, str(error), extra_tags="wait")
    else:
        messages.success(request, said, extra_tags="good")
    return redirect("waiver", waiver_id)


def _context(
    me: User, waiver: Waiver, version: str, typed: Mapping[str, str] | None = None
) -> dict[str, Any]:
    explanation = _explanation(waiver)
    sandbox = waiver.sandbox
    own = waiver.asked_by_id == me.pk
    to_decide = waiver.state == State.ASKED and me.may(Permission.DECIDE_REQUESTS)
    seen = sandbox is not None and queries.sandboxes_visible(me).filter(pk=sandbox.pk).exists()
    return {
        "one": line(waiver),
        "row": waiver,
        "own": own,
        "sandbox": sandbox if seen else None,
        "why": explanation,
        "why_url": address(explanation.about, sandbox.pk if seen and sandbox else None)
        if explanation
        else "",
        "reasons": reasons(explanation) if explanation else [],
        "deciding": _deciding(me, waiver, typed or {}) if waiver_queries.may_decide(me, waiver) else None,
        "own_to_decide": own and to_decide,
        "may_end": waiver_queries.is_holding(waiver) and waiver_queries.may_end(me, waiver),
        "entries": list(about(f"waiver:{waiver.pk}")[:MOST_ENTRIES]),
        "history": _history(waiver) if me.may(Permission.DECIDE_REQUESTS) else [],
        "version": version,
        "every": SLOW if waiver.state == State.ASKED else NEVER,
    }


def _deciding(me: User, waiver: Waiver, typed: Mapping[str, str]) -> Deciding:
    action, refuse = reverse("waiver_decide", args=[waiver.pk]), ("refuse", "Refuse")
    if not waiver_queries.may_grant(me, waiver):
        limit = "Only an admin grants this one. You may refuse it."
        return Deciding(action, "The person reads it.", waivers.MOST_TEXT, refuse, None, limit=limit)
    scopes = {
        scope.value: SCOPES[scope] + (", as asked" if scope == waiver.scope else "")
        for scope in waivers.narrower(waiver)
    }
    lengths = {"": f"{waiver.until:%Y-%m-%d}, as asked"}
    lengths |= {value: f"{label} from now" for value, label in _shorter(waiver).items()}
    return Deciding(
        action,
        "The person reads it. Needed to refuse; a remark helps when you grant, too.",
        waivers.MOST_TEXT,
        refuse,
        ("grant", "Grant"),
        (
            Pick("scope", "For", scopes, typed.get("scope") or waiver.scope),
            Pick("until", "Until", lengths, typed.get("until", "")),
        ),
    )


def _explanation(waiver: Waiver) -> why.Explanation | None:
    """Of the version it is about, where it is needed. One for every version explains no single one."""
    if not waiver.version:
        return None
    what = waivers.about(waiver.ecosystem, waiver.project, waiver.version)
    asker = waiver.asked_by
    subject = why.subject_of(waiver.sandbox) if waiver.sandbox else Subject(0, asker.pk, asker.department, "")
    return why.Reader(clock.now()).explain(what, subject)


def _history(waiver: Waiver) -> list[Any]:
    """The last that were asked for about the same project, by anybody."""
    rows = Waiver.objects.filter(ecosystem=waiver.ecosystem, project=waiver.project).exclude(pk=waiver.pk)
    return lines(rows.select_related("asked_by").order_by("-id")[:5])


def _shorter(waiver: Waiver) -> dict[str, str]:
    left: timedelta = waiver.until - clock.now()
    return {value: label for value, label in SHORTER.items() if parse_duration(value) < left}
