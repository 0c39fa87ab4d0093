"""The scale as it is now, and changing it: one row, or none, which is `scoring.DEFAULT`."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
from django.db import connection, transaction

from sandboxes.audit.services import Actor, record
from sandboxes.errors import InvalidInputError
from sandboxes.lifecycle import clock
from sandboxes.screening import held, scoring
from sandboxes.screening.findings import Found, Level
from sandboxes.screening.models import Scale as Row

_ROW = 1  # the table has no other
_LOCK = 0x7065747269736361  # any constant: it names the lock under which the row is made


@dataclass(frozen=True)
class Effect:
    """What another scale would make of the files that are held now."""

    held: int  # that nobody decided about
    freed: int  # of these: below the threshold, so that they would not be held
    graver: int  # with more points than now
    milder: int  # with fewer


def current() -> scoring.Scale:
    """An ability that came with a later version of Petridish has its usual points until an admin says otherwise."""
    row = Row.objects.filter(pk=_ROW).first()
    if row is None:
        return scoring.DEFAULT
    usual = scoring.points_as_json(scoring.DEFAULT)
    points = {ability: usual[ability] | row.points.get(ability, {}) for ability in usual}
    return scoring.from_json(points, note=row.note, warn=row.warn, hold=row.hold)


def is_default() -> bool:
    return not Row.objects.filter(pk=_ROW).exists()


def effect(scale: scoring.Scale) -> Effect:
    """Of the findings alone: what is held because it cannot be read, or because somebody wants it looked at
    again, stays held under any scale."""
    now = current()
    freed = graver = milder = total = 0
    for findings, reopened in held.waiting().values_list("findings", "reopened").iterator():
        total += 1
        found = found_in(findings)
        before, points_before = scoring.level_of(found, now)
        after, points = scoring.level_of(found, scale)
        freed += before is Level.HOLD and after is not Level.HOLD and not reopened
        graver += points > points_before
        milder += points < points_before
    return Effect(total, freed, graver, milder)


def found_in(findings: Iterable[Any]) -> list[Found]:
    """As rows keep them. One of an older kind that nobody understands any more counts for nothing."""
    found = []
    for each in findings:
        try:
            found.append(msgspec.convert(each, Found))
        except msgspec.ValidationError:
            continue
    return found


@transaction.atomic
def change(scale: scoring.Scale, *, by: Actor, reason: str) -> bool:
    """Whether it changed anything. Raises `InvalidInputError`."""
    scoring.check(scale)
    reason = _reason(reason)
    _alone()
    before = current()
    if before == scale:
        return False
    values = {"points": scoring.points_as_json(scale), "at": clock.now()}
    thresholds = {"note": scale.note, "warn": scale.warn, "hold": scale.hold}
    Row.objects.update_or_create(pk=_ROW, defaults=values | thresholds)
    data = {"reason": reason, "changed": differences(before, scale)}
    record(actor=by, action="scale.changed", subject="screening", data=data)
    return True


@transaction.atomic
def restore(*, by: Actor, reason: str) -> bool:
    """Back to the default scale, also where a later version of Petridish has another one."""
    reason = _reason(reason)
    _alone()
    before = current()
    deleted, _ = Row.objects.filter(pk=_ROW).delete()
    if not deleted:
        return False
    data = {"reason": reason, "changed": differences(before, scoring.DEFAULT)}
    record(actor=by, action="scale.restored", subject="screening", data=data)
    return True


def differences(before: scoring.Scale, after: scoring.Scale) -> dict[str, list[int]]:
    """Each number that differs: [before, after], by "network/high" or "hold"."""
    then, now = _numbers(before), _numbers(after)
    return {name: [then[name], now[name]] for name in then if then[name] != now[name]}


def _numbers(scale: scoring.Scale) -> dict[str, int]:
    points = {
        f"{ability}/{threat}": number
        for ability, row in scale.points.items()
        for threat, number in row.items()
    }
    return {"note": scale.note, "warn": scale.warn, "hold": scale.hold} | points


def _alone() -> None:
    """Of two that change it at once, the second sees what the first made of it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


def _reason(text: str) -> str:
    reason = text.replace("\0", "").strip()
    if not reason:
        raise InvalidInputError("Say why: the ledger keeps it.")
    if len(reason) > 500:
        raise InvalidInputError("The reason is longer than 500 characters.")
    return reason
