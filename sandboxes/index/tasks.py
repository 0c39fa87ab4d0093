"""Celery's side of the index: its troubles become alarms, which go to the ledger and to people."""

from datetime import timedelta
from typing import Final

from celery import shared_task
from django.db import transaction
from django.db.models.functions import Now

from sandboxes.index.models import Trouble
from sandboxes.lifecycle import alarms, clock
from sandboxes.screening import queries, rules

SUBJECT: Final = "index"
LATE: Final = "screening_late"  # the alarm's kind
LONGEST: Final = timedelta(seconds=60)  # that a wanted file may wait to be screened
OVER: Final = timedelta(minutes=15)  # since it was last told of


@shared_task(name="sandboxes.index.tasks.raise_alarms", ignore_result=True)
def raise_alarms() -> None:
    with transaction.atomic():
        for trouble in Trouble.objects.select_for_update().filter(untold=True):
            Trouble.objects.filter(pk=trouble.pk).update(untold=False)
            alarms.alarm(trouble.kind, SUBJECT, trouble.message)
    with transaction.atomic():
        for trouble in Trouble.objects.select_for_update().filter(untold=False, last_at__lt=Now() - OVER):
            Trouble.objects.filter(pk=trouble.pk).delete()
            alarms.clear(trouble.kind, SUBJECT, by=None)


@shared_task(name="sandboxes.index.tasks.watch_screening", ignore_result=True)
def watch_screening() -> None:
    """By the worker: whoever should screen may be what is missing."""
    rules.check()
    since = queries.waiting_since()
    if since is None or clock.now() - since <= LONGEST:
        alarms.clear(LATE, SUBJECT, by=None)
        return
    message = (
        f"{queries.waiting()} files that sandboxes want wait to be screened,"
        f" the first since {since:%Y-%m-%d %H:%M} UTC."
        " Does `python -m sandboxes.index.screening` run beside each storage of the index?"
    )
    alarms.alarm(LATE, SUBJECT, message)
