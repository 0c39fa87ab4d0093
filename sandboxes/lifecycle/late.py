"""Isolations that a cluster does not carry out: a pass over the database that says so, loudly.

In the row a sandbox is isolated at once. On a cluster that is down, or refuses, or whose node
does not obey, it goes on running with its network, and nobody would look at the page
of one sandbox to find out.
"""

from datetime import timedelta
from typing import Final

from django.db import transaction

from sandboxes.audit.queries import about
from sandboxes.lifecycle import alarms, clock
from sandboxes.lifecycle.models import Alarm, Sandbox
from sandboxes.lifecycle.phases import Phase

ALARM: Final = "not_cut_off"
_AFTER: Final = timedelta(minutes=2)
# Each of them begins a cut: what somebody puts back is cut off anew.
_BEGINNINGS: Final = ("sandbox.isolated", "sandbox.isolation_broken")


def check() -> None:
    """Raises the alarm for each that waits too long and has none open."""
    rows = Sandbox.objects.filter(phase=Phase.ISOLATED, cut_at=None, phase_at__lt=clock.Now() - _AFTER)
    for sandbox in rows.order_by("pk"):
        _tell(sandbox)


def over(sandbox: Sandbox) -> None:
    """It is cut off now, or was released."""
    alarms.clear(ALARM, _subject(sandbox), by=None)


def _tell(sandbox: Sandbox) -> None:
    subject = _subject(sandbox)
    if Alarm.objects.filter(kind=ALARM, subject=subject, cleared_at=None).exists():
        return
    began = about(subject).filter(action__in=_BEGINNINGS).last()
    if began is not None and clock.now() - began.at <= _AFTER:
        return
    why = sandbox.last_error or "Nobody has said why."
    message = f"{sandbox} is isolated and not cut off on cluster {sandbox.cluster} yet. {why}"
    with transaction.atomic():
        locked = Sandbox.objects.select_for_update(no_key=True).filter(pk=sandbox.pk)
        if locked.filter(phase=Phase.ISOLATED, cut_at=None).first() is not None:
            alarms.alarm(ALARM, subject, message)


def _subject(sandbox: Sandbox) -> str:
    return f"sandbox:{sandbox.pk}"
