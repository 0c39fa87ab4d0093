"""The index's own tables: pages and files (written by the index process with plain SQL), and policy.

Policy is written through `policy_settings.py` and `waivers.py`, each time with its ledger entry. Whoever
writes it, by whatever way, a trigger counts on in `Epoch` and tells every index process.

What was asked for, by whom, is not here but in `sandboxes.usage`. Bytes are in the storage (`store.py`),
named by their sha256: a file that is there is whole.
"""

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from sandboxes.lifecycle.models import Sandbox


class Project(models.Model):
    """What the upstream last said of one project, or that it has none of that name."""

    name = models.TextField(primary_key=True)  # normalised (PEP 503)
    source = models.TextField()  # the upstream that said so, without credentials
    format = models.SmallIntegerField()  # of `document`; an older one is fetched anew
    etag = models.TextField(blank=True)  # the upstream's; empty: it gave none
    # `page.Page` as JSON. Kept while the project is missing: it says when each file was first seen.
    document = models.BinaryField(null=True)
    missing = models.BooleanField(default=False, db_default=False)  # the upstream knows no such project
    digest = models.CharField(max_length=64, blank=True)  # sha256, hex, of `document`
    fetched_at = models.DateTimeField()  # when `document` was received
    checked_at = models.DateTimeField()  # when the upstream last confirmed it

    def __str__(self) -> str:
        return self.name


class File(models.Model):
    """A file somebody asked for. It outlives its page: a stored file is decided and served without any upstream."""

    project = models.TextField()  # normalised (PEP 503)
    filename = models.TextField()
    version = models.TextField()
    sha256 = models.CharField(max_length=64)
    size = models.BigIntegerField(null=True)  # null: the upstream's page does not say
    metadata_sha256 = models.CharField(max_length=64, blank=True)  # PEP 658; empty: none, or not verifiable
    url = models.TextField()  # at the upstream
    asked_at = models.DateTimeField()
    # What policy asks of a file, as its page said it; which page that was is `page_digest`.
    facts = models.JSONField(default=dict, db_default={})  # `candidates.Facts`
    page_digest = models.CharField(max_length=64, blank=True, db_default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "filename", "sha256"], name="index_file_once"),
        ]

    def __str__(self) -> str:
        return self.filename


class Packument(models.Model):
    """npm's `Project`: what the upstream registry last said of one package."""

    name = models.TextField(primary_key=True)  # as it is, with its scope
    source = models.TextField()
    format = models.SmallIntegerField()
    etag = models.TextField(blank=True)
    document = models.BinaryField(null=True)  # `npm.packument.Packument` as JSON
    missing = models.BooleanField(default=False, db_default=False)
    digest = models.CharField(max_length=64, blank=True)
    fetched_at = models.DateTimeField()
    checked_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name


class Tarball(models.Model):
    """npm's integrity → sha256, of a tarball that was fetched and verified."""

    package = models.TextField()
    version = models.TextField()
    integrity = models.CharField(max_length=128)  # as hex; the file's name in the store
    sha256 = models.CharField(max_length=64, db_index=True)
    size = models.BigIntegerField()
    stored_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["package", "version", "integrity"], name="index_tarball_once"),
        ]

    def __str__(self) -> str:
        return f"{self.package}@{self.version}"


class Trouble(models.Model):
    """What the index could not do and a person has to look at; the worker makes it an alarm (`tasks.py`)."""

    kind = models.CharField(max_length=40, primary_key=True)  # the alarm's
    message = models.TextField()
    last_at = models.DateTimeField()
    untold = models.BooleanField()  # since it was last made an alarm

    def __str__(self) -> str:
        return self.kind


class PolicySetting(models.Model):
    """What holds for everybody (the floor, `profile` ""), or what a profile adds to that."""

    profile = models.CharField(max_length=63, primary_key=True)
    cooldown = models.DurationField()
    freeze_at = models.DateTimeField(null=True, blank=True)
    sdists = models.BooleanField()
    yanked = models.BooleanField()
    most_bytes = models.BigIntegerField(null=True, blank=True)
    refuse_from = models.SmallIntegerField(null=True, blank=True)  # `policy.facts.Severity`
    screened = models.BooleanField()
    only_allowed = models.BooleanField()  # nothing but what is on this profile's allow list

    def __str__(self) -> str:
        return self.profile or "everybody"


class ListEntry(models.Model):
    """One line of an allow list, a deny list or the list of the company's own names. Ended, never deleted."""

    profile = models.CharField(max_length=63, blank=True)  # "": the floor's
    ecosystem = models.CharField(max_length=20)
    kind = models.CharField(max_length=10)  # "allow", "deny" or "internal"
    pattern = models.CharField(max_length=300)  # see `policy.patterns`
    reason = models.TextField(blank=True)  # people who are refused read it
    source = models.TextField(blank=True)  # of internal names: the one upstream that has them
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "list entries"
        constraints = [
            models.UniqueConstraint(
                fields=["profile", "ecosystem", "kind", "pattern"],
                condition=models.Q(ended_at__isnull=True),
                name="index_listed_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pattern}"


class Waiver(models.Model):
    """A dated exception from one rule: asked for, decided, and over by itself."""

    ecosystem = models.CharField(max_length=20)
    project = models.TextField()  # normalised
    version = models.TextField(blank=True)  # "": every version
    rule = models.CharField(max_length=20, blank=True)  # "": every rule (break-glass)
    scope = models.CharField(max_length=20)  # `policy.waivers.Scope`
    subject = models.CharField(max_length=200, blank=True)  # the sandbox's or person's number, the department
    sandbox = models.ForeignKey(  # where it was needed
        Sandbox, null=True, on_delete=models.PROTECT, related_name="waivers"
    )
    reason = models.TextField()
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="waivers")
    asked_at = models.DateTimeField(db_default=Now())
    state = models.CharField(max_length=20, default="asked")  # `waivers.State`
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="decided_waivers"
    )
    decided_at = models.DateTimeField(null=True)
    note = models.TextField(blank=True)  # of whoever decided
    until = models.DateTimeField()  # asked for first, then granted
    break_glass = models.BooleanField(default=False, db_default=False)

    class Meta:
        indexes = [
            models.Index(fields=["id"], name="waiver_asked", condition=models.Q(state="asked")),
            models.Index(fields=["until"], name="waiver_granted", condition=models.Q(state="granted")),
            models.Index(fields=["asked_by", "-id"], name="waiver_mine"),
            models.Index(fields=["ecosystem", "project", "-id"], name="waiver_project"),
        ]

    def __str__(self) -> str:
        return f"waiver {self.pk} for {self.project}"


class Epoch(models.Model):
    """How often each table that decisions rest on was written to. Written by triggers alone.

    A row for each table, so that a long import of one does not keep the others waiting.
    """

    topic = models.CharField(max_length=63, primary_key=True)  # the table
    number = models.BigIntegerField()
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.topic} {self.number}"
