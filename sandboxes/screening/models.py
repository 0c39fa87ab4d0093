"""What is known to be bad, and what screening thinks of files.

Advisories are written by `advisories.py` only, in bulk; the index process reads them with the
statements in `lookup.py`. Whoever changes the columns changes those too.
"""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models.functions import Now

from sandboxes.lifecycle.models import Sandbox


class Advisory(models.Model):
    """An OSV record, as it came, with what is asked of it in columns."""

    id = models.TextField(primary_key=True)  # "PYSEC-2024-1"; ours: "PETRI-2026-1"
    ecosystem = models.TextField()  # of the first project it names; `Affected` has each one's
    modified = models.DateTimeField()  # by its own word, no later than when it came
    published = models.DateTimeField(null=True)
    withdrawn_at = models.DateTimeField(null=True)  # a date: it says nothing any more
    malicious = models.BooleanField()
    severity = models.SmallIntegerField(null=True)  # `words.Severity`; null: nobody rated it
    summary = models.TextField(blank=True)
    aliases = ArrayField(models.TextField(), default=list)
    document = models.JSONField()
    source = models.TextField()  # the feed it came from, or "put" by a person
    imported_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "advisories"
        indexes = [
            models.Index(fields=["-modified", "id"], name="advisory_newest"),
            models.Index(fields=["-malicious", "-modified", "-id"], name="advisory_worst_first"),
            GinIndex(fields=["aliases"], name="advisory_aliases"),
        ]

    def __str__(self) -> str:
        return self.id


class Affected(models.Model):
    """What one entry of an advisory's `affected` says of one project."""

    advisory = models.ForeignKey(Advisory, on_delete=models.CASCADE, related_name="affected")
    ecosystem = models.TextField()  # `words.Ecosystem`
    project = models.TextField()  # normalised
    versions = ArrayField(models.TextField(), default=list)  # listed one by one
    # Ranges, each a list of [event, version]: [[["introduced", "0"], ["fixed", "1.2"]]]
    ranges = models.JSONField(default=list)

    class Meta:
        verbose_name_plural = "affected"
        indexes = [models.Index(fields=["ecosystem", "project"], name="affected_project")]

    def __str__(self) -> str:
        return f"{self.advisory_id}: {self.project}"


class Feed(models.Model):
    """Where advisories come from, and how fresh what we have of it is."""

    source = models.TextField(primary_key=True)  # a path, or a URL without credentials
    attempted_at = models.DateTimeField()
    succeeded_at = models.DateTimeField(null=True)
    newest_modified = models.DateTimeField(null=True)  # of the records it held then
    error = models.TextField(blank=True)  # of the last attempt; empty: it succeeded, or is under way
    # What an import has written and the ledger does not have yet; an interrupted one leaves it behind.
    unrecorded = models.JSONField(null=True)

    def __str__(self) -> str:
        return self.source


class Verdict(models.Model):
    """What screening thinks of some bytes under a name; and what a person decided about them.

    Another name of the same bytes has a verdict of its own: see `standing`. A person's decision stays,
    whatever a later scan finds.
    """

    # Made by the table's trigger: the sha256, and for further names of the same bytes the sha256, "-" and a
    # digest of the name.
    id = models.TextField(primary_key=True, db_default="")
    sha256 = models.CharField(max_length=64)  # hex
    state = models.TextField()  # `words.Screening`
    reason = models.TextField(blank=True)
    at = models.DateTimeField()  # when it was screened last
    # As what they were asked for. No file name: whatever they are called; screening always says what it looked at.
    ecosystem = models.TextField(blank=True, default="", db_default="")
    project = models.TextField(blank=True, default="", db_default="")
    version = models.TextField(blank=True, default="", db_default="")
    filename = models.TextField(blank=True, default="", db_default="")
    level = models.TextField(blank=True, default="", db_default="")  # `findings.Level`
    scale = models.TextField(blank=True, default="", db_default="")  # of which scale the level is: its digest
    score = models.IntegerField(default=0, db_default=0)
    findings = models.JSONField(default=list, db_default=[])  # `findings.Found`, as dictionaries
    # `scanner.VERSION` of what looked; 0: nothing did.
    scanned_by = models.IntegerField(default=0, db_default=0)
    # Which patterns (`detectors.patterns`) it was looked at with: their digest.
    rules = models.TextField(blank=True, default="", db_default="")
    # Of the release that it was compared with.
    former_sha256 = models.TextField(blank=True, default="", db_default="")
    broken = models.TextField(blank=True, default="", db_default="")  # why it could not be read to its end
    seconds = models.FloatField(default=0, db_default=0)  # that the scan took
    # "released" or "blocked"; empty: nobody decided.
    decision = models.TextField(blank=True, default="", db_default="")
    decision_reason = models.TextField(blank=True, default="", db_default="")
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    decided_at = models.DateTimeField(null=True)
    # Somebody took a decision back: it is held until somebody decides anew, whatever the scale says.
    reopened = models.BooleanField(default=False, db_default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["sha256", "ecosystem", "project", "filename"], name="verdict_once"
            ),
            models.CheckConstraint(
                condition=models.Q(scanned_by=0) | ~models.Q(filename=""), name="verdict_has_a_name"
            ),
        ]
        indexes = [
            models.Index(
                fields=["at"], name="verdict_to_decide", condition=models.Q(state="held", decision="")
            ),
            models.Index(fields=["state", "-at", "-id"], name="verdict_by_state"),
            models.Index(
                fields=["-decided_at", "id"], name="verdict_decided", condition=~models.Q(decision="")
            ),
            models.Index(fields=["scanned_by", "-at"], name="verdict_by_version"),
            models.Index(fields=["rules"], name="verdict_by_rules"),
            models.Index(fields=["ecosystem", "project", "-at"], name="verdict_project"),
            # Each index process finds these whenever a verdict was written: `lookup.AGAINST`.
            models.Index(
                fields=["sha256"],
                name="verdict_against",
                condition=models.Q(state__in=["held", "blocked"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.pk}: {self.state}"


class Job(models.Model):
    """Bytes in the index's storage that are to be screened under a name: for somebody who waits, or again."""

    sha256 = models.CharField(max_length=64)  # hex
    ecosystem = models.TextField()
    project = models.TextField()
    version = models.TextField()
    filename = models.TextField()
    # What the scan is told beyond the bytes: see `package.Facts`.
    facts = models.JSONField(default=dict)
    urgent = models.BooleanField(default=True)  # a client waits; else it is screened again
    weight = models.BigIntegerField(default=0)  # among those that nobody waits for: more comes first
    wanted_at = models.DateTimeField(db_default=Now())
    attempts = models.IntegerField(default=0)
    leased_until = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["sha256", "ecosystem", "project", "filename"], name="job_once")
        ]
        indexes = [models.Index(fields=["-urgent", "-weight", "wanted_at"], name="job_next")]

    def __str__(self) -> str:
        return self.filename


class Rules(models.Model):
    """The patterns that one screening process's place has: ours and an admin's folder. Written by that process."""

    place = models.TextField(primary_key=True)  # its host, and the folder
    digest = models.TextField()  # of the rules that it looks for
    # Since when somewhere has these: of places with different rules the newest count (`screening.again`).
    changed_at = models.DateTimeField()
    seen_at = models.DateTimeField()  # when the process last said so
    folder = models.TextField(blank=True)  # the admin's; empty: there is none
    ours = models.IntegerField()  # rules
    added = models.IntegerField()  # rules of the admin's
    problems = models.JSONField(default=list)  # `patterns.Problem`, as dictionaries

    class Meta:
        verbose_name_plural = "rules"

    def __str__(self) -> str:
        return self.place


class Scale(models.Model):
    """How findings become a level: one row, which an admin edits; none: `scoring.DEFAULT`."""

    points = models.JSONField()  # {ability: {threat: points}}
    note = models.IntegerField()  # points from which on
    warn = models.IntegerField()
    hold = models.IntegerField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(pk=1), name="one_scale")]

    def __str__(self) -> str:
        return f"note {self.note}, warn {self.warn}, hold {self.hold}"


