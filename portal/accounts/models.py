"""People and their API tokens."""

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils import timezone

from portal.accounts.permissions import ROLE_PERMISSIONS, Permission, Role


class User(AbstractUser):
    """A person. What they may do follows from `role` alone; Django's own groups are not used."""

    display_name = models.CharField(max_length=150, blank=True)
    department = models.CharField(max_length=150, blank=True)
    manager = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="reports"
    )
    role = models.CharField(max_length=20, default=Role.EMPLOYEE.value)

    def __str__(self) -> str:
        return self.display_name or self.username

    @property
    def permissions(self) -> frozenset[Permission]:
        """An unknown role, or a person who is disabled, may do nothing."""
        if not self.is_active or self.role not in set(Role):
            return frozenset()
        return ROLE_PERMISSIONS[Role(self.role)]

    def may(self, permission: Permission) -> bool:
        return permission in self.permissions


class ApiToken(models.Model):
    """A personal API token. Only the digest of the token is kept; the token itself is shown once."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    digest = models.CharField(max_length=64, unique=True)  # sha256, hex: the token has 256 random bits
    hint = models.CharField(max_length=12)  # its first characters, to tell tokens apart
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.name} ({self.hint}…)"
