"""What a person has to look at."""

from django.conf import settings
from django.db import models
from django.utils import timezone


class Alarm(models.Model):
    """One open row for one trouble of one subject; raising it again counts on. See `lifecycle.alarms`."""

    kind = models.CharField(
        max_length=40
    )  # seal_failed, cluster_untrusted, deletions_stopped, stuck, orphan…
    subject = models.CharField(max_length=120)  # "cluster:rig", "sandbox:12", "installation"
    message = models.TextField()
    raised_at = models.DateTimeField(default=timezone.now)
    last_at = models.DateTimeField(default=timezone.now)
    count = models.PositiveIntegerField(default=1)
    cleared_at = models.DateTimeField(null=True)
    cleared_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        indexes = [models.Index(fields=["-id"], name="alarm_newest")]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "subject"],
                condition=models.Q(cleared_at__isnull=True),
                name="alarm_open_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}"
