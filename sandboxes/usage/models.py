"""What sandboxes asked the index for, and what they received.

Rows are written by the index process with plain SQL (`sandboxes.index`); the
models give the tables, the migrations and the reads.
"""

from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from sandboxes.lifecycle.models import Sandbox


class Fetch(models.Model):
    """One page or file asked of the index. Written before the answer's first byte."""

    sandbox = models.ForeignKey(Sandbox, on_delete=models.PROTECT, related_name="fetches")
    at = models.DateTimeField(default=timezone.now, db_default=Now())
    kind = models.CharField(max_length=10)  # "page", "file" or "metadata"
    project = models.TextField()  # normalised (PEP 503)
    filename = models.TextField(blank=True)
    client = models.TextField(blank=True)  # "pip 26.3", "uv 0.13.9"
    user_agent = models.TextField(blank=True)

    class Meta:
        verbose_name_plural = "fetches"
        indexes = [models.Index(fields=["sandbox", "id"])]


class Install(models.Model):
    """A file a sandbox received: the first time it asked for these bytes."""

    sandbox = models.ForeignKey(Sandbox, on_delete=models.PROTECT, related_name="installs")
    at = models.DateTimeField(default=timezone.now, db_default=Now())
    project = models.TextField()  # normalised (PEP 503)
    version = models.TextField()
    filename = models.TextField()
    sha256 = models.CharField(max_length=64)
    size = models.BigIntegerField()
    client = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["sandbox", "filename", "sha256"], name="install_once"),
        ]
        indexes = [
            models.Index(fields=["at", "id"]),
            models.Index(fields=["project", "version"]),
            models.Index(fields=["sandbox", "-id"]),
        ]


class FetchBatch(models.Model):
    """A run of fetch rows whose digest stands in the ledger: rows are not chained one by one."""

    first_id = models.BigIntegerField()
    last_id = models.BigIntegerField(unique=True)
    rows = models.IntegerField()
    digest = models.CharField(max_length=64)  # sha256, hex, over the rows in id order
    at = models.DateTimeField(default=timezone.now)
