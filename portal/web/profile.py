"""Who I am here, and my API tokens."""

from datetime import timedelta
from typing import Any, Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from portal.accounts import tokens
from portal.accounts.access import person, require
from portal.accounts.models import User
from portal.accounts.permissions import Permission
from portal.web.respond import page, posts_of, translated
from sandboxes.errors import InvalidInputError

EXPIRIES: Final = {"7": "7 days", "30": "30 days", "90": "90 days", "365": "1 year"}
MOST_SHOWN: Final = 100


@require(Permission.REQUEST_SANDBOX)
@require_safe
def profile(request: HttpRequest) -> HttpResponse:
    return page(request, "profile", _context(person(request)))


@require(Permission.REQUEST_SANDBOX)
@posts_of("profile")
@translated
def issue_token(request: HttpRequest) -> HttpResponse:
    """The token's text is in this answer and nowhere else, so this is the one POST that does not redirect."""
    me = person(request)
    name = request.POST.get("name", "").replace("\0", "").strip()
    days = request.POST.get("days", "")
    try:
        token, text = tokens.issue(user=me, name=name, expires_in=_length(days), by=me)
    except InvalidInputError as error:
        context = {**_context(me), "error": str(error), "name": name, "days": days}
        return page(request, "profile", context, part="tokens", status=422)
    return page(request, "profile", {**_context(me), "made": token, "text": text}, part="tokens")


@require(Permission.REQUEST_SANDBOX)
@require_POST
@translated
def revoke_token(request: HttpRequest, token_id: int) -> HttpResponse:
    me = person(request)
    token = me.api_tokens.filter(pk=token_id).first()
    if token is None:
        raise Http404("You have no such token.")
    tokens.revoke(token, by=me)
    messages.success(request, f"The token “{token.name}” no longer works.", extra_tags="good")
    return redirect("profile")


def _length(days: str) -> timedelta:
    if days not in EXPIRIES:
        raise InvalidInputError("Choose when the token expires.")
    return timedelta(days=int(days))


def _context(me: User) -> dict[str, Any]:
    working = me.api_tokens.filter(revoked_at=None, expires_at__gt=timezone.now())
    return {
        "me": me,
        "tokens": working.order_by("-id")[:MOST_SHOWN],
        "expiries": EXPIRIES,
        "days": "90",
    }
