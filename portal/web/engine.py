"""The engine: whether it runs, whether it may delete, what it works on, and what belongs to nobody."""

from collections.abc import Callable
from typing import Any, Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe

from portal.accounts.access import person, require
from portal.accounts.models import User
from portal.accounts.permissions import Permission
from portal.web.respond import page, posts_of, translated
from sandboxes.errors import ConflictError, InvalidInputError
from sandboxes.lifecycle import orphans, queries, restore, switch
from sandboxes.lifecycle.models import Alarm, Orphan

MOST: Final = 100


@require(Permission.OPERATE)
@require_safe
def engine(request: HttpRequest) -> HttpResponse:
    return page(request, "engine", _context())


@require(Permission.OPERATE)
@posts_of("engine")
@translated
def act(request: HttpRequest) -> HttpResponse:
    """One of the switches, by the name of its button, always with a reason that everybody can read."""
    asked = request.POST.get("action", "")
    if asked not in _ACTIONS:
        raise Http404("There is no such switch.")
    run, said = _ACTIONS[asked]
    reason = request.POST.get("reason", "").replace("\0", "").strip()
    try:
        run(person(request), reason)
    except (InvalidInputError, ConflictError) as error:
        context = {**_context(), "error": str(error), "asked": asked, "reason": reason}
        return page(request, "engine", context, status=422)
    messages.success(request, said, extra_tags="good")
    return redirect("engine")


@require(Permission.OPERATE)
@require_POST
@translated
def orphan(request: HttpRequest, orphan_id: int, action: str) -> HttpResponse:
    """Leaves one alone for good, or lets it go before its time."""
    runs = {"keep": orphans.keep_one, "delete": orphans.delete_now}
    if action not in runs:
        raise Http404("There is no such action.")
    try:
        runs[action](orphan_id, by=person(request))
    except ConflictError as error:
        messages.warning(request, str(error), extra_tags="wait")
    else:
        told = "It is left alone." if action == "keep" else "It is deleted at the next look."
        messages.success(request, told, extra_tags="good")
    return redirect("engine")


_ACTIONS: Final[dict[str, tuple[Callable[[User, str], Any], str]]] = {
    "pause": (switch.pause, "Paused. Steps under way are finished."),
    "resume": (lambda me, reason: switch.resume(me), "Running again."),
    "allow": (switch.allow_deletions, "Deletions go on."),
    "confirm": (restore.confirm, "Confirmed; deletions go on."),
}


def _context() -> dict[str, Any]:
    open_ = Orphan.objects.filter(gone_at=None).select_related("kept_by").order_by("id")
    return {
        "state": switch.state(),
        "restored": Alarm.objects.filter(kind="restored", cleared_at=None).first(),
        "load": queries.load(),
        "orphans": list(open_[:MOST]),
    }
