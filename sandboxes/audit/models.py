"""The ledger's rows. A trigger (migration 0002) refuses UPDATE, DELETE and TRUNCATE."""

from django.db import models


class Entry(models.Model):
    """One thing that happened. `mac` chains it to the entry before; see `chain.py`.

    People are kept by id and by name, not by foreign key: an entry must outlive them.
    """

    id = models.BigIntegerField(primary_key=True)  # 1, 2, 3 … without gaps, given under a lock
    at = models.DateTimeField()
    actor_id = models.BigIntegerField(null=True)  # None: Petridish itself
    actor = models.TextField()
    action = models.TextField()  # "request.approved", "sandbox.ready" …
    subject = models.TextField()  # "request:12", "sandbox:7" …
    data = models.JSONField(default=dict)
    previous = models.CharField(max_length=64)
    mac = models.CharField(max_length=64)

    class Meta:
        verbose_name_plural = "entries"
        indexes = [models.Index(fields=["subject", "id"]), models.Index(fields=["at"])]

    def __str__(self) -> str:
        return f"#{self.pk} {self.action} {self.subject}"
