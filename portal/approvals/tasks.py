"""Celery's side of approvals."""

from celery import shared_task

from portal.approvals import waivers


@shared_task(name="portal.approvals.tasks.close_break_glass", ignore_result=True)
def close_break_glass() -> None:
    waivers.close_over()
