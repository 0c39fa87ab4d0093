"""A ready sandbox: what has to be done for it now, and when it wants to be looked at again.

Each of `_KEEPERS` looks after one thing, does nothing (and asks the cluster nothing) when
nothing of its is due, and says when it will be. Between those moments a quiet sandbox costs
nothing at all: that its namespace is still there and as it was made is seen by the listing of
the whole cluster (`observing`), which marks those to be looked into. Its lease is `expiry`'s.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Final

from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.kinds import NAMESPACE
from sandboxes.cluster.spec import Labels
from sandboxes.errors import ClusterRefusedError
from sandboxes.lifecycle import clock, clusters, drift, egress, proving, sleeping
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import Phase
from sandboxes.lifecycle.presence import is_gone

type Keeper = Callable[[Sandbox, Cluster], datetime | None]

_KEEPERS: Final[tuple[Keeper, ...]] = (egress.keep, drift.keep, proving.keep, sleeping.keep)
_AT_LEAST: Final = timedelta(seconds=1)
_AT_MOST: Final = timedelta(days=1)


def take(sandbox: Sandbox) -> timedelta | None:
    """Everything that is due for it; then the wait until its own next event."""
    cluster = clusters.get(sandbox.cluster)
    if not _show_expiry(sandbox, cluster):
        return None
    wanted = []
    for moment in _keep(sandbox, cluster):
        if sandbox.phase != Phase.READY:
            return None
        wanted.append(moment)
    return _until(sandbox, wanted)


def _keep(sandbox: Sandbox, cluster: Cluster) -> Iterator[datetime | None]:
    """After each, the row as it is now: what one finds may have isolated or ended the sandbox."""
    for keep in _KEEPERS:
        moment = keep(sandbox, cluster)
        sandbox.refresh_from_db()
        yield moment


def _until(sandbox: Sandbox, wanted: list[datetime | None]) -> timedelta:
    now = clock.now()
    moments = [moment for moment in (*wanted, sandbox.expires_at, sandbox.hold_until) if moment is not None]
    # What is past is either done or, like the end of a lease on hold, not for here.
    due = [moment for moment in wanted if moment is not None and moment <= now]
    if due:
        return _AT_LEAST
    return max(_AT_LEAST, min([moment - now for moment in moments if moment > now], default=_AT_MOST))


def _show_expiry(sandbox: Sandbox, cluster: Cluster) -> bool:
    """The namespace's annotation says when it ends; told again when that changed. False: there is none any more.

    Only that annotation is written: labels that somebody edited are the seal, and `drift` must see them.
    """
    if sandbox.expiry_shown == sandbox.expires_at:
        return True
    try:
        said = {Labels.EXPIRES_AT: sandbox.expires_at.isoformat() if sandbox.expires_at else None}
        metadata = {"uid": sandbox.namespace_uid, "annotations": said}
        cluster.api.merge(NAMESPACE.path(None, sandbox.namespace or ""), {"metadata": metadata})
    except ClusterRefusedError:
        if is_gone(sandbox, cluster):
            return False
        raise
    Sandbox.objects.filter(pk=sandbox.pk).update(expiry_shown=sandbox.expires_at)
    sandbox.expiry_shown = sandbox.expires_at
    return True
