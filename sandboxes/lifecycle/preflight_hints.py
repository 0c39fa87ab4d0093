"""Asking a worker to look at a cluster: the web process must neither wait for it nor import its client."""

import logging

from celery import current_app
from django.db import transaction

logger = logging.getLogger(__name__)
CHECK = "sandboxes.lifecycle.tasks.check_cluster"


def check(name: str) -> None:
    """After the commit, has a worker write a new report; a lost message means that an admin asks again."""
    transaction.on_commit(lambda: _send(name))


def _send(name: str) -> None:
    try:
        current_app.send_task(CHECK, args=[name], retry=False, expires=300)
    except Exception:
        logger.warning("No worker was asked to look at cluster %s.", name, exc_info=True)
