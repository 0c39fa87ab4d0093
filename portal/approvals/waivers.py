"""Waivers: who may ask for one, decide, end it, and break the glass. What each means is in `sandboxes.index`.

Everybody asks, for a sandbox of their own; whoever decides requests decides, and may only narrow what was
asked for. What is admins' alone (`policy.rules.ADMINS_ALONE`) they grant, and others may but refuse. Nobody
decides their own. Breaking the glass needs no one else, so it is an admin's, short, and loud: with an alarm
that stays open for as long as it holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction

from portal.accounts.models import User
from portal.accounts.permissions import Permission, refusal
from portal.approvals.drafts import DraftError
from portal.approvals.moments import parse_until
from portal.approvals.queries import sandbox_for
from portal.approvals.waiver_queries import may_end, waiver_for
from sandboxes.errors import ConflictError, InvalidInputError, NotFoundError, RefusedError
from sandboxes.index import waivers
from sandboxes.index.models import Waiver
from sandboxes.index.names import is_project, normalise
from sandboxes.index.npm import names as npm
from sandboxes.index.policy.facts import Ecosystem
from sandboxes.index.policy.rules import Rule
from sandboxes.index.policy.waivers import Scope
from sandboxes.index.waivers import About, State
from sandboxes.lifecycle import alarms, clock
from sandboxes.lifecycle.models import Alarm, Sandbox
from sandboxes.lifecycle.phases import LIVE

USUALLY: Final = "P30D"
LONGEST_BREAK_GLASS: Final = timedelta(days=1)
USUAL_BREAK_GLASS: Final = "PT4H"
ALARM: Final = "break_glass"
# From the fewest to all; a decision may go up this list, never down.
WIDTH: Final = (Scope.SANDBOX, Scope.PERSON, Scope.DEPARTMENT, Scope.ALL)
MOST_TEXT: Final = waivers.LONGEST_REASON
_MOST_WAITING = 20  # of one person
_LONGEST_VERSION = 200


@dataclass(frozen=True)
class Typed:
    """As it came from a form or the API. `until` is ISO 8601; `sandbox` is where it is needed, if there is one."""

    ecosystem: str
    project: str
    version: str
    scope: str
    reason: str
    until: str = ""
    sandbox: int | None = None


def about(ecosystem: str, project: str, version: str) -> About:
    """What an address or a form means. NotFoundError for what can be no package."""
    try:
        which = Ecosystem(ecosystem)
    except ValueError:
        raise NotFoundError(f"There is no ecosystem {ecosystem[:20]!r}.") from None
    version = version.strip()
    if len(version) > _LONGEST_VERSION or not version.isprintable():
        raise NotFoundError("There is no version of such a name.")
    if which is Ecosystem.PYPI:
        if not is_project(project):
            raise NotFoundError("There is no project of such a name.")
        return About(which, normalise(project), version)
    if not npm.is_name(project):
        raise NotFoundError("There is no project of such a name.")
    return About(which, project, version)


@transaction.atomic
def ask(*, by: User, typed: Typed, rules: Sequence[str]) -> list[Waiver]:
    """One waiver for each rule, in the order given. Raises DraftError with what is wrong with which field."""
    _require(by, Permission.REQUEST_SANDBOX)
    User.objects.select_for_update(no_key=True).get(pk=by.pk)  # two forms of one person wait for each other
    what = about(typed.ecosystem, typed.project, typed.version)
    errors: dict[str, str] = {}
    known = _rules(rules, errors)
    scope, until = _scope(typed, errors), _until(typed.until or USUALLY, errors)
    _check_reason(typed.reason, errors)
    if errors or scope is None or until is None:
        raise DraftError(errors)
    sandbox = _own(by, typed.sandbox)
    if Waiver.objects.filter(asked_by=by, state=State.ASKED).count() + len(known) > _MOST_WAITING:
        raise ConflictError(f"You have {_MOST_WAITING} waivers that wait for a decision already.")
    return [
        waivers.ask(
            about=what, rule=rule, scope=scope, sandbox=sandbox, until=until, reason=typed.reason, by=by
        )
        for rule in known
    ]


@transaction.atomic
def decide(waiver_id: int, *, by: User, grant: bool, reason: str, until: str = "", scope: str = "") -> Waiver:
    """`until`, `scope`: less than what was asked for. Of two decisions at once the second is refused."""
    _require(by, Permission.DECIDE_REQUESTS)
    waiver = waiver_for(by, waiver_id)
    if not grant:
        if not reason.strip():
            raise InvalidInputError("Say why it is refused: the person who asked will read it.")
        return waivers.decide(waiver.pk, grant=False, by=by, note=reason)
    return waivers.decide(
        waiver.pk,
        grant=True,
        by=by,
        as_admin=by.may(Permission.GRANT_ANY_WAIVER),
        note=reason,
        until=_sooner(waiver, until),
        scope=_narrower(waiver, scope),
    )


def withdraw(waiver_id: int, *, by: User) -> Waiver:
    return waivers.withdraw(waiver_for(by, waiver_id).pk, by=by)


@transaction.atomic
def end(waiver_id: int, *, by: User, reason: str) -> Waiver:
    """Before its date: whoever asked for it, and whoever decides on them."""
    waiver = waiver_for(by, waiver_id)
    if not may_end(by, waiver):
        raise RefusedError("This waiver is not yours to end.")
    if not reason.strip():
        raise InvalidInputError("Say why it is ended: whoever asked for it will read it.")
    ended = waivers.end(waiver.pk, by=by, note=reason)
    if ended.break_glass:
        alarms.clear(ALARM, f"waiver:{ended.pk}", by=by)
    return ended


@transaction.atomic
def break_glass(*, by: User, typed: Typed) -> Waiver:
    """Opens it at once, against every rule but the one that nothing lifts; every approver and admin is told."""
    _require(by, Permission.BREAK_GLASS)
    what = about(typed.ecosystem, typed.project, typed.version)
    errors: dict[str, str] = {}
    scope, until = _scope(typed, errors), _until(typed.until or USUAL_BREAK_GLASS, errors)
    _check_reason(typed.reason, errors)
    if until and until > clock.now() + LONGEST_BREAK_GLASS + timedelta(minutes=5):
        errors["until"] = "Broken glass holds for at most one day; ask for a waiver meanwhile."
    if errors or scope is None or until is None:
        raise DraftError(errors)
    sandbox = _live(sandbox_for(by, typed.sandbox)) if typed.sandbox is not None else None
    waiver = waivers.break_glass(
        about=what, scope=scope, sandbox=sandbox, until=until, reason=typed.reason, by=by
    )
    alarms.alarm(ALARM, f"waiver:{waiver.pk}", _told(waiver, by))
    return waiver


@transaction.atomic
def close_over() -> None:
    """Clears the alarms of broken glass that is over by its date."""
    open_ = Alarm.objects.filter(kind=ALARM, cleared_at=None).values_list("subject", flat=True)
    numbers = [int(subject.removeprefix("waiver:")) for subject in open_]
    over = Waiver.objects.filter(pk__in=numbers, until__lte=clock.Now()).order_by("pk")
    for number in over.values_list("pk", flat=True):
        alarms.clear(ALARM, f"waiver:{number}", by=None)


def _told(waiver: Waiver, by: User) -> str:
    version = f" {waiver.version}" if waiver.version else ", every version"
    whom = {
        Scope.SANDBOX: f"sandbox {waiver.subject}",
        Scope.PERSON: "one person",
        Scope.DEPARTMENT: f"department {waiver.subject}",
        Scope.ALL: "everybody",
    }[Scope(waiver.scope)]
    return (
        f"{by} opened {waiver.project}{version} to {whom} against every rule, "
        f"until {waiver.until:%Y-%m-%d %H:%M} UTC: {waiver.reason}"
    )


def _require(by: User, permission: Permission) -> None:
    if not by.may(permission):
        raise RefusedError(refusal([permission]))


def _own(by: User, sandbox_id: int | None) -> Sandbox | None:
    if sandbox_id is None:
        return None
    sandbox = Sandbox.objects.filter(pk=sandbox_id, owner=by).first()
    if sandbox is None:
        raise NotFoundError("You have no such sandbox.")
    return _live(sandbox)


def _live(sandbox: Sandbox) -> Sandbox:
    if sandbox.phase not in LIVE:
        raise ConflictError(f"This sandbox is {sandbox.phase}; a waiver is for a live one.")
    return sandbox


def _rules(names: Sequence[str], errors: dict[str, str]) -> list[Rule]:
    known = [Rule(name) for name in dict.fromkeys(names) if name in set(Rule)]
    if not known or len(known) < len(set(names)):
        errors["rule"] = f"Name a rule: {', '.join(Rule)}."
    return known


def _scope(typed: Typed, errors: dict[str, str]) -> Scope | None:
    if typed.scope not in set(Scope):
        errors["scope"] = f"Choose for whom: {', '.join(Scope)}."
        return None
    if typed.sandbox is None and typed.scope in (Scope.SANDBOX, Scope.DEPARTMENT):
        errors["scope"] = f"Name the sandbox whose {typed.scope} it is for."
    return Scope(typed.scope)


def _until(text: str, errors: dict[str, str]) -> datetime | None:
    now = clock.now()
    try:
        until = parse_until(text, now)
    except InvalidInputError as error:
        errors["until"] = str(error)
        return None
    if not now < until <= now + waivers.LONGEST:
        errors["until"] = f"It has to end after now, and within {waivers.LONGEST.days} days."
    return until


def _check_reason(reason: str, errors: dict[str, str]) -> None:
    if not reason.strip():
        errors["reason"] = "Say what it is needed for: whoever decides reads it."
    elif len(reason.strip()) > MOST_TEXT or "\0" in reason:
        errors["reason"] = f"Keep it below {MOST_TEXT} plain characters."


def _sooner(waiver: Waiver, text: str) -> datetime | None:
    if not text.strip():
        return None
    until = parse_until(text, clock.now())
    if until > waiver.until:
        raise InvalidInputError(
            f"It was asked for until {waiver.until:%Y-%m-%d %H:%M} UTC; grant no longer than that."
        )
    return until


def _narrower(waiver: Waiver, scope: str) -> Scope | None:
    if not scope:
        return None
    if scope not in narrower(waiver):
        raise InvalidInputError("A decision may narrow for whom it holds, never widen it.")
    return Scope(scope)


def narrower(waiver: Waiver) -> list[Scope]:
    """For whom it could be granted: as asked, or for fewer."""
    asked = WIDTH.index(Scope(waiver.scope))
    needs_sandbox = (Scope.SANDBOX, Scope.DEPARTMENT)
    return [
        scope
        for scope in WIDTH[: asked + 1]
        if waiver.sandbox is not None or scope not in needs_sandbox
        if scope is not Scope.DEPARTMENT or (waiver.sandbox is not None and waiver.sandbox.department)
    ]
