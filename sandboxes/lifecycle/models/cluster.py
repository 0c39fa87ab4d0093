"""Clusters that an admin registered, how much they hold, and whether they are trusted."""

from enum import StrEnum

from django.db import models
from django.utils import timezone


class Source(StrEnum):
    ENVIRONMENT = "environment"  # KUBECONFIG and KUBE_CONTEXT, or the simulated one
    KUBECONFIG = "kubeconfig"  # pasted by an admin, kept encrypted
    IN_CLUSTER = "in-cluster"  # the service account of the pod that Petridish runs in


class RegisteredCluster(models.Model):
    """One cluster. `sandboxes.cluster.driver.Cluster` talks to it."""

    name = models.CharField(max_length=100, unique=True)
    source = models.CharField(max_length=20, default=Source.ENVIRONMENT.value)
    kubeconfig = models.BinaryField(default=b"")  # encrypted; see `lifecycle.registry`
    context = models.CharField(max_length=200, blank=True)
    labels = models.JSONField(default=dict)  # what profiles may ask for: {"gpu": "a100"}
    enabled = models.BooleanField(default=True)  # takes new sandboxes
    added_at = models.DateTimeField(default=timezone.now)

    # Trust: a cluster on which a seal failed takes nothing new until an admin says so.
    trusted = models.BooleanField(default=True)
    distrust_reason = models.TextField(blank=True)
    distrusted_at = models.DateTimeField(null=True)

    # Capacity: null is no limit.
    max_sandboxes = models.PositiveIntegerField(null=True)
    max_cpu_millis = models.PositiveIntegerField(null=True)
    max_memory_mib = models.PositiveIntegerField(null=True)
    max_gpus = models.PositiveIntegerField(null=True)

    # How hard it may be worked.
    concurrency = models.PositiveIntegerField(default=8)  # sandboxes worked on at the same time
    requests_per_second = models.FloatField(default=400.0)
    burst = models.PositiveIntegerField(default=800)
    tokens = models.FloatField(default=0.0)  # of the bucket that all workers share
    tokens_at = models.DateTimeField(default=timezone.now)

    # Circuit breaker.
    failures = models.PositiveIntegerField(default=0)  # in a row
    open_until = models.DateTimeField(null=True)  # no call before this; then one, to see
    last_error = models.TextField(blank=True)
    last_ok_at = models.DateTimeField(null=True)

    # Observation.
    uid = models.CharField(
        max_length=64, blank=True
    )  # of its kube-system namespace: is it still the same one?
    listed_at = models.DateTimeField(null=True)  # the last complete listing
    observe_at = models.DateTimeField(null=True)  # when it is to be listed next; see `lifecycle.observing`
    strange_uid = models.CharField(
        max_length=64, blank=True
    )  # of another cluster that answers in its place: nothing is done there
    compared_at = models.DateTimeField(null=True)  # when the mark kept in it last agreed with the ledger
    mark_void = models.BooleanField(default=False)  # its mark is from before a restore that was confirmed
    control = models.JSONField(
        default=dict
    )  # the newest run of the canary's control; see `lifecycle.proving`
    report = models.JSONField(default=dict)  # the newest preflight; see `lifecycle.preflight`
    reported_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.name
