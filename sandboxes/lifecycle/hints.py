"""Telling a worker that a row may want looking at. Only a hint: the sweep finds the row anyway."""

import logging

from celery import current_app
from django.db import transaction

logger = logging.getLogger(__name__)
RECONCILE = "sandboxes.lifecycle.tasks.reconcile"
READ_LOGS = "sandboxes.lifecycle.tasks.read_logs"


def look_at(sandbox_id: int) -> None:
    """After the commit, asks some worker to reconcile this sandbox."""
    transaction.on_commit(lambda: _send(RECONCILE, [sandbox_id]))


def read_logs() -> None:
    """After the commit, asks some worker to read the logs of what is being cut off."""
    transaction.on_commit(lambda: _send(READ_LOGS, []))


def _send(task: str, args: list[int]) -> None:
    try:
        current_app.send_task(task, args=args, retry=False, expires=60)
    except Exception:
        logger.warning("No hint sent (%s %s); the next sweep finds it.", task, args, exc_info=True)
