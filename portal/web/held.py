"""Held files: what screening found in each, beside the previous release's code, and the decision about it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import NoReverseMatch, reverse
from django.views.decorators.http import require_safe

from portal.accounts.access import person, require
from portal.accounts.models import User
from portal.accounts.permissions import Permission
from portal.approvals import held as approvals
from portal.web import screening_words
from portal.web.deciding import Deciding
from portal.web.respond import page, posts_of, search_text, slice_of, translated
from sandboxes.audit.queries import about
from sandboxes.errors import ConflictError, InvalidInputError
from sandboxes.index.models import File, Tarball
from sandboxes.index.storage.folder import Folder
from sandboxes.lifecycle.models import Sandbox
from sandboxes.screening import deciding, held, scale
from sandboxes.screening.comparing import asking
from sandboxes.screening.comparing.rows import shown
from sandboxes.screening.findings import Ability, Found, Threat
from sandboxes.screening.models import Verdict
from sandboxes.screening.package import Facts
from sandboxes.screening.words import Ecosystem

PAGE: Final = 50
DECIDED: Final = 20
MOST_ENTRIES: Final = 20
MOST_FOUND: Final = 60  # findings that are told one by one
_GRAVEST: Final = list(reversed(Threat))


@dataclass(frozen=True)
class Line:
    """A held file in a list. `why`: its gravest findings, one sentence each."""

    row: Verdict
    name: str
    level: tuple[str, str]
    why: list[str]
    more: int
    waits: list[Sandbox]
    own: bool


@dataclass(frozen=True)
class Group:
    """What one ability's findings are, the gravest first."""

    title: str
    what: str
    look: str
    threat: str
    found: list[
        tuple[Found, tuple[str, str, str], str]
    ]  # the last: where in the code it is on this page, if it is


@require(Permission.DECIDE_REQUESTS)
@require_safe
def held_list(request: HttpRequest) -> HttpResponse:
    text = search_text(request)
    rows, more = slice_of(list(held.waiting(text)[: PAGE + 1]), PAGE)
    context = {
        "lines": lines(person(request), rows),
        "more": more,
        "text": text,
        "decided": [(row, screening_words.state(row)) for row in held.decided()[:DECIDED]],
        "here": "held",
    }
    return page(request, "held", context, part="results")


@require(Permission.DECIDE_REQUESTS)
@require_safe
@translated
def show(request: HttpRequest, sha256: str) -> HttpResponse:
    return page(request, "held_file", _context(person(request), held.get(sha256)))


@require(Permission.DECIDE_REQUESTS)
@posts_of("held_file")
@translated
def decide(request: HttpRequest, sha256: str) -> HttpResponse:
    me = person(request)
    act = _ACTS.get(request.POST.get("decision", ""))
    reason = request.POST.get("reason", "").replace("\0", "")
    try:
        if act is None:
            raise InvalidInputError("Choose what to decide.")
        act[0](sha256, by=me, reason=reason)
    except InvalidInputError as error:
        context = {**_context(me, held.get(sha256)), "error": str(error), "typed": {"reason": reason}}
        return page(request, "held_file", context, status=422)
    except ConflictError as error:
        messages.warning(request, str(error), extra_tags="wait")
    else:
        messages.success(request, act[1], extra_tags="good")
    return redirect("held_file", sha256)


_ACTS: Final[dict[str, tuple[Callable[..., Verdict], str]]] = {
    "release": (approvals.release, "Released. It is given within seconds, whoever asks."),
    "block": (approvals.block, "Blocked. It is given to nobody any more."),
    "reopen": (approvals.reopen, "Held again, until somebody decides anew."),
}


def lines(me: User, rows: Iterable[Verdict]) -> list[Line]:
    found = list(rows)
    waits = held.who_waits(found)
    return [_line(me, row, waits.get(row.pk, [])) for row in found]


def name_of(row: Verdict) -> str:
    """A stranger chose these names: what a browser would hide is written out."""
    return shown(f"{row.project} {row.version}".strip() or row.filename or row.sha256[:12], 120)


def _line(me: User, row: Verdict, waits: list[Sandbox]) -> Line:
    found = _gravest(scale.found_in(row.findings))
    why = [row.broken] if row.broken else []
    why += list(dict.fromkeys(each.why for each in found))
    own = any(box.owner_id == me.pk for box in waits)
    return Line(row, name_of(row), screening_words.state(row), why[:3], max(0, len(why) - 3), waits, own)


def _context(me: User, row: Verdict) -> dict[str, Any]:
    waits = held.who_waits([row]).get(row.pk, [])
    found = _gravest(scale.found_in(row.findings))
    code = _code(row, found)
    return {
        "row": row,
        "name": name_of(row),
        "filename": shown(row.filename, 200),
        "ecosystem": screening_words.ECOSYSTEMS.get(row.ecosystem, row.ecosystem),
        "state": screening_words.state(row),
        "level": screening_words.LEVELS.get(row.level),
        "waits": waits,
        "groups": _groups(found[:MOST_FOUND], _anchors(code)),
        "more_found": max(0, len(found) - MOST_FOUND),
        "code": code,
        "deciding": _deciding(me, row, waits),
        "may_reopen": approvals.may_reopen(me, row),
        "longest": deciding.LONGEST_REASON,
        "entries": list(about(f"file:{row.sha256}")[:MOST_ENTRIES]),
        "why_url": _why(row),
        "here": "held",
    }


