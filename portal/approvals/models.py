"""Requests, the decisions on them, and the rules policy decides by."""

from enum import StrEnum

from django.conf import settings
from django.db import models
from django.utils import timezone

from sandboxes.lifecycle.models import Sandbox


class State(StrEnum):
    PENDING = "pending"  # waits for an approver
    APPROVED = "approved"
    DENIED = "denied"
    WITHDRAWN = "withdrawn"


class Kind(StrEnum):
    SANDBOX = "sandbox"
    EXTENSION = "extension"
    EGRESS = "egress"  # a way out of the seal


class Request(models.Model):
    """What an employee asks for: a sandbox, more time for one, or a way out of it.

    `state` changes once, under its lock.
    """

    kind = models.CharField(max_length=20, default=Kind.SANDBOX.value)
    requester = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="requests")
    profile = models.CharField(max_length=63)
    purpose = models.TextField()  # of an extension: why more time; of a way out: what for
    tools = models.JSONField(default=list)
    duration = models.DurationField()  # of an extension: what to add; of a way out: from asking to `until`
    data_class = models.CharField(max_length=20)
    answers = models.JSONField(default=dict)
    state = models.CharField(max_length=20, default=State.PENDING.value)
    sandbox = models.ForeignKey(Sandbox, null=True, on_delete=models.PROTECT, related_name="requests")
    egress = models.JSONField(null=True)  # of a way out: {cidr, host, port, until}; see `approvals.egress`
    reasons = models.JSONField(default=list)  # what policy said, for people
    rule = models.JSONField(null=True)  # snapshot of the rule that matched; None: none did
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [
            models.Index(fields=["state", "id"], name="request_queue"),
            models.Index(fields=["requester", "-id"], name="request_mine"),
        ]

    def __str__(self) -> str:
        return f"request {self.pk}"


class Decision(models.Model):
    """On a request, by policy (`by` is None) or a person, always with reasons."""

    request = models.OneToOneField(Request, on_delete=models.PROTECT, related_name="decision")
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="decisions"
    )
    approved = models.BooleanField()
    reasons = models.JSONField()
    duration = models.DurationField()  # granted; an approver may shorten what was asked
    at = models.DateTimeField(default=timezone.now)


class Rule(models.Model):
    """One line of policy. Empty condition: any. The first rule by `position` whose conditions all hold decides."""

    position = models.PositiveIntegerField(unique=True)
    name = models.CharField(max_length=100)
    outcome = models.CharField(max_length=10)  # approve, deny, ask
    kinds = models.JSONField(default=list, blank=True)
    data_classes = models.JSONField(default=list, blank=True)
    risks = models.JSONField(default=list, blank=True)
    profiles = models.JSONField(default=list, blank=True)
    gpu = models.BooleanField(null=True)
    max_duration = models.DurationField(null=True)  # holds when the whole lease is at most this
    max_live = models.PositiveIntegerField(
        null=True
    )  # holds when the person would have at most this many live
    enabled = models.BooleanField(default=True)

    class Meta:
        ordering = ["position"]

    def __str__(self) -> str:
        return f"{self.position}. {self.name}"
