"""Celery's side of the ledger."""

from celery import shared_task

from sandboxes.audit import anchor as ledger_anchor


@shared_task(name="sandboxes.audit.tasks.anchor", ignore_result=True)
def anchor() -> None:
    ledger_anchor.keep()
