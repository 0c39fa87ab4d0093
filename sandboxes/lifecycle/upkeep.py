"""A ready sandbox: its lease, its warning, and whether it is still there."""

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from sandboxes.audit.services import record
from sandboxes.cluster.driver import Cluster
from sandboxes.lifecycle import clusters, specs
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.moves import start_ending
from sandboxes.lifecycle.phases import Phase
from sandboxes.lifecycle.timing import warn_at


def take(sandbox: Sandbox) -> timedelta | None:
    """A ready sandbox: expire it, warn before that, and notice when its namespace is no longer there."""
    assert sandbox.expires_at is not None  # noqa: S101 -- set in the same update as the phase
    now = timezone.now()
    if sandbox.expires_at <= now:
        # An extension may have been granted since the row was read: then it is not expired after all.
        start_ending(sandbox, reason="expired", only_if={"expires_at__lte": now})
        return None
    warning = warn_at(sandbox.expires_at, sandbox.lease)
    if warning <= now and sandbox.warned_at is None:
        _warn(sandbox)
    cluster = clusters.get(sandbox.cluster)
    state = cluster.namespace(sandbox.namespace or "")
    if state is None or state.uid != sandbox.namespace_uid or state.phase == "Terminating":
        start_ending(sandbox, reason="its namespace was deleted by somebody else")
        return None
    _show_expiry(sandbox, cluster)
    next_event = sandbox.expires_at if sandbox.warned_at or warning <= now else warning
    return min(next_event - now, settings.READY_CHECK_EVERY)


def _warn(sandbox: Sandbox) -> None:
    with transaction.atomic():
        won = Sandbox.objects.filter(pk=sandbox.pk, phase=Phase.READY, warned_at=None).update(
            warned_at=timezone.now()
        )
        if won:
            record(
                actor=None,
                action="sandbox.expiry_warned",
                subject=f"sandbox:{sandbox.pk}",
                data={"expires_at": sandbox.expires_at},
            )
    sandbox.refresh_from_db(fields=["warned_at"])


def _show_expiry(sandbox: Sandbox, cluster: Cluster) -> None:
    """The namespace's annotation says when it ends."""
    cluster.update_namespace(specs.rendered(sandbox, cluster).seal[0], uid=sandbox.namespace_uid)
