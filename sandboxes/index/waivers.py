"""Waivers: asked for, decided, withdrawn, ended; and break-glass. Each step with its ledger entry.

A step is a compare-and-set on `state`: of two people who decide at once, one does and the other is told.
Who may is the portal's to say, but for two things: nobody decides what they asked for themselves, and what is
admins' alone (`policy.rules`) is granted by nobody who does not come as one.
A granted waiver is over by itself at its date; nothing has to run for that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from sandboxes.audit.services import Actor, record
from sandboxes.errors import ConflictError, InvalidInputError, NotFoundError, RefusedError
from sandboxes.index.models import Waiver
from sandboxes.index.names import canonical, is_project, normalise
from sandboxes.index.policy.facts import Ecosystem
from sandboxes.index.policy.rules import ADMINS_ALONE, NEVER_WAIVED, Rule
from sandboxes.index.policy.waivers import Scope
from sandboxes.lifecycle.models import Sandbox

LONGEST: Final = timedelta(days=365)
LONGEST_BREAK_GLASS: Final = timedelta(hours=24, minutes=5)  # a day, and a moment for whoever types its end
LONGEST_REASON: Final = 1000  # characters


class State(StrEnum):
    ASKED = "asked"
    GRANTED = "granted"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"  # by whoever asked, before it was decided
    ENDED = "ended"  # before its date


@dataclass(frozen=True)
class About:
    """What a waiver is about. `version` "" is every version."""

    ecosystem: Ecosystem
    project: str
    version: str = ""


@transaction.atomic
def ask(
    *,
    about: About,
    rule: Rule,
    scope: Scope,
    sandbox: Sandbox | None,
    until: datetime,
    reason: str,
    by: Actor,
) -> Waiver:
    """`sandbox`: where it is needed; a scope of sandbox, person or department is that sandbox's."""
    if rule in NEVER_WAIVED:
        raise RefusedError(f"No waiver opens what the rule “{rule}” refuses.")
    waiver = _made(about, scope, sandbox, until, reason, by)
    waiver.rule = rule.value
    _check_until(until, LONGEST)
    same = {
        name: getattr(waiver, name)
        for name in ("ecosystem", "project", "version", "rule", "scope", "subject", "asked_by_id")
    }
    if Waiver.objects.filter(**same, state=State.ASKED).exists():
        raise ConflictError("You have asked for this already; it waits to be decided.")
    waiver.save()
    _note(waiver, "waiver.asked", by, {"reason": waiver.reason})
    return waiver


@transaction.atomic
def decide(
    waiver_id: int,
    *,
    grant: bool,
    by: Actor,
    as_admin: bool = False,
    note: str = "",
    until: datetime | None = None,
    scope: Scope | None = None,
) -> Waiver:
    """`until`, `scope`: other than what was asked for."""
    waiver = _locked(waiver_id)
    if waiver.asked_by_id == by.pk:
        raise RefusedError("Somebody else has to decide what you asked for.")
    changes: dict[str, Any] = {"note": _text(note)}
    if grant and waiver.rule in ADMINS_ALONE and not as_admin:
        raise RefusedError(f"Only an admin grants a waiver from the rule “{waiver.rule}”.")
    if grant:
        if scope is not None and scope.value != waiver.scope:
            changes |= {"scope": scope.value, "subject": _subject(scope, waiver.sandbox, waiver.asked_by_id)}
        changes["until"] = until or waiver.until
        _check_until(changes["until"], LONGEST)
    state = State.GRANTED if grant else State.REFUSED
    _move(waiver, State.ASKED, state, changes | {"decided_by_id": by.pk, "decided_at": Now()})
    _note(waiver, f"waiver.{state}", by, {"note": waiver.note})
    return waiver


@transaction.atomic
def withdraw(waiver_id: int, *, by: Actor) -> Waiver:
    waiver = _locked(waiver_id)
    if waiver.asked_by_id != by.pk:
        raise RefusedError("Only who asked for it can withdraw it.")
    _move(waiver, State.ASKED, State.WITHDRAWN, {})
    _note(waiver, "waiver.withdrawn", by, {})
    return waiver


