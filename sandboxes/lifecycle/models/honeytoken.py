"""Credentials that are worth nothing, planted in sandboxes; and who used one."""

from django.db import models
from django.db.models.functions import Now

from sandboxes.lifecycle.models.sandbox import Sandbox


class Honeytoken(models.Model):
    """One planted credential. The secret itself is derived and kept nowhere: see `lifecycle.bait`."""

    sandbox = models.ForeignKey(Sandbox, on_delete=models.PROTECT, related_name="honeytokens")
    kind = models.CharField(max_length=10)  # `bait.Kind`
    identifier = models.TextField()  # what a person may see of it: an access key's id, a key's fingerprint
    digest = models.CharField(max_length=64, unique=True)  # sha256, hex, of what whoever uses it has to show
    planted_at = models.DateTimeField(db_default=Now())
    used_at = models.DateTimeField(null=True)  # last
    uses = models.PositiveIntegerField(default=0, db_default=0)

    class Meta:
        indexes = [models.Index(fields=["sandbox", "id"], name="honeytoken_of_sandbox")]

    def __str__(self) -> str:
        return f"{self.kind} {self.identifier}"


class HoneytokenUse(models.Model):
    """A use, written down by the index process (`sandboxes.index.honey`); the first hundred of each token."""

    token = models.ForeignKey(Honeytoken, on_delete=models.PROTECT, related_name="used")
    at = models.DateTimeField(db_default=Now())
    # Whose endpoint or index token came with it, when that is known: not always the one it was planted in.
    seen_in = models.ForeignKey(Sandbox, on_delete=models.PROTECT, null=True, related_name="+")
    method = models.CharField(max_length=20)
    path = models.CharField(max_length=200)  # without the query
    user_agent = models.CharField(max_length=200, blank=True)
    address = models.CharField(max_length=45, blank=True)  # the peer's
    told_at = models.DateTimeField(null=True)  # when alarm and ledger had it

    class Meta:
        indexes = [
            models.Index(fields=["token", "-id"], name="honeytoken_use_newest"),
            models.Index(
                fields=["id"], name="honeytoken_use_untold", condition=models.Q(told_at__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"
