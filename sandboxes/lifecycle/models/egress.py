"""Ways out of a sandbox that somebody allowed, until a date."""

from django.conf import settings
from django.db import models
from django.utils import timezone

from sandboxes.lifecycle.models.sandbox import Sandbox


class EgressException(models.Model):
    """One address block and port, or one host and port through our proxy. Exactly one of `cidr` and `host` is set.

    A block becomes one network policy `egress-ID`; a host is asked for by name at the egress
    proxy. Rows are never deleted: `ended_at` says when it stopped being allowed.
    """

    sandbox = models.ForeignKey(Sandbox, on_delete=models.PROTECT, related_name="egress_exceptions")
    cidr = models.CharField(max_length=50, blank=True)
    host = models.CharField(max_length=253, blank=True)  # lower case, no trailing dot
    port = models.PositiveIntegerField()
    reason = models.TextField()
    until = models.DateTimeField()
    granted_at = models.DateTimeField(default=timezone.now)
    granted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    applied_at = models.DateTimeField(null=True)  # of a block: when its policy was in the cluster
    ended_at = models.DateTimeField(null=True)
    removed_at = models.DateTimeField(null=True)  # of a block: when its policy was seen gone

    class Meta:
        indexes = [
            models.Index(fields=["sandbox", "-id"]),
            models.Index(fields=["until"], name="egress_due", condition=models.Q(ended_at__isnull=True)),
        ]
        constraints = [
            models.CheckConstraint(
                condition=(models.Q(cidr="") & ~models.Q(host="")) | (~models.Q(cidr="") & models.Q(host="")),
                name="egress_block_or_host",
            )
        ]

    def __str__(self) -> str:
        return f"{self.cidr or self.host}:{self.port}"
