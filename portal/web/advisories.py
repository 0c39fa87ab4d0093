"""Advisories: what is known to be bad, where it comes from and how old that is, and declaring one of our own."""

import json
from typing import Any, Final

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.accounts.access import person, require
from portal.accounts.models import User
from portal.accounts.permissions import Permission
from portal.approvals import advisories
from portal.approvals.drafts import DraftError
from portal.web import screening_words
from portal.web.respond import page, posts_of, search_text, slice_of, translated
from sandboxes.audit.queries import about
from sandboxes.errors import ConflictError, InvalidInputError
from sandboxes.screening import queries, records, searching
from sandboxes.screening.advisories import LONGEST_REASON, SOURCE
from sandboxes.screening.models import Advisory, Affected
from sandboxes.screening.osv import OWN

PAGE: Final = 50
MOST_ENTRIES: Final = 20
MOST_AFFECTED: Final = 50
MOST_JSON: Final = 200_000  # characters that a page shows
FIELDS: Final = ("ecosystem", "project", "which", "versions", "first", "fixed", "kind", "severity", "why")
KINDS: Final = {
    searching.Kind.MALICIOUS.value: "Malicious",
    searching.Kind.VULNERABLE.value: "Vulnerable",
    searching.Kind.OURS.value: "Declared here",
    searching.Kind.WITHDRAWN.value: "Withdrawn",
}


@require(Permission.REQUEST_SANDBOX)
@require_safe
def advisory_list(request: HttpRequest) -> HttpResponse:
    me, text = person(request), search_text(request)
    chosen = request.GET.get("kind", "")
    kind = searching.Kind(chosen) if chosen in KINDS else None
    after = _mark(request)
    found = searching.search(text, kind, after).defer("document").prefetch_related("affected")
    shown, more = slice_of(list(found[: PAGE + 1]), PAGE)
    context = {
        "lines": [_line(one) for one in shown],
        "next": shown[-1].pk if more else None,
        "after": after.pk if after else "",
        "text": text,
        "kind": kind or "",
        "kinds": KINDS,
        "feeds": _feeds() if me.may(Permission.SEE_ALARMS) else None,
        "here": "advisories",
    }
    return page(request, "advisories", context, part="results")


@require(Permission.REQUEST_SANDBOX)
@require_safe
@translated
def show(request: HttpRequest, advisory_id: str) -> HttpResponse:
    return page(request, "advisory", _context(person(request), searching.get(advisory_id)))


