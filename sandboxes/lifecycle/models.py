"""Sandbox rows: one namespace and its lease. Phases change only through `moves.move`."""

from django.conf import settings
from django.db import models
from django.utils import timezone

from sandboxes.lifecycle.phases import Phase


class Sandbox(models.Model):
    """One namespace and its lease, from approval to receipt. Never deleted."""

    name = models.CharField(max_length=63, unique=True, null=True)  # noqa: DJ001 -- not named yet; also the user name at the index
    namespace = models.CharField(max_length=63, unique=True, null=True)  # noqa: DJ001 -- as above
    namespace_uid = models.CharField(max_length=64, blank=True)
    cluster = models.CharField(max_length=100)
    simulated = models.BooleanField(default=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="sandboxes")
    profile = models.CharField(max_length=63)
    data_class = models.CharField(max_length=20)
    tools = models.JSONField(default=list)  # what the owner declared, as typed
    spec_hash = models.CharField(max_length=64, blank=True)
    index_token_digest = models.CharField(max_length=64, blank=True)  # sha256, hex; empty: no token works

    phase = models.CharField(max_length=20, default=Phase.PENDING.value)
    lease = models.DurationField()  # counted from `ready_at`
    end_reason = models.TextField(blank=True)  # set once, when it leaves for `ending`
    failure = models.TextField(blank=True)  # why a provision failed; decides `failed` over `ended`
    last_error = models.TextField(blank=True)  # of the newest attempt, cleared by a success
    attempts = models.PositiveIntegerField(default=0)

    created_at = models.DateTimeField(default=timezone.now)
    phase_at = models.DateTimeField(default=timezone.now)
    ready_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    warned_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    workloads_gone_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    teardown = models.JSONField(default=dict)  # notes for the receipt, gathered step by step

    next_check_at = models.DateTimeField(null=True, default=timezone.now)  # null: nothing more to do

    class Meta:
        verbose_name_plural = "sandboxes"
        indexes = [
            models.Index(
                fields=["next_check_at"], name="sandbox_due", condition=models.Q(next_check_at__isnull=False)
            ),
            models.Index(fields=["owner", "-id"], name="sandbox_owner"),
            models.Index(fields=["phase", "-id"], name="sandbox_phase"),
        ]

    def __str__(self) -> str:
        return self.name or f"sandbox {self.pk}"


class Probe(models.Model):
    """What one run of the seal's test tried, and what happened."""

    sandbox = models.ForeignKey(Sandbox, on_delete=models.PROTECT, related_name="probes")
    at = models.DateTimeField(default=timezone.now)
    passed = models.BooleanField()
    simulated = models.BooleanField()
    attempts = models.JSONField()  # [{target, host, port, expected, result, milliseconds, detail}]

    class Meta:
        indexes = [models.Index(fields=["sandbox", "-id"])]


class Receipt(models.Model):
    """Proof of teardown, written in the transaction that ends the sandbox."""

    sandbox = models.OneToOneField(Sandbox, on_delete=models.PROTECT, related_name="receipt")
    at = models.DateTimeField(default=timezone.now)
    document = models.JSONField()
