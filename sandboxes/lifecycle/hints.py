"""Telling a worker that a row may want looking at. Only a hint: the sweep finds the row anyway."""

import logging

from celery import current_app
from django.db import transaction

logger = logging.getLogger(__name__)
RECONCILE = "sandboxes.lifecycle.tasks.reconcile"


def look_at(sandbox_id: int) -> None:
    """After the commit, asks some worker to reconcile this sandbox."""
    transaction.on_commit(lambda: _send(sandbox_id))


def _send(sandbox_id: int) -> None:
    try:
        current_app.send_task(RECONCILE, args=[sandbox_id], retry=False, expires=60)
    except Exception:
        logger.warning("No hint sent for sandbox %s; the next sweep finds it.", sandbox_id, exc_info=True)
