"""Alarms: what a person has to look at. Raising one again counts on in the same row, so a loop cannot flood.

A new alarm goes to the ledger; a repetition does not. Pages show the open ones to whoever may see them.
"""

from django.db import transaction
from django.db.models import F

from sandboxes.audit.services import Actor, record
from sandboxes.errors import NotFoundError
from sandboxes.lifecycle import clock
from sandboxes.lifecycle.models import Alarm


def alarm(kind: str, subject: str, message: str) -> None:
    """Opens the alarm, or brings the open one up to date. Call it last in a transaction, like `record`."""
    with transaction.atomic():
        told = Alarm.objects.filter(kind=kind, subject=subject, cleared_at=None).update(
            message=message, last_at=clock.Now(), count=F("count") + 1
        )
        if told:
            return
        _, new = Alarm.objects.get_or_create(
            kind=kind, subject=subject, cleared_at=None, defaults={"message": message}
        )
        if new:
            data = {"kind": kind, "message": message}
            record(actor=None, action="alarm.raised", subject=subject, data=data)


def clear(kind: str, subject: str, *, by: Actor | None) -> bool:
    """Closes the open alarm of that kind and subject, if there is one; `by` None: its cause went away by itself."""
    with transaction.atomic():
        closed = Alarm.objects.filter(kind=kind, subject=subject, cleared_at=None).update(
            cleared_at=clock.Now(), cleared_by_id=by.pk if by else None
        )
        if closed:
            record(actor=by, action="alarm.cleared", subject=subject, data={"kind": kind})
    return bool(closed)


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
