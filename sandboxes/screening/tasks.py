"""What beat asks for. Tasks contain no logic; see `refreshing` and `exposures`."""

import threading

from celery import shared_task
from django.conf import settings

from sandboxes.screening import exposures, refreshing

_running = threading.Lock()


@shared_task(name="sandboxes.screening.tasks.refresh_feeds", ignore_result=True)
def refresh_feeds() -> None:
    """Not while it still runs in this process: an import takes minutes, and needs no second thread to wait."""
    if not _running.acquire(blocking=False):
        return
    try:
        feeds = settings.SCREENING_FEEDS
        refreshing.refresh(feeds.sources, every=feeds.every, longest=feeds.longest)
    finally:
        _running.release()


@shared_task(name="sandboxes.screening.tasks.expose", ignore_result=True)
def expose() -> None:
    """Paused or not: malware does not pause either."""
    exposures.expose()
