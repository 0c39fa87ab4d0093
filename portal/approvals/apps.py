from django.apps import AppConfig


class ApprovalsConfig(AppConfig):
    name = "portal.approvals"
    label = "approvals"

    def ready(self) -> None:
        """Our Celery application becomes the current one, so that hints go to our broker from any process."""
        import portal.celery  # noqa: F401 -- needs settings, so not before now
