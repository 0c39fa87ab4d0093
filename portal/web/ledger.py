"""The ledger: what happened, newest first, and whether the chain still holds."""

import re
from typing import Final

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from portal.accounts.access import require
from portal.accounts.permissions import Permission
from portal.web.respond import cursor, page, posts_of, search_text, slice_of
from sandboxes.audit import queries, services
from sandboxes.audit.models import Entry

PAGE: Final = 50


@require(Permission.READ_LEDGER)
@require_safe
def ledger(request: HttpRequest) -> HttpResponse:
    about = _subject(search_text(request, "about"))
    before = cursor(request, "before")
    entries, more = slice_of(_entries(about, before), PAGE)
    context = {"entries": entries, "next": entries[-1].pk if more else None, "before": before, "about": about}
    return page(request, "ledger", context, part="results")


@require(Permission.READ_LEDGER)
@posts_of("ledger")
def verify(request: HttpRequest) -> HttpResponse:
    """Recomputes the whole chain: one read of the ledger, so it is asked for, never done by itself."""
    result = services.verify()
    entries, more = slice_of(_entries("", None), PAGE)
    context = {"result": result, "entries": entries, "next": entries[-1].pk if more else None}
    return page(request, "ledger", context, part="verified")


def _subject(typed: str) -> str:
    """ "Sandbox 7" and "sandbox:7" are the same."""
    return re.sub(r"[\s:#]+", ":", typed.lower())


def _entries(about: str, before: int | None) -> list[Entry]:
    if not about:
        return list(queries.newest(before, PAGE + 1))
    rows = queries.about(about).order_by("-id")
    return list((rows.filter(pk__lt=before) if before else rows)[: PAGE + 1])
