"""Sandbox rows: one namespace and its lease. Phases change only through `moves.move`."""

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from sandboxes.lifecycle.phases import Phase


class Sandbox(models.Model):
    """One namespace and its lease, from approval to receipt. Never deleted."""

    name = models.CharField(max_length=63, unique=True, null=True)  # noqa: DJ001 -- not named yet; also the user name at the index
    namespace = models.CharField(max_length=63, unique=True, null=True)  # noqa: DJ001 -- as above
    namespace_uid = models.CharField(max_length=64, blank=True)
    cluster = models.CharField(max_length=100, blank=True)  # empty while it is queued: no place yet
    simulated = models.BooleanField(default=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="sandboxes")
    department = models.CharField(max_length=200, blank=True)  # the owner's, when it was asked for
    profile = models.CharField(max_length=63)
    data_class = models.CharField(max_length=20)
    tools = models.JSONField(default=list)  # what the owner declared, as typed
    spec_hash = models.CharField(max_length=64, blank=True)
    index_token_digest = models.CharField(max_length=64, blank=True)  # sha256, hex; empty: no token works
    tokens_revoked = models.PositiveIntegerField(
        default=0
    )  # that worked once: part of the next; see `tokens`

    phase = models.CharField(max_length=20, default=Phase.PENDING.value)
    lease = models.DurationField()  # counted from `ready_at`
    end_reason = models.TextField(blank=True)  # set once, when it leaves for `ending`
    failure = models.TextField(blank=True)  # why a provision failed; decides `failed` over `ended`
    last_error = models.TextField(blank=True)  # of the newest attempt, cleared by a success
    attempts = models.PositiveIntegerField(default=0)

    # What it takes from the quotas, from its reservation to its receipt.
    cpu_millis = models.PositiveIntegerField(default=0)
    memory_mib = models.PositiveIntegerField(default=0)
    gpus = models.PositiveIntegerField(default=0)
    charged = models.BooleanField(default=False)

    # The database's clock, not that of whoever writes the row.
    created_at = models.DateTimeField(db_default=Now())
    phase_at = models.DateTimeField(db_default=Now())
    ready_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    warned_at = models.DateTimeField(null=True)
    expiry_shown = models.DateTimeField(null=True)  # the end that its namespace's annotation names
    revoked_at = models.DateTimeField(null=True)
    # When it was ended with time left on its lease, and by nobody: what the deletions' breaker counts.
    early_end_at = models.DateTimeField(null=True)
    workloads_gone_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    teardown = models.JSONField(default=dict)  # notes for the receipt, gathered step by step

    # The seal, after it was opened.
    probe_due_at = models.DateTimeField(null=True)  # when the seal has to be proven again
    probe_started_at = models.DateTimeField(null=True)  # names the run under way; null at the very first
    inspect_due = models.BooleanField(default=False)  # its objects may differ from what was rendered
    observed = models.CharField(max_length=32, blank=True)  # digest of its objects when last found right
    found = models.JSONField(default=list)  # those objects, as "Kind/name"
    isolated_at = models.DateTimeField(null=True)
    isolation_reason = models.TextField(blank=True)
    cut_at = models.DateTimeField(null=True)  # when the cluster had carried the isolation out
    stuck_since = models.DateTimeField(null=True)
    blocker = models.TextField(blank=True)  # what keeps its namespace from going, in the cluster's words

    # Sleep and legal hold.
    hibernated_at = models.DateTimeField(null=True)
    last_active_at = models.DateTimeField(null=True)  # index traffic, an exec, or CPU above the threshold
    hold_until = models.DateTimeField(null=True)  # no end before this, whatever the lease says
    hold_reason = models.TextField(blank=True)
    hold_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="holds"
    )

    next_check_at = models.DateTimeField(null=True, db_default=Now())  # null: nothing more to do
    leased_by = models.PositiveIntegerField(null=True)  # the worker process that is at it; see `claims`
    leased_until = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "sandboxes"
        indexes = [
            # By cluster: what waits for one that is down is never gone through to find work for another.
            models.Index(
                fields=["cluster", "next_check_at"],
                name="sandbox_due",
                condition=models.Q(next_check_at__isnull=False),
            ),
            models.Index(
                fields=["cluster"], name="sandbox_leased", condition=models.Q(leased_by__isnull=False)
            ),
            models.Index(
                fields=["early_end_at"],
                name="sandbox_early_end",
                condition=models.Q(early_end_at__isnull=False),
            ),
            models.Index(fields=["owner", "-id"], name="sandbox_owner"),
            models.Index(fields=["phase", "-id"], name="sandbox_phase"),
            # What is alive stays small however much history there is.
            models.Index(fields=["cluster", "id"], name="sandbox_charged", condition=models.Q(charged=True)),
            models.Index(
                fields=["expires_at"],
                name="sandbox_expiry",
                condition=models.Q(phase__in=["ready", "hibernated", "isolated", "probing"]),
            ),
            models.Index(fields=["id"], name="sandbox_queued", condition=models.Q(phase="queued")),
        ]

    def __str__(self) -> str:
        return self.name or f"sandbox {self.pk}"


class Probe(models.Model):
    """What one run of the seal's test tried, and what happened."""

    sandbox = models.ForeignKey(Sandbox, on_delete=models.PROTECT, related_name="probes")
    at = models.DateTimeField(default=timezone.now)
    cause = models.CharField(max_length=20, default="opening")  # opening, scheduled, changed, waking, release
    passed = models.BooleanField()
    # holds, open (the seal is broken), unusable (the probe failed) or unproven (its control did): `verdict`
    outcome = models.CharField(max_length=10, default="holds")
    simulated = models.BooleanField()
    # [{target, host, port, protocol, expected, result, milliseconds, detail, control}]
    attempts = models.JSONField()
    control = models.JSONField(
        default=dict
    )  # {pod, started_at, finished_at}: who was allowed, in the same run

    class Meta:
        indexes = [models.Index(fields=["sandbox", "-id"])]


class Receipt(models.Model):
    """Proof of teardown, written in the transaction that ends the sandbox."""

    sandbox = models.OneToOneField(Sandbox, on_delete=models.PROTECT, related_name="receipt")
    at = models.DateTimeField(default=timezone.now)
    document = models.JSONField()
    key_id = models.CharField(max_length=16, blank=True)  # which key signed it; empty: from before signing
    signature = models.CharField(
        max_length=128, blank=True
    )  # Ed25519 over the document's canonical JSON, base64


class Step(models.Model):
    """One step of a sandbox's way, as its timeline shows it. A repeated try counts on in the same row."""

    sandbox = models.ForeignKey(Sandbox, on_delete=models.PROTECT, related_name="steps")
    name = models.CharField(max_length=40)
    started_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True)  # null: not done yet
    tries = models.PositiveIntegerField(default=1)
    worked_ms = models.PositiveIntegerField(default=0)  # spent at it, waits between tries left out
    error = models.TextField(blank=True)  # of the newest try that failed

    class Meta:
        indexes = [models.Index(fields=["sandbox", "id"])]
        constraints = [
            models.UniqueConstraint(
                fields=["sandbox", "name"], condition=models.Q(ended_at__isnull=True), name="step_open_once"
            )
        ]
