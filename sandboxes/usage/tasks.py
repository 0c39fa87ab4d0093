"""What beat asks for. Tasks contain no logic; see `services`."""

from celery import shared_task

from sandboxes.usage import services, taking


@shared_task(name="sandboxes.usage.tasks.seal_fetches")
def seal_fetches() -> None:
    services.seal_fetches()


@shared_task(name="sandboxes.usage.tasks.take_inventories", ignore_result=True)
def take_inventories() -> None:
    taking.run()
