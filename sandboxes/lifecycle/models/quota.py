"""How much a person, a department or a profile may have at once."""

from enum import StrEnum

from django.db import models


class Scope(StrEnum):
    PERSON = "person"
    DEPARTMENT = "department"
    PROFILE = "profile"


class Quota(models.Model):
    """Limits for one subject; an empty subject is the default of its scope. Null is no limit.

    A cluster's limits are its capacity (`RegisteredCluster.max_…`).
    """

    scope = models.CharField(max_length=20)
    subject = models.CharField(
        max_length=200, blank=True
    )  # user name, department or profile; "" for the default
    sandboxes = models.PositiveIntegerField(null=True)
    cpu_millis = models.PositiveIntegerField(null=True)
    memory_mib = models.PositiveIntegerField(null=True)
    gpus = models.PositiveIntegerField(null=True)

    class Meta:
        ordering = ["scope", "subject"]
        constraints = [models.UniqueConstraint(fields=["scope", "subject"], name="quota_once")]

    def __str__(self) -> str:
        return f"{self.scope} {self.subject or '(default)'}"
