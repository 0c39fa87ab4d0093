"""Alarms: what a person has to look at. Raising one again counts on in the same row, so a loop cannot flood.

A new alarm goes to the ledger; a repetition does not. Pages show the open ones to whoever may see them.

Whoever changes several in one transaction does so by `change`: the rows of all of them first, in the order of their
subjects, and then the ledger's entries, because the ledger's lock is held until commit. Two who wait for each other's
rows while one of them holds that lock would wait for ever.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from django.db import transaction
from django.db.models import F

from sandboxes.audit.services import Actor, record
from sandboxes.errors import NotFoundError
from sandboxes.lifecycle import clock
from sandboxes.lifecycle.models import Alarm


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of the alarm of this kind and subject; `message` None: its cause went away, it is cleared."""

    kind: str
    subject: str
    message: str | None


def alarm(kind: str, subject: str, message: str) -> None:
    """Opens the alarm, or brings the open one up to date. Call it last in a transaction, like `record`."""
    change([Change(kind, subject, message)])


def change(changes: Iterable[Change]) -> None:
    """Any number of them. Call it once in a transaction, after everything else but `record`."""
    in_order = sorted(changes, key=lambda one: (one.subject, one.kind))
    with transaction.atomic():
        for one in [one for one in in_order if _write(one)]:
            if one.message is None:
                _told_cleared(one.kind, one.subject, None)
            else:
                data = {"kind": one.kind, "message": one.message}
                record(actor=None, action="alarm.raised", subject=one.subject, data=data)


def clear(kind: str, subject: str, *, by: Actor | None) -> bool:
    """Closes the open alarm of that kind and subject, if there is one; `by` None: its cause went away by itself."""
    with transaction.atomic():
        closed = _close(kind, subject, by)
        if closed:
            _told_cleared(kind, subject, by)
    return closed


def clear_all(subject: str, *, by: Actor | None = None) -> None:
    """Closes every open alarm of a subject that is over, or was decided about."""
    rows = Alarm.objects.filter(subject=subject, cleared_at=None).order_by("id")
    for kind in rows.values_list("kind", flat=True):
        clear(kind, subject, by=by)


def clear_one(alarm_id: int, *, by: Actor) -> Alarm:
    """Closes one alarm by its number; NotFoundError if there is none."""
    found = Alarm.objects.filter(pk=alarm_id).first()
    if found is None:
        raise NotFoundError("There is no such alarm.")
    clear(found.kind, found.subject, by=by)
    return found


def open_count() -> int:
    return Alarm.objects.filter(cleared_at=None).count()


def _write(one: Change) -> bool:
    """Whether the ledger has to know."""
    if one.message is None:
        return _close(one.kind, one.subject, None)
    told = Alarm.objects.filter(kind=one.kind, subject=one.subject, cleared_at=None).update(
        message=one.message, last_at=clock.Now(), count=F("count") + 1
    )
    if told:
        return False
    _, new = Alarm.objects.get_or_create(
        kind=one.kind, subject=one.subject, cleared_at=None, defaults={"message": one.message}
    )
    return new


def _close(kind: str, subject: str, by: Actor | None) -> bool:
    rows = Alarm.objects.filter(kind=kind, subject=subject, cleared_at=None)
    return bool(rows.update(cleared_at=clock.Now(), cleared_by_id=by.pk if by else None))


def _told_cleared(kind: str, subject: str, by: Actor | None) -> None:
    record(actor=by, action="alarm.cleared", subject=subject, data={"kind": kind})
