"""Asking for sandboxes under limits, and giving them back."""

from datetime import timedelta

from portal.accounts.models import User
from sandboxes.lifecycle import services
from sandboxes.lifecycle.models import Quota, Sandbox
from sandboxes.lifecycle.models.quota import Scope
from sandboxes.lifecycle.moves import move
from sandboxes.lifecycle.phases import Phase

HOUR = timedelta(hours=1)


def wish(owner: User, profile: str = "python", department: str | None = None) -> Sandbox:
    return services.open_sandbox(
        owner=owner,
        department=owner.department if department is None else department,
        profile=profile,
        lease=HOUR,
        data_class="public",
        tools=[],
        by=None,
    )


def give_back(sandbox: Sandbox) -> None:
    """What the receipt does, in the move that closes."""
    sandbox.refresh_from_db()
    services.end(sandbox.pk, by=sandbox.owner)
    sandbox.refresh_from_db()
    assert move(sandbox, Phase.ENDED, charged=False)


def limit(scope: Scope, subject: str, **limits: int) -> None:
    Quota.objects.update_or_create(scope=scope, subject=subject, defaults=limits)


def phases(*sandboxes: Sandbox) -> list[str]:
    for sandbox in sandboxes:
        sandbox.refresh_from_db()
    return [sandbox.phase for sandbox in sandboxes]
