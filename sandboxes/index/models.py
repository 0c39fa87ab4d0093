"""The index's own tables. Written with plain SQL by the index process; nothing else writes them.

What was asked for, by whom, is not here but in `sandboxes.usage`. Bytes are in
`DATA_DIR/index/files`, named by their sha256: a file that is there is whole.
"""

from django.db import models


class Project(models.Model):
    """What the upstream last said of one project, or that it has none of that name."""

    name = models.TextField(primary_key=True)  # normalised (PEP 503)
    source = models.TextField()  # the upstream that said so, without credentials
    format = models.SmallIntegerField()  # of `document`; an older one is fetched anew
    etag = models.TextField(blank=True)  # the upstream's; empty: it gave none
    document = models.BinaryField(null=True)  # `page.Page` as JSON; null: the upstream knows no such project
    digest = models.CharField(max_length=64, blank=True)  # sha256, hex, of `document`
    fetched_at = models.DateTimeField()  # when `document` was received
    checked_at = models.DateTimeField()  # when the upstream last confirmed it

    def __str__(self) -> str:
        return self.name


class File(models.Model):
    """A file somebody asked for. It outlives its page: a stored file is served without any upstream."""

    project = models.TextField()  # normalised (PEP 503)
    filename = models.TextField()
    version = models.TextField()
    sha256 = models.CharField(max_length=64)
    size = models.BigIntegerField(null=True)  # null: the upstream's page does not say
    metadata_sha256 = models.CharField(max_length=64, blank=True)  # PEP 658; empty: none, or not verifiable
    url = models.TextField()  # at the upstream
    asked_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "filename", "sha256"], name="index_file_once"),
        ]

    def __str__(self) -> str:
        return self.filename
