"""What beat asks for. Tasks contain no logic; see `keeping`."""

from celery import shared_task

from portal.reports import keeping


@shared_task(name="portal.reports.tasks.keep_policies", ignore_result=True)
def keep_policies() -> None:
    keeping.keep_policies()
