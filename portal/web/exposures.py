"""Who is exposed: the list, one advisory's page with its timeline, the reactions, and what a sandbox's page shows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.views.decorators.http import require_safe

from portal.accounts.access import person, require
from portal.accounts.models import User
from portal.accounts.permissions import Permission
from portal.approvals import queries
from portal.reports import evidence, exposure, sbom
from portal.reports.export import Stream, kept_as
from portal.web.respond import cursor, page, posts_of, search_text, slice_of, translated
from sandboxes.errors import ConflictError, InvalidInputError
from sandboxes.lifecycle.models import Sandbox
from sandboxes.screening import exposures as screening
from sandboxes.screening import reactions as kept
from sandboxes.screening.exposure import DEFAULTS, Action, Kind
from sandboxes.screening.models import Exposure
from sandboxes.screening.sbom import MEDIA_TYPE

PAGE: Final = 50
ON_A_SANDBOX: Final = 20
SHOW: Final = {"open": "Open", "live": "Open, live", "past": "Open, past", "closed": "Closed", "all": "All"}
KINDS: Final = {
    Kind.MALICIOUS.value: ("Malicious", "bad"),
    Kind.CRITICAL.value: ("Critical", "bad"),
    Kind.HIGH.value: ("High", "wait"),
    Kind.MEDIUM.value: ("Medium", "wait"),
    Kind.LOW.value: ("Low", "done"),
}
ACTIONS: Final = {Action.NOTIFY.value: "Tell", Action.ISOLATE.value: "Isolate", Action.END.value: "End"}
_DONE: Final = {Action.NOTIFY.value: "Told", Action.ISOLATE.value: "Isolated", Action.END.value: "Ended"}
_MEANT: Final = {
    Action.NOTIFY.value: "to be told",
    Action.ISOLATE.value: "to be isolated",
    Action.END.value: "to be ended",
}
_EVENTS: Final = {
    "published": "The advisory was published",
    "came": "It came here",
    "changed": "It came here in its newest form",
    "installed": "First received",
    "installed_last": "Last received",
    "found": "Exposures were found",
    "notify": "Owners were told",
    "isolate": "Live sandboxes were isolated",
    "end": "Live sandboxes were ended",
    "withdrawn": "The advisory was withdrawn",
    "closed": "Exposures were closed",
}


@dataclass(frozen=True)
class Shown:
    """One exposure in a table: what was received, and where it stands."""

    row: Exposure
    files: list[exposure.Line]
    kind: tuple[str, str]
    word: str
    look: str


@require(Permission.SEE_ALL_SANDBOXES)
@require_safe
@translated
def exposures(request: HttpRequest) -> HttpResponse:
    context = {**_table(request, ""), "here": "exposures"}
    return page(request, "exposures", context, part="results")


@require(Permission.SEE_ALL_SANDBOXES)
@require_safe
@translated
def exposed(request: HttpRequest, advisory_id: str) -> HttpResponse:
    """Who has what one advisory speaks against."""
    row = exposure.advisory_of(advisory_id)
    context = {
        **_table(request, row.pk),
        "advisory": row,
        "totals": exposure.totals(row),
        "events": [_event(event) for event in exposure.timeline(row)],
        "here": "exposures",
    }
    return page(request, "exposed", context, part="results")


@require(Permission.SEE_ALL_SANDBOXES)
@require_safe
@translated
def exposures_csv(request: HttpRequest) -> HttpResponseBase:
    """All that the page's filters leave, streamed."""
    advisory = search_text(request, "advisory")
    name = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in advisory)
    return exposure.download(_rows(_show(request), advisory), f"exposures-{name or 'all'}.csv")


@require(Permission.MANAGE)
@require_safe
def reactions(request: HttpRequest) -> HttpResponse:
    return page(request, "reactions", _settings({}, ""))


@require(Permission.MANAGE)
@posts_of("reactions")
@translated
def change_reactions(request: HttpRequest) -> HttpResponse:
    typed = {name: value.replace("\0", "") for name, value in request.POST.items() if isinstance(value, str)}
    try:
        wanted = {kind: _action(typed[kind.value]) for kind in Kind if kind.value in typed}
        changed = kept.change(wanted, by=person(request), reason=typed.get("reason", "")[:4000])
    except InvalidInputError as error:
        return page(request, "reactions", _settings(typed, str(error)), status=422)
    said = "Changed. It holds for what is found from now on." if changed else "Nothing was different."
    messages.success(request, said, extra_tags="good")
    return redirect("reactions")


