"""One request: what was asked, what policy said, and the decision. Live until both are settled."""

from datetime import timedelta
from typing import Any, Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from portal.accounts.access import person, require
from portal.accounts.models import User
from portal.accounts.permissions import Permission
from portal.approvals import queries, services
from portal.approvals.drafts import DATA_CLASSES, QUESTIONS
from portal.approvals.durations import parse_duration
from portal.approvals.durations import words as in_words
from portal.approvals.egress import until_of
from portal.approvals.models import Decision, Kind, Request, State
from portal.web.deciding import Deciding, Pick
from portal.web.respond import fingerprint, page, posts_of, translated, unchanged
from sandboxes.errors import ConflictError, InvalidInputError
from sandboxes.lifecycle.phases import OVER, Phase

SHORTER: Final = {
    "PT30M": "30 minutes",
    "PT1H": "1 hour",
    "PT4H": "4 hours",
    "P1D": "1 day",
    "P3D": "3 days",
    "P7D": "7 days",
    "P14D": "14 days",
}
LONGEST_REASON: Final = 4000  # characters
FAST, SLOW, NEVER = 2, 5, 0  # seconds between looks


@require(Permission.REQUEST_SANDBOX)
@require_safe
@translated
def show(request: HttpRequest, request_id: int) -> HttpResponse:
    one = queries.request_for(person(request), request_id)
    version = fingerprint(one.state, one.sandbox and (one.sandbox.phase, one.sandbox.expires_at))
    return unchanged(request, version) or page(
        request, "request", _context(request, one, version), part="live"
    )


@require(Permission.DECIDE_REQUESTS)
@posts_of("request")
@translated
def decide(request: HttpRequest, request_id: int) -> HttpResponse:
    me = person(request)
    one = queries.request_for(me, request_id)
    approve = request.POST.get("decision") == "approve"
    typed = {
        "reason": request.POST.get("reason", "").replace("\0", ""),
        "granted": request.POST.get("granted", ""),
    }
    try:
        granted = parse_duration(typed["granted"]) if approve and typed["granted"] else None
        services.decide(one.pk, by=me, approve=approve, reason=typed["reason"], duration=granted)
    except InvalidInputError as error:
        context = {**_context(request, one, "", typed["granted"]), "error": str(error), "typed": typed}
        return page(request, "request", context, status=422)
    except ConflictError as error:
        messages.warning(request, str(error), extra_tags="wait")
        return redirect("request", one.pk)
    messages.success(request, f"You {'approved' if approve else 'denied'} this request.", extra_tags="good")
    return redirect("request", one.pk)


@require(Permission.REQUEST_SANDBOX)
@require_POST
@translated
def withdraw(request: HttpRequest, request_id: int) -> HttpResponse:
    me = person(request)
    one = queries.request_for(me, request_id)
    try:
        services.withdraw(one.pk, by=me)
    except ConflictError as error:
        messages.warning(request, str(error), extra_tags="wait")
    else:
        messages.success(request, "The request is withdrawn.", extra_tags="good")
    return redirect("request", one.pk)


def _context(request: HttpRequest, one: Request, version: str, chosen: str = "") -> dict[str, Any]:
    """`chosen`: how much was to be granted, of a decision that could not be made."""
    me = person(request)
    return {
        "one": one,
        **_granted(one),
        "decision": Decision.objects.select_related("by").filter(request=one).first(),
        "data_class": DATA_CLASSES.get(one.data_class, one.data_class),
        "answers": _answers(one),
        "own": one.requester_id == me.pk,
        "deciding": _deciding(one, chosen) if queries.may_decide(me, one) else None,
        "own_to_decide": _own_to_decide(me, one),
        "history": queries.history(one.requester) if me.may(Permission.DECIDE_REQUESTS) else None,
        "sandbox_url": _sandbox_url(me, one),
        "version": version,
        "every": _every(one),
    }


def _deciding(one: Request, chosen: str) -> Deciding:
    lengths = {"": f"{in_words(one.duration)}, as asked"}
    lengths |= {value: label for value, label in SHORTER.items() if _is_shorter(value, one.duration)}
    return Deciding(
        reverse("request_decide", args=[one.pk]),
        "The person reads it. Needed to deny; a remark helps when you approve, too.",
        LONGEST_REASON,
        ("deny", "Deny"),
        ("approve", "Approve"),
        (Pick("granted", "Grant", lengths, chosen),),
    )


def _granted(one: Request) -> dict[str, Any]:
    """Of a way out: what was opened, and whether that is for less long than was asked."""
    row = queries.granted_way(one) if one.kind == Kind.EGRESS else None
    return {"granted": row, "shortened": row is not None and row.until < until_of(one.egress)}


def _own_to_decide(me: User, one: Request) -> bool:
    """An approver looks at their own request: the page says why there is nothing to press."""
    return one.state == State.PENDING and one.requester_id == me.pk and me.may(Permission.DECIDE_REQUESTS)


def _answers(one: Request) -> list[tuple[str, str]]:
    """In the order of the form; a question that is no longer asked comes last, by its key."""
    order = [*QUESTIONS, *(key for key in one.answers if key not in QUESTIONS)]
    return [(QUESTIONS.get(key, key), one.answers[key]) for key in order if key in one.answers]


def _is_shorter(value: str, asked: timedelta) -> bool:
    return parse_duration(value) < asked


def _sandbox_url(me: User, one: Request) -> str:
    """Empty when there is none, or when it is not theirs to see."""
    if one.sandbox_id is None or not queries.sandboxes_visible(me).filter(pk=one.sandbox_id).exists():
        return ""
    return reverse("sandbox", args=[one.sandbox_id])


def _every(one: Request) -> int:
    if one.state == State.PENDING:
        return SLOW
    on_its_way = one.sandbox is not None and one.sandbox.phase not in OVER | {Phase.READY}
    return FAST if on_its_way else NEVER
