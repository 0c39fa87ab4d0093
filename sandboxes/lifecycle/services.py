"""What may be done to a sandbox from outside: open, extend, end. The rest happens in `steps`."""

from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from sandboxes.audit.services import Actor, record
from sandboxes.errors import ConflictError, NotFoundError
from sandboxes.lifecycle import hints
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.moves import start_ending
from sandboxes.lifecycle.phases import LIVE, OVER, Phase


def open_sandbox(
    *,
    owner: Actor,
    profile: str,
    lease: timedelta,
    data_class: str,
    tools: Sequence[str],
    by: Actor | None,
) -> Sandbox:
    """A row in phase `pending`, in the caller's transaction; a worker makes it real after the commit."""
    with transaction.atomic():
        sandbox = Sandbox.objects.create(
            cluster=settings.CLUSTER_NAME,
            owner_id=owner.pk,
            profile=profile,
            data_class=data_class,
            tools=list(tools),
            lease=lease,
        )
        data = {"owner": owner.get_username(), "profile": profile, "lease_seconds": lease.total_seconds()}
        record(actor=by, action="sandbox.pending", subject=f"sandbox:{sandbox.pk}", data=data)
        hints.look_at(sandbox.pk)
    return sandbox


def extend(*, sandbox_id: int, add: timedelta, by: Actor | None) -> Sandbox:
    """Lengthens a live sandbox's lease. ConflictError if it is no longer live."""
    with transaction.atomic():
        won = Sandbox.objects.filter(pk=sandbox_id, phase__in=LIVE).update(
            lease=F("lease") + add,
            expires_at=F("expires_at") + add,  # null stays null: the lease has not begun
            warned_at=None,
            next_check_at=timezone.now(),
        )
        if not won:
            raise ConflictError("This sandbox is no longer live, so its lease cannot be extended.")
        sandbox = Sandbox.objects.get(pk=sandbox_id)
        data = {"added_seconds": add.total_seconds(), "expires_at": sandbox.expires_at}
        record(actor=by, action="sandbox.extended", subject=f"sandbox:{sandbox_id}", data=data)
        hints.look_at(sandbox_id)
    return sandbox


def look_at_all_of(owner_id: int) -> None:
    """Has a worker look at everything this person has live, now."""
    live = Sandbox.objects.filter(owner_id=owner_id, phase__in=LIVE)
    live.update(next_check_at=timezone.now())
    for sandbox_id in live.values_list("pk", flat=True):
        hints.look_at(sandbox_id)


def end(sandbox_id: int, *, by: Actor, reason: str = "") -> Sandbox:
    """Ends a live sandbox now. Asking again changes nothing; ConflictError when it is over."""
    while True:  # each turn means that somebody else moved it on, and phases only move forward
        sandbox = Sandbox.objects.filter(pk=sandbox_id).first()
        if sandbox is None:
            raise NotFoundError("There is no such sandbox.")
        if sandbox.phase in OVER:
            raise ConflictError(f"This sandbox is over already: it {sandbox.phase}.")
        if sandbox.phase == Phase.ENDING or start_ending(
            sandbox, reason=reason or f"ended by {by.get_username()}", actor=by
        ):
            return sandbox
