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


app.conf.update(
    **_broker(),
    broker_connection_retry_on_startup=True,
    task_ignore_result=True,
    task_acks_late=False,  # a lost message is found again by the next sweep of rows
    worker_prefetch_multiplier=1,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    # A sweep nobody took is worthless once the next one is sent.
    beat_schedule={
        "reconcile": {
            "task": "sandboxes.lifecycle.tasks.reconcile_due",
            "schedule": 2.0,
            "options": {"expires": 6},
        },
        "seal-fetches": {
            "task": "sandboxes.usage.tasks.seal_fetches",
            "schedule": 60.0,
            "options": {"expires": 50},
        },
        "anchor-ledger": {
            "task": "sandboxes.audit.tasks.anchor",
            "schedule": 60.0,
            "options": {"expires": 50},
        },
    },
)
app.autodiscover_tasks(["sandboxes.audit", "sandboxes.lifecycle", "sandboxes.usage"])
