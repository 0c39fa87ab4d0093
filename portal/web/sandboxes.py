"""The list of sandboxes: everybody's for those who may see all, one's own for the rest."""

from typing import Final

from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from portal.accounts.access import person, require
from portal.accounts.models import User
from portal.accounts.permissions import Permission
from portal.approvals import queries
from portal.web.respond import cursor, page, search_text, slice_of
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import GOING, LIVE, OVER, Phase
from sandboxes.usage import run_time

PAGE: Final = 50
SHOW: Final = {"live": "Live", "over": "Over", "failed": "Failed", "all": "All"}


@require(Permission.REQUEST_SANDBOX)
@require_safe
def sandboxes(request: HttpRequest) -> HttpResponse:
    me = person(request)
    show = request.GET.get("show", "")
    show = show if show in SHOW else "live"
    text = search_text(request)
    mine = bool(request.GET.get("mine")) or not me.may(Permission.SEE_ALL_SANDBOXES)
    rows = _matching(queries.sandboxes_visible(me), show, text)
    if mine:
        rows = rows.filter(owner=me)
    if before := cursor(request, "before"):
        rows = rows.filter(pk__lt=before)
    found, more = slice_of(list(rows.order_by("-id")[: PAGE + 1]), PAGE)
    counts = {} if mine else run_time.recent(row.pk for row in found)
    context = {
        "rows": [(row, counts.get(row.pk)) for row in found],
        "next": found[-1].pk if more else None,
        "before": before,
        "show": show,
        "choices": SHOW,
        "text": text,
        "mine": mine,
    }
    return page(request, "sandboxes", context, part="results")


def _matching(rows: QuerySet[Sandbox], show: str, text: str) -> QuerySet[Sandbox]:
    phases = {"live": LIVE | GOING, "over": OVER, "failed": {Phase.FAILED}}.get(show)
    if phases:
        rows = rows.filter(phase__in=phases)
    if text:
        people = User.objects.filter(
            Q(username__icontains=text) | Q(display_name__icontains=text) | Q(department__icontains=text)
        )
        rows = rows.filter(Q(owner__in=people) | Q(name=text))
    return rows