@require(Permission.MANAGE)
@require_http_methods(["GET", "HEAD", "POST"])
@translated
def declare(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        return page(request, "declare", _form(_typed(request)))
    typed = _typed(request)
    try:
        made = advisories.declare(by=person(request), typed=typed)
    except DraftError as error:
        return page(request, "declare", {**_form(typed), "errors": error.errors}, status=422)
    except (InvalidInputError, ConflictError) as error:
        return page(request, "declare", {**_form(typed), "errors": {"": str(error)}}, status=422)
    messages.success(
        request, f"{made.pk} is declared. It holds everywhere within seconds.", extra_tags="good"
    )
    return redirect("advisory", made.pk)


@require(Permission.MANAGE)
@require_POST
@translated
def preview(request: HttpRequest) -> HttpResponse:
    """What it would hit: the panel alone."""
    typed = _typed(request)
    context: dict[str, Any] = {"typed": typed}
    try:
        context["hit"] = advisories.preview(by=person(request), typed=typed)
    except DraftError as error:
        context["missing"] = list(error.errors.values())
    except InvalidInputError as error:
        context["missing"] = [str(error)]
    return page(request, "declare", context, part="hits")


@require(Permission.MANAGE)
@posts_of("advisory")
@translated
def withdraw(request: HttpRequest, advisory_id: str) -> HttpResponse:
    me, reason = person(request), request.POST.get("reason", "").replace("\0", "")
    try:
        advisories.withdraw(advisory_id, by=me, reason=reason)
    except InvalidInputError as error:
        context = {**_context(me, searching.get(advisory_id)), "error": str(error), "reason": reason}
        return page(request, "advisory", context, status=422)
    except ConflictError as error:
        messages.warning(request, str(error), extra_tags="wait")
    else:
        messages.success(request, "Withdrawn. It says nothing any more, within seconds.", extra_tags="good")
    return redirect("advisory", advisory_id)


def _mark(request: HttpRequest) -> Advisory | None:
    """The last one of the page before; a name that is none begins anew."""
    named = request.GET.get("after", "").replace("\0", "")
    return Advisory.objects.filter(pk=named).only("id", "malicious", "modified").first() if named else None


def _line(one: Advisory) -> dict[str, Any]:
    affected = list(one.affected.all())
    return {
        "row": one,
        "badge": screening_words.badge(one),
        "projects": sorted({each.project for each in affected})[:3],
        "more": max(0, len({each.project for each in affected}) - 3),
    }


def _context(me: User, one: Advisory) -> dict[str, Any]:
    affected = list(one.affected.all()[: MOST_AFFECTED + 1])
    text = json.dumps(one.document, indent=2, ensure_ascii=False)
    specific = one.document.get("database_specific")
    return {
        "row": one,
        "badge": screening_words.badge(one),
        "affected": [_affected(each) for each in affected[:MOST_AFFECTED]],
        "more": len(affected) > MOST_AFFECTED,
        "source": _source(one),
        "details": _text(one.document.get("details")),
        "because": _text(specific.get("withdrawn_because")) if isinstance(specific, dict) else "",
        "links": _links(one.document),
        "raw": text[:MOST_JSON],
        "raw_cut": len(text) > MOST_JSON,
        "may_withdraw": advisories.may_withdraw(me, one),
        "longest": LONGEST_REASON,
        "entries": list(about(f"advisory:{one.pk}")[:MOST_ENTRIES]) if me.may(Permission.READ_LEDGER) else [],
        "here": "advisories",
    }


def _affected(row: Affected) -> dict[str, Any]:
    ranges = [screening_words.range_in_words(events) for events in row.ranges]
    return {
        "project": row.project,
        "ecosystem": screening_words.ECOSYSTEMS.get(row.ecosystem, row.ecosystem),
        "ranges": ranges,
        "versions": row.versions[:60],
        "more": max(0, len(row.versions) - 60),
    }


def _source(one: Advisory) -> str:
    if one.source != SOURCE:
        return one.source
    return "Declared here" if one.pk.startswith(OWN) else "Put here by a person"


def _text(value: object) -> str:
    return value.strip()[:20_000] if isinstance(value, str) else ""


def _links(document: dict[str, Any]) -> list[str]:
    """Shown, not followed: a record is a stranger's, so only plain web addresses become links."""
    found = document.get("references")
    urls = [each.get("url") for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    return [url for url in urls if isinstance(url, str) and url.startswith(("https://", "http://"))][:20]


def _feeds() -> list[dict[str, Any]]:
    """Those that are here, and those that are configured and never came."""
    now, feeds = timezone.now(), settings.SCREENING_FEEDS
    configured = {records.named(source) for source in feeds.sources}
    late = {feed.source for feed in queries.behind(now, feeds.longest)}
    rows = list(queries.feeds())
    shown = [
        {
            "source": row.source,
            "succeeded_at": row.succeeded_at,
            "error": row.error,
            "scheduled": row.source in configured,
            "late": row.source in late,
            **_broken(row.source),
        }
        for row in rows
    ]
    known = {row.source for row in rows}
    missing = [{"source": name, "scheduled": True, "late": True} for name in sorted(configured - known)]
    return [*missing, *shown]


def _broken(source: str) -> dict[str, Any]:
    """How many records of the last import could not be read, and the first of them by name."""
    last = about(f"feed:{source}").filter(action__startswith="advisories.import").last()
    data = last.data if last else {}
    return {"broken": data.get("broken", 0), "broken_named": data.get("broken_named", [])}


def _typed(request: HttpRequest) -> dict[str, str]:
    given = request.POST if request.method == "POST" else request.GET
    return {name: given.get(name, "").replace("\0", "") for name in FIELDS}


def _form(typed: dict[str, str]) -> dict[str, Any]:
    chosen = {"ecosystem": "pypi", "which": "all", "kind": "malicious", "severity": "high"}
    return {
        "typed": {name: typed[name] or chosen.get(name, "") for name in FIELDS},
        "ecosystems": screening_words.ECOSYSTEMS,
        "severities": screening_words.SEVERITIES,
        "longest": advisories.LONGEST_WHY,
        "here": "advisories",
    }
