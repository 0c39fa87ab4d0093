"""Celery's side of the reconciler. Tasks take ids and contain no logic."""

from celery import shared_task

from sandboxes.lifecycle import engine


@shared_task(name="sandboxes.lifecycle.tasks.reconcile", ignore_result=True)
def reconcile(sandbox_id: int) -> None:
    engine.reconcile(sandbox_id)


@shared_task(name="sandboxes.lifecycle.tasks.reconcile_due", ignore_result=True)
def reconcile_due() -> None:
    for sandbox_id in engine.due():
        reconcile.apply_async(args=(sandbox_id,), expires=60, retry=False)
