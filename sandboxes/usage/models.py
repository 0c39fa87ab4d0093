"""What sandboxes asked the index for, and what they received; and what they reached through the egress proxy.

Rows are written by the index process with plain SQL (`sandboxes.index`); the
models give the tables, the migrations and the reads.
"""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from sandboxes.lifecycle.models import Sandbox
from sandboxes.usage.installers import PATTERN


class Fetch(models.Model):
    """One page or file asked of the index. Written before the answer's first byte."""

    sandbox = models.ForeignKey(Sandbox, on_delete=models.PROTECT, related_name="fetches")
    at = models.DateTimeField(default=timezone.now, db_default=Now())
    kind = models.CharField(max_length=10)  # "page", "file" or "metadata"
    ecosystem = models.CharField(max_length=10, default="pypi", db_default="pypi")  # or "npm"
    project = models.TextField()  # normalised (PEP 503); npm's as they are
    filename = models.TextField(blank=True)
    client = models.TextField(blank=True)  # "pip 26.3", "uv 0.13.9"
    user_agent = models.TextField(blank=True)
    refused = models.CharField(
        max_length=20, blank=True, default="", db_default=""
    )  # the rule that refused a file
    repeats = models.PositiveIntegerField(
        default=0, db_default=0
    )  # of a page: how often it was given again within moments
    # Of a page: the newest version above all that could be had, of which policy gave no file, and by which rule.
    withheld = models.TextField(blank=True, default="", db_default="")
    withheld_by = models.CharField(max_length=20, blank=True, default="", db_default="")

    class Meta:
        verbose_name_plural = "fetches"
        indexes = [
            models.Index(fields=["sandbox", "id"]),
            models.Index(fields=["sandbox", "-id"], name="fetch_refused", condition=~models.Q(refused="")),
            models.Index(
                fields=["sandbox", "project", "-id"], name="fetch_page", condition=models.Q(kind="page")
            ),
            models.Index(fields=["sandbox", "-at"], name="fetch_file", condition=models.Q(kind="file")),
            # What no installer asked for, which is next to nothing: see `run_time`.
            models.Index(
                fields=["sandbox", "-id"],
                name="fetch_run_time",
                condition=models.Q(kind="file") & ~models.Q(client__regex=PATTERN),
            ),
        ]


class Install(models.Model):
    """A file a sandbox received: the first time it asked for these bytes."""

    sandbox = models.ForeignKey(Sandbox, on_delete=models.PROTECT, related_name="installs")
    at = models.DateTimeField(default=timezone.now, db_default=Now())
    ecosystem = models.CharField(max_length=10, default="pypi", db_default="pypi")  # or "npm"
    project = models.TextField()  # normalised (PEP 503); npm's as they are
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
            models.Index(fields=["ecosystem", "project", "version"], name="install_version"),
            models.Index(fields=["sandbox", "-id"]),
            models.Index(fields=["sandbox", "-at"], name="install_when"),
        ]


class Inventory(models.Model):
    """One look at what is installed in a sandbox, compared with what it received. Made when it is wanted."""

    sandbox = models.ForeignKey(Sandbox, on_delete=models.PROTECT, related_name="inventories")
    wanted_at = models.DateTimeField(db_default=Now())
    wanted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )  # null: it was due
    taken_at = models.DateTimeField(null=True)  # null: a worker has yet to look
    error = models.TextField(blank=True, default="")  # why there is nothing to see
    complete = models.BooleanField(default=True)  # no limit was met
    entries = models.JSONField(
        default=list
    )  # `inventory.Entry`, as dictionaries; at most `inventory.LONGEST`
    counts = models.JSONField(default=dict)  # by `inventory.State`

    class Meta:
        verbose_name_plural = "inventories"
        indexes = [
            models.Index(fields=["sandbox", "-id"], name="inventory_newest"),
            models.Index(fields=["id"], name="inventory_wanted", condition=models.Q(taken_at__isnull=True)),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["sandbox"], name="inventory_wanted_once", condition=models.Q(taken_at__isnull=True)
            )
        ]

    def __str__(self) -> str:
        return f"inventory {self.pk}"


class FetchBatch(models.Model):
    """A run of fetch rows whose digest stands in the ledger: rows are not chained one by one."""

    first_id = models.BigIntegerField()
    last_id = models.BigIntegerField(unique=True)
    rows = models.IntegerField()
    digest = models.CharField(max_length=64)  # sha256, hex, over the rows in id order
    at = models.DateTimeField(default=timezone.now)


class Connection(models.Model):
    """One connection asked of the egress proxy, allowed or refused. An allowed one is written before it opens.

    Refused attempts of a loop are one row that counts (`repeats`); see `sandboxes.index.egress.records`. What
    a network policy dropped, by the cluster's own logs, is a refused one of another source: `policy_logs`.
    Not digested into the ledger as fetches are; the exception that allowed it is in there.
    """

    PROXY: ClassVar = "proxy"
    POLICY: ClassVar = "policy"

    sandbox = models.ForeignKey(Sandbox, on_delete=models.PROTECT, related_name="connections")
    source = models.CharField(max_length=10, default=PROXY, db_default=PROXY)  # who saw it
    protocol = models.CharField(max_length=10, default="tcp", db_default="tcp")
    at = models.DateTimeField(default=timezone.now, db_default=Now())
    host = models.CharField(max_length=253)  # as asked for
    port = models.PositiveIntegerField()
    address = models.CharField(max_length=45, blank=True)  # where it went, or was not let go to
    allowed = models.BooleanField()
    reason = models.TextField(blank=True)  # why it was refused, or how it ended
    repeats = models.PositiveIntegerField(default=0)  # refused ones like it that got no row of their own
    bytes_up = models.BigIntegerField(default=0)  # from the sandbox
    bytes_down = models.BigIntegerField(default=0)
    seen_at = models.DateTimeField(
        null=True
    )  # when the proxy last said that it is open; a policy's: the last of its repeats
    ended_at = models.DateTimeField(null=True)
    seconds = models.FloatField(default=0)

    class Meta:
        indexes = [
            models.Index(fields=["sandbox", "-id"], name="connection_newest"),
            models.Index(
                fields=["sandbox", "-at"], name="connection_refused", condition=models.Q(allowed=False)
            ),
            models.Index(
                fields=["sandbox", "-seen_at"],
                name="connection_dropped",
                condition=models.Q(source="policy"),
            ),
            models.Index(
                fields=["seen_at"],
                name="connection_open",
                condition=models.Q(allowed=True, ended_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"