@require(Permission.REQUEST_SANDBOX)
@require_safe
@translated
def sandbox_sbom(request: HttpRequest, sandbox_id: int) -> HttpResponse:
    sandbox = queries.sandbox_for(person(request), sandbox_id)
    headers = kept_as(f"sandbox-{sandbox.pk}.cdx.json")
    return HttpResponse(sbom.of_sandbox(sandbox), content_type=MEDIA_TYPE, headers=headers)


@require(Permission.REQUEST_SANDBOX)
@require_safe
@translated
def evidence_zip(request: HttpRequest, sandbox_id: int) -> HttpResponseBase:
    try:
        name, blocks = evidence.take(sandbox_id, by=person(request))
    except ConflictError as error:
        raise PermissionDenied(str(error)) from error
    return Stream(blocks, content_type="application/zip", headers=kept_as(name))


def shown(viewer: User, sandbox: Sandbox) -> dict[str, Any]:
    """What the sandbox's own page says: what is open first."""
    rows = list(Exposure.objects.filter(sandbox=sandbox).order_by("-found_at")[:ON_A_SANDBOX])
    rows.sort(key=lambda row: row.closed_at is not None)
    lines = _lines(rows)
    return {
        "rows": lines,
        "open": [line for line in lines if line.row.closed_at is None],
        "unfounded": screening.is_unfounded(sandbox),
        "may_take_evidence": evidence.may_take(viewer, sandbox),
        "may_see_all": viewer.may(Permission.SEE_ALL_SANDBOXES),
    }


def version(sandbox: Sandbox) -> tuple[object, ...]:
    """Changes when that does."""
    rows = Exposure.objects.filter(sandbox=sandbox).order_by("-found_at")
    return tuple(rows.values_list("pk", "acted_at", "closed_at", "error")[:ON_A_SANDBOX])


def _table(request: HttpRequest, advisory: str) -> dict[str, Any]:
    show, before = _show(request), cursor(request, "before")
    rows = _rows(show, advisory)
    found, more = slice_of(list((rows.filter(pk__lt=before) if before else rows)[: PAGE + 1]), PAGE)
    return {
        "rows": _lines(found),
        "next": found[-1].pk if more else None,
        "before": before,
        "show": show,
        "choices": SHOW,
    }


def _show(request: HttpRequest) -> str:
    asked = request.GET.get("show", "")
    return asked if asked in SHOW else "open"


def _rows(show: str, advisory: str) -> QuerySet[Exposure]:
    filters: dict[str, Any] = {
        "open": {"is_open": True},
        "live": {"is_open": True, "live": True},
        "past": {"is_open": True, "live": False},
        "closed": {"is_open": False},
        "all": {},
    }
    return exposure.exposures(advisory=advisory, **filters[show])


def _lines(rows: list[Exposure]) -> list[Shown]:
    files: dict[int, list[exposure.Line]] = {}
    for line in exposure.lines(rows):
        files.setdefault(line.exposure, []).append(line)
    return [_shown(row, files.get(row.pk, [])) for row in rows]


def _shown(row: Exposure, files: list[exposure.Line]) -> Shown:
    word, look = _state(row)
    return Shown(row, files, KINDS.get(row.kind, (row.kind.capitalize(), "done")), word, look)


def _state(row: Exposure) -> tuple[str, str]:
    if row.closed_at is not None:
        return "Closed", "done"
    if row.error:
        return f"Failed, tried again: {row.error}", "bad"
    if row.acted_at is None:
        return _MEANT.get(row.action, row.action).capitalize(), "wait"
    if not row.live:
        return "Found after it had ended", "done"
    return _DONE.get(row.action, row.action), "bad" if row.action == Action.ISOLATE else "wait"


def _event(event: exposure.Event) -> dict[str, Any]:
    one = event.number == 1
    number = f"{event.number} sandbox{'' if one else 'es'}" if event.number else ""
    if event.what == "installed":
        number = f"{event.number} file{'' if one else 's'} in all"
    return {"at": event.at, "what": _EVENTS[event.what], "number": number}


def _settings(typed: Mapping[str, str], error: str) -> dict[str, Any]:
    now = kept.all_of()
    return {
        "kinds": [
            {
                "name": kind.value,
                "label": KINDS[kind.value][0],
                "look": KINDS[kind.value][1],
                "chosen": typed.get(kind.value, now[kind].value),
                "usual": ACTIONS[DEFAULTS[kind].value],
            }
            for kind in Kind
        ],
        "actions": ACTIONS,
        "typed": typed,
        "error": error,
        "here": "reactions",
    }


def _action(text: str) -> Action:
    try:
        return Action(text)
    except ValueError as error:
        raise InvalidInputError("Choose what is done about each kind.") from error
