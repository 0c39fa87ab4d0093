"""What an isolation kept of a sandbox as it was. Never deleted, as the sandbox's row is not."""

import json
import zlib
from typing import Any

from django.db import models
from django.db.models.functions import Now

from sandboxes.lifecycle.models.sandbox import Sandbox


class Isolation(models.Model):
    """One time that a sandbox was isolated. See `lifecycle.securing`."""

    sandbox = models.ForeignKey(Sandbox, on_delete=models.PROTECT, related_name="isolations")
    began_at = models.DateTimeField(db_default=Now())

    # Its network policies right before they were taken away. A cluster's text may hold what a JSON column cannot.
    policies = models.BinaryField(default=bytes, db_default=b"")  # deflated JSON: [object]; empty: not read
    policies_at = models.DateTimeField(null=True)  # when they were read, or could not be
    policies_error = models.TextField(blank=True, db_default="")

    # What the index went by, filled in by whoever knows of it.
    package_policy = models.JSONField(null=True)
    package_policy_at = models.DateTimeField(null=True)

    logs_due_at = models.DateTimeField(null=True, db_default=Now())  # null: all that will be read was
    logs_until = models.DateTimeField(null=True)  # no more tries after that
    logs_error = models.TextField(blank=True, db_default="")  # what was not read, and why

    class Meta:
        indexes = [
            models.Index(fields=["sandbox", "-id"], name="isolation_newest"),
            models.Index(
                fields=["logs_due_at"],
                name="isolation_logs_due",
                condition=models.Q(logs_due_at__isnull=False),
            ),
            models.Index(
                fields=["id"], name="isolation_no_policy", condition=models.Q(package_policy_at__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return f"isolation {self.pk} of sandbox {self.sandbox_id}"

    def kept_policies(self) -> list[Any]:
        """The objects that were kept. Here and not in `securing`, for the web process: that one needs a cluster."""
        if not self.policies:
            return []
        kept: list[Any] = json.loads(zlib.decompress(bytes(self.policies)))
        return kept


class ContainerLog(models.Model):
    """The end of what one container wrote into its log; a container that was started anew is another."""

    isolation = models.ForeignKey(Isolation, on_delete=models.PROTECT, related_name="logs")
    key = models.CharField(max_length=300)  # `cluster.keeping.Container.key`
    pod = models.CharField(max_length=253)
    pod_uid = models.CharField(max_length=64)
    node = models.CharField(max_length=253, blank=True)
    container = models.CharField(max_length=63)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    exit_code = models.IntegerField(null=True)
    reason = models.CharField(max_length=200, blank=True)
    read_at = models.DateTimeField(db_default=Now())
    final = models.BooleanField()  # read after the container had ended, or not to be had at all
    data = models.BinaryField(default=bytes, db_default=b"")  # deflated
    size = models.PositiveIntegerField(default=0)  # bytes, before that
    cut_short = models.BooleanField(default=False)  # there was more before it
    error = models.TextField(blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["isolation", "key"], name="container_log_once")]

    def __str__(self) -> str:
        return f"{self.pod} {self.container}"
