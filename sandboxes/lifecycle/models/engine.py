"""The state of the engine as a whole, and what it found that belongs to nobody."""

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone


class EngineState(models.Model):
    """One row (pk 1). `paused` stops everything; `deletions_stopped` stops what destroys."""

    paused = models.BooleanField(default=False)
    paused_reason = models.TextField(blank=True)
    paused_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    paused_at = models.DateTimeField(null=True)
    deletions_stopped = models.BooleanField(default=False)
    deletions_reason = models.TextField(blank=True)
    deletions_stopped_at = models.DateTimeField(null=True)
    # More than this share of what is live, and at least so many, due at once outside their lease: stop.
    breaker_share = models.FloatField(default=0.10)
    breaker_floor = models.PositiveIntegerField(default=5)
    # Ends up to here were looked at by a person after the breaker opened, and may go on.
    confirmed_at = models.DateTimeField(null=True)
    # The database was found to be an older one than the ledger's last mark; see `lifecycle.restore`.
    restored_at = models.DateTimeField(null=True)


class Orphan(models.Model):
    """Something in a cluster that carries our labels and that no row knows, or knows as gone."""

    cluster = models.CharField(max_length=100)
    kind = models.CharField(max_length=60)  # Namespace, PersistentVolume…
    name = models.CharField(max_length=253)
    uid = models.CharField(max_length=64)
    sandbox_label = models.CharField(max_length=63, blank=True)
    first_seen_at = models.DateTimeField(default=timezone.now)
    last_seen_at = models.DateTimeField(default=timezone.now)
    quarantined_at = models.DateTimeField(null=True)
    delete_after = models.DateTimeField(null=True)  # the end of its grace; null until quarantined
    deleted_at = models.DateTimeField(null=True)  # when its deletion was asked for
    ordered = models.BooleanField(default=False)  # an admin did not want to wait for the end of the grace
    check_at = models.DateTimeField(db_default=Now())  # when it is to be looked at next
    kept_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )  # an admin wants it left alone
    gone_at = models.DateTimeField(null=True)
    last_error = models.TextField(blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["cluster", "uid"], name="orphan_once")]
        indexes = [
            models.Index(fields=["cluster"], name="orphan_open", condition=models.Q(gone_at__isnull=True))
        ]

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"