@transaction.atomic
def end(waiver_id: int, *, by: Actor, note: str) -> Waiver:
    """Before its date."""
    waiver = _locked(waiver_id)
    _move(waiver, State.GRANTED, State.ENDED, {"note": _text(note)})
    _note(waiver, "waiver.ended", by, {"note": waiver.note})
    return waiver


@transaction.atomic
def break_glass(
    *, about: About, scope: Scope, sandbox: Sandbox | None, until: datetime, reason: str, by: Actor
) -> Waiver:
    """Holds at once, against every rule but the one that nothing lifts. Short, and with an entry of its own name."""
    waiver = _made(about, scope, sandbox, until, reason, by)
    _check_until(until, LONGEST_BREAK_GLASS)
    waiver.state, waiver.break_glass = State.GRANTED, True
    waiver.decided_by_id, waiver.decided_at = by.pk, timezone.now()
    waiver.save()
    _note(waiver, "waiver.break_glass", by, {"reason": waiver.reason})
    return waiver


def _made(
    about: About, scope: Scope, sandbox: Sandbox | None, until: datetime, reason: str, by: Actor
) -> Waiver:
    reason = _text(reason)
    if not reason:
        raise InvalidInputError("Say what it is needed for: whoever decides reads it.")
    pypi = about.ecosystem is Ecosystem.PYPI
    if pypi and not is_project(about.project):
        raise InvalidInputError("There is no project of such a name.")
    return Waiver(
        ecosystem=about.ecosystem.value,
        project=normalise(about.project) if pypi else about.project,
        version=canonical(about.version) if pypi and about.version else about.version,
        scope=scope.value,
        subject=_subject(scope, sandbox, by.pk),
        sandbox=sandbox,
        reason=reason,
        asked_by_id=by.pk,
        until=until,
    )


def _subject(scope: Scope, sandbox: Sandbox | None, asker: int) -> str:
    match scope:
        case Scope.ALL:
            return ""
        case Scope.PERSON:
            return str(sandbox.owner_id if sandbox else asker)
        case Scope.SANDBOX if sandbox is not None:
            return str(sandbox.pk)
        case Scope.DEPARTMENT if sandbox is not None and sandbox.department:
            return sandbox.department
    raise InvalidInputError(f"There is no {scope} that this could hold for.")


def _check_until(until: datetime, longest: timedelta) -> None:
    now = timezone.now()
    if not now < until <= now + longest + timedelta(minutes=5):  # a form may have been open for a while
        raise InvalidInputError(f"It has to end after now, and within {longest.days} days.")


def _text(text: str) -> str:
    text = text.strip()
    if len(text) > LONGEST_REASON:
        raise InvalidInputError(f"That is more than {LONGEST_REASON} characters.")
    return text


def _locked(waiver_id: int) -> Waiver:
    waiver = (
        Waiver.objects.select_for_update(of=("self",)).select_related("sandbox").filter(pk=waiver_id).first()
    )
    if waiver is None:
        raise NotFoundError("There is no such waiver.")
    return waiver


def _move(waiver: Waiver, before: State, after: State, changes: Mapping[str, Any]) -> None:
    moved = Waiver.objects.filter(pk=waiver.pk, state=before).update(state=after, **changes)
    if not moved:
        raise ConflictError(f"This waiver is not {before} any more: it is {waiver.state}.")
    waiver.refresh_from_db()


def _note(waiver: Waiver, action: str, by: Actor, data: Mapping[str, Any]) -> None:
    """Who, what and until when stands in every entry, so that one says it all."""
    about = {
        "ecosystem": waiver.ecosystem,
        "project": waiver.project,
        "version": waiver.version,
        "rule": waiver.rule or "every rule",
        "scope": waiver.scope,
        "subject": waiver.subject,
        "until": waiver.until,
    }
    record(actor=by, action=action, subject=f"waiver:{waiver.pk}", data={**about, **data})
