"""Telling a worker that there may be room for what is queued. Only a hint: beat looks anyway."""

import logging

from celery import current_app
from django.db import transaction

logger = logging.getLogger(__name__)
ADMIT = "sandboxes.lifecycle.tasks.admit"


def look() -> None:
    """After the commit, asks some worker to admit whatever fits now."""
    transaction.on_commit(_send)


def _send() -> None:
    try:
        current_app.send_task(ADMIT, retry=False, expires=60)
    except Exception:
        logger.warning("No hint sent that there is room; the next look of beat finds it.", exc_info=True)
