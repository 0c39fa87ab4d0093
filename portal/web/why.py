"""Why a version is not given, and the form to ask for a waiver: the page that pip, uv and npm name."""

from dataclasses import dataclass
from typing import Any, Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from portal.accounts.access import person, require
from portal.accounts.models import User
from portal.accounts.permissions import Permission
from portal.approvals import queries, waiver_queries, waivers, why
from portal.approvals.drafts import DraftError
from portal.web import rule_words
from portal.web.respond import cursor, page, translated
from portal.web.waiver_lines import lines
from sandboxes.errors import ConflictError
from sandboxes.index.policy.rules import ADMINS_ALONE, NEVER_WAIVED, Finding, Rule
from sandboxes.index.policy.waivers import Scope, Subject
from sandboxes.index.waivers import About, State
from sandboxes.lifecycle import clock
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import LIVE
from sandboxes.usage.models import Fetch
from sandboxes.usage.queries import declared_names

LENGTHS: Final = {
    "P1D": "1 day",
    "P7D": "7 days",
    "P30D": "30 days",
    "P90D": "90 days",
    "P365D": "1 year",
}
_SHOWN = 20  # files, waivers, sandboxes to choose from


@dataclass(frozen=True)
class Reason:
    """One rule that speaks against the version, in its own words and in the rule's.

    `on_all`: no file is given as long as it holds.
    """

    finding: Finding
    words: rule_words.Words
    on_all: bool


@dataclass(frozen=True)
class _Choice:
    """A rule to ask a waiver from. `needed`: without it no file is given; `admin`: only an admin grants it."""

    rule: Rule
    title: str
    needed: bool
    admin: bool


@require(Permission.REQUEST_SANDBOX)
@require_http_methods(["GET", "HEAD", "POST"])
@translated
def show(request: HttpRequest, ecosystem: str, project: str, version: str) -> HttpResponse:
    """A POST asks for a waiver."""
    me = person(request)
    what = waivers.about(ecosystem, project, version)
    if request.method != "POST":
        chosen = _chosen(me, what, cursor(request, "sandbox"))
        return page(request, "why", _context(me, what, chosen))
    number = request.POST.get("sandbox", "")
    sandbox_id = int(number) if number.isascii() and number.isdecimal() and len(number) < 19 else None
    typed = {
        name: request.POST.get(name, "").replace("\0", "") for name in ("scope", "until", "reason", "every")
    }
    rules = request.POST.getlist("rule")
    asked = waivers.Typed(
        ecosystem=ecosystem,
        project=project,
        version="" if typed["every"] else version,
        scope=typed["scope"],
        reason=typed["reason"],
        until=typed["until"],
        sandbox=sandbox_id,
    )
    try:
        waivers.ask(by=me, typed=asked, rules=rules)
    except DraftError as error:
        chosen = _chosen(me, what, sandbox_id)
        context = {**_context(me, what, chosen), "errors": error.errors, "typed": {**typed, "rules": rules}}
        return page(request, "why", context, status=422)
    except ConflictError as error:
        messages.warning(request, str(error), extra_tags="wait")
    else:
        who = "An admin" if not ADMINS_ALONE.isdisjoint(rules) else "An approver"
        messages.success(request, f"Asked. {who} decides; this page says what came of it.", extra_tags="good")
    return redirect(address(what, sandbox_id))


def address(what: About, sandbox_id: int | None = None) -> str:
    """Of this page, for one sandbox."""
    url = reverse("why", args=[what.ecosystem.value, what.project, what.version])
    return f"{url}?sandbox={sandbox_id}" if sandbox_id else url


def reasons(explanation: why.Explanation) -> list[Reason]:
    easiest = explanation.easiest
    on_all = {finding.rule for finding in easiest.decision.findings} if easiest else set()
    return [
        Reason(finding, rule_words.RULES[finding.rule], finding.rule in on_all)
        for finding in explanation.findings
    ]


