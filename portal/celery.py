"""The Celery application. Messages are hints: whatever one would have said, a row says too.

With no broker installed the queue is a folder (`portal.broker`), enough for
one machine; `BROKER_URL` names Valkey or Redis in production.
"""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

from django.conf import settings

app = Celery("petridish")


def _broker() -> dict[str, object]:
    """Celery's settings of the broker."""
    if not settings.CELERY_BROKER_URL.startswith("filesystem:"):
        return {"broker_url": settings.CELERY_BROKER_URL}
    folder = settings.ENV.data_dir / "broker"
    for name in ("queue", "control"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    options = {
        "data_folder_in": str(folder / "queue"),
        "data_folder_out": str(folder / "queue"),
        "control_folder": str(folder / "control"),
        "polling_interval": 0.1,
    }
    return {
        "broker_url": "filesystem://localhost",
        "broker_transport": "portal.broker:Transport",
        "broker_transport_options": options,
    }


def _every(seconds: float, task: str) -> dict[str, object]:
    """An entry of beat. A look that nobody took is worthless soon after the next one is sent."""
    return {"task": task, "schedule": seconds, "options": {"expires": max(6.0, seconds * 0.9)}}


app.conf.update(
    **_broker(),
    broker_connection_retry_on_startup=True,
    task_ignore_result=True,
    task_acks_late=False,  # a lost message is found again by the next sweep of rows
    worker_prefetch_multiplier=1,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    beat_schedule={
        "sweep": _every(2.0, "sandboxes.lifecycle.tasks.sweep"),
        "admit": _every(5.0, "sandboxes.lifecycle.tasks.admit"),
        "observe": _every(settings.OBSERVE_EVERY.total_seconds(), "sandboxes.lifecycle.tasks.observe"),
        "end-egress": _every(5.0, "sandboxes.lifecycle.tasks.end_egress"),
        "read-logs": _every(5.0, "sandboxes.lifecycle.tasks.read_logs"),
        "keep-policies": _every(5.0, "portal.reports.tasks.keep_policies"),
        "sweep-orphans": _every(30.0, "sandboxes.lifecycle.tasks.sweep_orphans"),
        "index-alarms": _every(30.0, "sandboxes.index.tasks.raise_alarms"),
        "screening-alarm": _every(30.0, "sandboxes.index.tasks.watch_screening"),
        "expose": _every(5.0, "sandboxes.screening.tasks.expose"),
        "close-break-glass": _every(30.0, "portal.approvals.tasks.close_break_glass"),
        "refresh-feeds": _every(60.0, "sandboxes.screening.tasks.refresh_feeds"),
        "take-inventories": _every(10.0, "sandboxes.usage.tasks.take_inventories"),
        "seal-fetches": _every(60.0, "sandboxes.usage.tasks.seal_fetches"),
        "anchor-ledger": _every(60.0, "sandboxes.audit.tasks.anchor"),
    },
)
app.autodiscover_tasks(
    [
        "portal.approvals",
        "portal.reports",
        "sandboxes.audit",
        "sandboxes.index",
        "sandboxes.lifecycle",
        "sandboxes.screening",
        "sandboxes.usage",
    ]
)
