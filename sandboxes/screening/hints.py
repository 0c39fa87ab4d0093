"""Telling a worker that advisories changed. Only a hint: the next regular look finds them anyway."""

import logging
from typing import Final

from celery import current_app
from django.db import transaction

logger = logging.getLogger(__name__)
EXPOSE: Final = "sandboxes.screening.tasks.expose"


def advisories_changed() -> None:
    """After the commit, asks some worker to look who is exposed."""
    transaction.on_commit(_send)


def _send() -> None:
    try:
        current_app.send_task(EXPOSE, retry=False, expires=60)
    except Exception:
        logger.warning("No hint sent about new advisories; the next look finds them.", exc_info=True)