def _context(me: User, what: About, sandbox: Sandbox | None) -> dict[str, Any]:
    subject = why.subject_of(sandbox) if sandbox else Subject(0, me.pk, me.department, "")
    explanation = why.Reader(clock.now()).explain(what, subject)
    known = lines(waiver_queries.on(what, sandbox, me).select_related("asked_by", "decided_by")[:_SHOWN])
    own = sandbox is None or sandbox.owner_id == me.pk
    live = sandbox is None or sandbox.phase in LIVE
    choices = _choices(me, sandbox)
    return {
        "what": what,
        "name": f"{what.project} {what.version}",
        "sandbox": sandbox,
        "own": own,
        "sandboxes": choices,
        "declared": any(what.project in declared_names(box.tools) for box in choices),
        "why": explanation,
        "reasons": reasons(explanation),
        "our_own": rule_words.RULES[Rule.INTERNAL],
        "files": [(one, rule_words.VERDICTS[one.decision.verdict]) for one in explanation.files[:_SHOWN]],
        "more_files": max(0, len(explanation.files) - _SHOWN),
        "waivers": known,
        "waiting": [one for one in known if one.row.state == State.ASKED],
        "form": _form(explanation, sandbox, known) if own and live else None,
        "lengths": LENGTHS,
        "usual": waivers.USUALLY,
        "may_break": me.may(Permission.BREAK_GLASS) and not explanation.given,
    }


def _form(explanation: why.Explanation, sandbox: Sandbox | None, known: list[Any]) -> dict[str, Any] | None:
    """What can be asked for; None when there is nothing to open, nothing opens it, or all of it was asked for."""
    if explanation.our_own or (explanation.listed and not explanation.waivable):
        return None
    asked = {one.row.rule for one in known if one.row.state == State.ASKED}
    found = [each.rule for each in explanation.findings if not each.hold]
    offered = found if explanation.listed else why.WAIVABLE
    rules = [rule for rule in offered if rule not in asked and rule not in NEVER_WAIVED]
    needed = [rule for rule in explanation.needed if rule not in asked]
    if not rules or (explanation.listed and not needed):
        return None
    return {
        "rules": [
            _Choice(rule, rule_words.title(rule), rule in needed, rule in ADMINS_ALONE) for rule in rules
        ],
        "one": not explanation.listed,
        "scopes": _scopes(sandbox),
    }


def _scopes(sandbox: Sandbox | None) -> list[tuple[str, str, str]]:
    """Value, label and what it means, from the fewest to all."""
    if sandbox is None:
        return [
            (Scope.PERSON, "For me", "In all my sandboxes"),
            (Scope.ALL, "For everybody", "Takes a good reason"),
        ]
    department = [(Scope.DEPARTMENT, "For my department", sandbox.department)] if sandbox.department else []
    return [
        (Scope.SANDBOX, "For this sandbox", "And nowhere else"),
        (Scope.PERSON, "For me", "In all my sandboxes"),
        *department,
        (Scope.ALL, "For everybody", "Takes a good reason"),
    ]


def _chosen(me: User, what: About, sandbox_id: int | None) -> Sandbox | None:
    """The one that was named; else, of one's own, the one that asked for this project last, or the newest."""
    if sandbox_id is not None:
        return queries.sandbox_for(me, sandbox_id)
    own = Sandbox.objects.filter(owner=me, phase__in=LIVE).select_related("owner").order_by("-id")
    newest = list(own[:_SHOWN])
    asked = Fetch.objects.filter(sandbox__in=newest, project=what.project, kind="page").order_by("-id")
    last = asked.values_list("sandbox_id", flat=True).first()
    return next((one for one in newest if one.pk == last), newest[0] if newest else None)


def _choices(me: User, chosen: Sandbox | None) -> list[Sandbox]:
    """One's own that are live; for who sees all, everybody's newest. The chosen one is always among them."""
    rows = queries.sandboxes_visible(me).filter(phase__in=LIVE)
    own = list(rows.filter(owner=me)[:_SHOWN])
    others = list(rows.exclude(owner=me)[:_SHOWN])
    found = {one.pk: one for one in [*own, *others, *([chosen] if chosen else [])]}
    return list(found.values())