class Reaction(models.Model):
    """What is done with a live sandbox that an advisory of this kind turns out to affect."""

    kind = models.TextField(primary_key=True)  # "malicious", or a severity in lower case
    action = models.TextField()  # `exposure.Action`

    def __str__(self) -> str:
        return f"{self.kind}: {self.action}"


class Exposure(models.Model):
    """An advisory that affects what a sandbox received, and what was done about it. Never deleted."""

    advisory = models.ForeignKey(Advisory, on_delete=models.PROTECT, related_name="exposures")
    sandbox = models.ForeignKey(Sandbox, on_delete=models.PROTECT, related_name="exposures")
    found_at = models.DateTimeField(db_default=Now())
    live = models.BooleanField()  # whether the sandbox was, when it was found
    kind = models.TextField(default="", db_default="")  # `exposure.Kind`: how bad it was when it was found
    confirmed = models.BooleanField(default=True, db_default=True)  # see `words.Known`
    # It was given although the advisory was here already: by a waiver, or because policy lets such through.
    known_then = models.BooleanField(default=False, db_default=False)
    installs = ArrayField(models.BigIntegerField(), default=list)  # numbers of `usage.Install`
    action = models.TextField()  # `exposure.Action`: what was to be done
    acted_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True, default="")
    closed_at = models.DateTimeField(null=True)
    closed_why = models.TextField(blank=True, default="")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["advisory", "sandbox"], name="exposure_once")]
        indexes = [
            models.Index(
                fields=["action", "id"],
                name="exposure_to_act",
                condition=models.Q(acted_at__isnull=True, closed_at__isnull=True),
            ),
            models.Index(fields=["sandbox", "-found_at"], name="exposure_of_sandbox"),
            models.Index(fields=["advisory", "-id"], name="exposure_of_advisory"),
            models.Index(fields=["-id"], name="exposure_open", condition=models.Q(closed_at__isnull=True)),
            models.Index(
                fields=["-id"], name="exposure_closed", condition=models.Q(closed_at__isnull=False)
            ),  # costs finding nothing: what is found is open
        ]

    def __str__(self) -> str:
        return f"{self.advisory_id} in {self.sandbox_id}"


class Change(models.Model):
    """An advisory that was written, and that nobody has held against all installs since.

    Written with the advisory, marked with what came of it for live sandboxes, and deleted with what came of
    it for all: whoever is killed in between leaves it here. One that is written again meanwhile gets a row
    of its own.
    """

    advisory = models.ForeignKey(Advisory, on_delete=models.CASCADE, related_name="changes")
    malicious = models.BooleanField()
    live_done = models.BooleanField(default=False, db_default=False)  # what live sandboxes received is

    class Meta:
        indexes = [models.Index(fields=["live_done", "-malicious", "id"], name="change_next")]

    def __str__(self) -> str:
        return self.advisory_id


class Progress(models.Model):
    """How far installs were held against what was known when they came: one row."""

    install = models.BigIntegerField(default=0)  # the number of the last one

    class Meta:
        verbose_name_plural = "progress"
        constraints = [models.CheckConstraint(condition=models.Q(pk=1), name="one_progress")]

    def __str__(self) -> str:
        return str(self.install)
