"""What is known to be bad, and what screening thinks of files.

Advisories are written by `advisories.py` only, in bulk; the index process reads them with the
statements in `lookup.py`. Whoever changes the columns changes those too.
"""

from django.contrib.postgres.fields import ArrayField
from django.db import models


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
        indexes = [models.Index(fields=["-modified", "id"], name="advisory_newest")]

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
    """What screening thinks of some bytes, wherever they come from."""

    sha256 = models.CharField(max_length=64, primary_key=True)  # hex
    state = models.TextField()  # `words.Screening`
    reason = models.TextField(blank=True)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.sha256}: {self.state}"