def _why(row: Verdict) -> str:
    """The page that explains policy; a name or version that no address can hold has none."""
    try:
        return reverse("why", args=[row.ecosystem, row.project, row.version])
    except NoReverseMatch:
        return ""


def _deciding(me: User, row: Verdict, waits: list[Sandbox]) -> Deciding | None:
    if not approvals.may_decide(me, row):
        return None
    action = reverse("held_file_decide", args=[row.pk])
    hint = "The other approvers and auditors read it. It holds for these very bytes, for good."
    block = ("block", "Block")
    if not approvals.may_release(me, row, waits):
        limit = "Your own sandbox waits for this file, so another approver releases it. You may block it."
        return Deciding(action, hint, deciding.LONGEST_REASON, block, None, limit=limit)
    return Deciding(action, hint, deciding.LONGEST_REASON, block, ("release", "Release"))


def _gravest(found: Iterable[Found]) -> list[Found]:
    return sorted(found, key=lambda each: (_GRAVEST.index(each.threat), each.path, each.line))


def _anchors(code: dict[str, Any]) -> dict[tuple[str, int], str]:
    """Path and line, as they are shown → the row's id, of rows in which something was found."""
    return {
        (path, line.new): f"code-{number}-{line.new}"
        for number, (path, one) in enumerate(code.get("codes", ()), 1)
        for line in one.rows
        if line.found
    }


def _groups(found: list[Found], anchors: dict[tuple[str, int], str]) -> list[Group]:
    """By ability, that with the gravest finding first."""
    order = list(dict.fromkeys(each.ability for each in found))
    ranked = sorted(found, key=lambda each: order.index(each.ability))
    return [
        _group(ability, list(of), anchors) for ability, of in groupby(ranked, key=lambda each: each.ability)
    ]


def _group(ability: Ability, found: list[Found], anchors: dict[tuple[str, int], str]) -> Group:
    title, what = screening_words.ABILITIES[ability]
    threat, look, _ = screening_words.THREATS[found[0].threat]
    told = [
        (
            _safe(each),
            screening_words.THREATS[each.threat],
            anchors.get((shown(each.path), max(1, each.line)), ""),
        )
        for each in found
    ]
    return Group(title, what, look, threat, told)


def _safe(found: Found) -> Found:
    excerpt = "\n".join(shown(line) for line in found.excerpt.splitlines())
    return Found(
        found.rule, found.ability, found.threat, shown(found.why, 500), shown(found.path), found.line, excerpt
    )


def _code(row: Verdict, found: Iterable[Found]) -> dict[str, Any]:
    """The files inside it that something was found in, as far as the bytes can be reached from here."""
    places: dict[str, list[int]] = {}
    for each in found:
        if each.path:
            places.setdefault(each.path, []).append(each.line)
    file = _source(row.sha256, row)
    if file is None:
        return {"error": _NOT_HERE, "wanted": bool(places)}
    if not places:
        return {}
    former = _former(row)
    answer = asking.compare(file, former, places)
    return {
        "codes": [(shown(one.path), one) for one in answer.codes],
        "error": answer.error,
        "left_out": answer.left_out,
        "former": former is not None,
        "no_former": "" if former else _no_former(row),
        "wanted": True,
    }


_NOT_HERE: Final = (
    "Its bytes cannot be read from here: the index keeps files in a bucket or on another machine, or does not "
    "have this one."
)


def _no_former(row: Verdict) -> str:
    if not row.former_sha256:
        return "There is no previous release to compare it with."
    return "The previous release’s bytes cannot be read from here."


def _former(row: Verdict) -> asking.Source | None:
    if not row.former_sha256:
        return None
    known = Verdict.objects.filter(pk=row.former_sha256).first()
    return _source(row.former_sha256, known or _listed(row))


def _listed(row: Verdict) -> Verdict | None:
    """The previous release as the index knows it, if screening never looked at it."""
    file = File.objects.filter(project=row.project, sha256=row.former_sha256).first()
    if file is None:
        return None
    return Verdict(
        sha256=file.sha256,
        ecosystem=row.ecosystem,
        project=file.project,
        version=file.version,
        filename=file.filename,
    )


def _source(sha256: str, known: Verdict | None) -> asking.Source | None:
    if known is None or not known.filename:
        return None
    path = Folder(settings.INDEX_FILES).place(_stored_as(sha256, known))
    if not path.is_file():
        return None
    facts = Facts(
        filename=known.filename,
        ecosystem=known.ecosystem or "pypi",
        project=known.project,
        version=known.version,
    )
    return asking.Source(str(path), facts)


def _stored_as(sha256: str, known: Verdict) -> str:
    """The file's name in the storage: npm's are kept by the digest that npm names."""
    if known.ecosystem != Ecosystem.NPM:
        return sha256
    return Tarball.objects.filter(sha256=sha256).values_list("integrity", flat=True).first() or sha256
