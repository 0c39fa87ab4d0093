"""The worker's side of `orphans`: cutting them off, and deleting them when their time has come.

Each is claimed by moving its `check_at` ahead, and every step may be repeated. Until it goes,
a namespace is cut off anew at every look, and what had been put back is told.
"""

import logging
from datetime import timedelta
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from sandboxes.audit.queries import about
from sandboxes.cluster import quarantine
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.spec import Labels, NamespaceState
from sandboxes.cluster.tending import NAME_PREFIX
from sandboxes.errors import PetridishError, RefusedError
from sandboxes.lifecycle import alarms, clock, clusters, identity, limits, registry, restore, specs, switch
from sandboxes.lifecycle.models import Orphan, Sandbox
from sandboxes.lifecycle.orphans import (
    ALARM,
    NAMESPACE,
    VOLUME,
    answered_for,
    live_numbers,
    record_about,
    tell,
    undecided,
)
from sandboxes.lifecycle.phases import LIVE

logger = logging.getLogger(__name__)
_RETURNED: Final = "orphan.quarantine_broken"
_AT_ONCE: Final = 100  # worked on in one sweep
_CLAIM: Final = timedelta(minutes=2)  # for whoever works on one; then another may
_SOON: Final = timedelta(seconds=5)  # pods are being stopped, a namespace is terminating
_LATER: Final = timedelta(minutes=5)


def sweep() -> int:
    """Quarantines what is new and deletes what is past its grace; how many were worked on."""
    if switch.paused():
        return 0
    due = Orphan.objects.filter(gone_at=None, kept_by=None, check_at__lte=clock.Now()).order_by("check_at")
    names = set(due.values_list("cluster", flat=True))
    usable = [name for name in names if _is_usable(name)]
    worked = 0
    for orphan in due.filter(cluster__in=usable)[:_AT_ONCE]:
        worked += _claimed_and_worked(orphan)
    return worked


def _is_usable(cluster_name: str) -> bool:
    row = registry.get(cluster_name)
    return not row.strange_uid and identity.may_ask(row)


def _claimed_and_worked(orphan: Orphan) -> bool:
    """Compare-and-set on its time: whoever moves it ahead works on it."""
    rows = Orphan.objects.filter(pk=orphan.pk, gone_at=None, kept_by=None)
    if not rows.filter(check_at=orphan.check_at).update(check_at=clock.now() + _CLAIM):
        return False
    try:
        with limits.watching(orphan.cluster):
            wait = _work(orphan, clusters.get(orphan.cluster))
        rows.update(check_at=clock.now() + wait, last_error="")
    except PetridishError as error:
        logger.warning("Orphan %s of cluster %s: %s", orphan, orphan.cluster, error)
        rows.update(check_at=clock.now() + _LATER, last_error=str(error))
    return True


def _work(orphan: Orphan, cluster: Cluster) -> timedelta:
    """One step for one of them; how long to wait for the next."""
    if not _is_nobodys(orphan):
        _close(orphan, "a row answers for it")
        return timedelta()
    if orphan.kind == NAMESPACE:
        return _work_on_namespace(orphan, cluster)
    if orphan.kind == VOLUME:
        return _work_on_volume(orphan, cluster)
    raise RefusedError(f"Nobody here knows how to delete a {orphan.kind}.")


def _work_on_namespace(orphan: Orphan, cluster: Cluster) -> timedelta:
    state = cluster.namespace(orphan.name)
    if state is None or state.uid != orphan.uid:
        _close(orphan, "it is gone")
        return timedelta()
    _check_ours(state)
    if state.phase == "Terminating":
        return _SOON if orphan.deleted_at else _LATER
    _check_named_as_ours(orphan)
    was_open = quarantine.cut_off(cluster, orphan.name, orphan.uid, specs.isolated_templates())
    if orphan.quarantined_at is None:
        _note_quarantine(orphan)
    elif was_open:
        _note_return(orphan, was_open)
    if not _may_go(orphan):
        return _until(orphan)
    switch.check_delete(orphan.name, orphan.uid)
    cluster.delete_workloads(orphan.name)
    if cluster.pods_left(orphan.name):
        return _SOON
    _note_deletion(orphan)
    cluster.delete_namespace(orphan.name, orphan.uid)
    return _SOON


def _work_on_volume(orphan: Orphan, cluster: Cluster) -> timedelta:
    seen = {volume.uid: volume for volume in cluster.volumes(settings.INSTALLATION_ID)}
    if orphan.uid not in seen:
        _close(orphan, "it is gone")
        return timedelta()
    if orphan.quarantined_at is None:  # nobody can use it any more: its grace just begins
        _note_quarantine(orphan)
    if not _may_go(orphan):
        return _until(orphan)
    _note_deletion(orphan)
    cluster.delete_volume(orphan.name, orphan.uid)
    return _SOON


def _check_ours(state: NamespaceState) -> None:
    """The labels as they are at this moment decide, not those of the listing."""
    if state.labels.get(Labels.INSTALLATION) != settings.INSTALLATION_ID:
        raise RefusedError(f"Namespace {state.name} is another installation's now; it is left alone.")
    if Labels.CANARY in state.labels:
        raise RefusedError(f"Namespace {state.name} is the canary's; it is left alone.")


def _check_named_as_ours(orphan: Orphan) -> None:
    """Anybody can put two labels on a namespace of theirs. One that was never named here is for an admin to order."""
    if orphan.ordered or orphan.name.startswith(NAME_PREFIX):
        return
    told = f"Namespace {orphan.name} carries our labels and is not named as any of ours: it is left alone."
    message = f"{told} It is in cluster {orphan.cluster}. Find out who labelled it."
    alarms.alarm(ALARM, f"orphan:{orphan.pk}", message)
    raise RefusedError(told)


def _is_nobodys(orphan: Orphan) -> bool:
    """Whether still no row answers for it: an admin may have restored a newer database, say."""
    if orphan.kind == NAMESPACE:
        answered = answered_for(orphan.cluster, [orphan.name], clock.now())
        return not answered.get(orphan.name, frozenset()) & {"", orphan.uid}
    return orphan.sandbox_label not in live_numbers([orphan.sandbox_label])


def _may_go(orphan: Orphan) -> bool:
    """Past its grace, and nothing stands against deleting."""
    if orphan.delete_after is None or orphan.delete_after > clock.now():
        return False
    if not restore.may_delete_on(orphan.cluster):
        return False
    reason = _too_many(orphan.cluster)
    if reason:
        switch.stop_deletions(reason)
    return not reason


def _until(orphan: Orphan) -> timedelta:
    """To the end of its grace, with a look now and then: somebody may put something back."""
    left = (orphan.delete_after or clock.now()) - clock.now()
    return min(left, _LATER) if left > timedelta() else _LATER


def _too_many(cluster_name: str) -> str:
    """The breaker's share and floor, counted for orphans that no admin has looked at since it opened last."""
    state = switch.state()
    seen = Q() if state.confirmed_at is None else Q(delete_after__gt=state.confirmed_at)
    due = undecided(cluster_name).filter(seen, kind=NAMESPACE, ordered=False, delete_after__lte=clock.Now())
    count = due.count()
    live = Sandbox.objects.filter(cluster=cluster_name, phase__in=LIVE).count()
    if count < state.breaker_floor or count <= state.breaker_share * (live + count):
        return ""
    return (
        f"{count} namespaces of cluster {cluster_name} that no row knows would be deleted at once, beside "
        f"{live} live sandboxes. Look at whose they are before they are deleted."
    )


def _note_quarantine(orphan: Orphan) -> None:
    """Its grace begins. What an admin ordered meanwhile stays ordered."""
    grace = clock.now() + settings.ORPHAN_GRACE
    with transaction.atomic():
        rows = Orphan.objects.filter(pk=orphan.pk, quarantined_at=None)
        rows.filter(delete_after=None).update(delete_after=grace)
        if rows.update(quarantined_at=clock.Now()):
            record_about(orphan, "orphan.quarantined", None)
    orphan.refresh_from_db()


def _note_return(orphan: Orphan, back: list[str]) -> None:
    """What somebody put back was taken away again; the same is told once, however often it comes back."""
    subject, listed = f"orphan:{orphan.pk}", ", ".join(back)
    message = (
        f"{orphan} in cluster {orphan.cluster} was cut off, and this came back: {listed}. It is gone again."
    )
    with transaction.atomic():
        alarms.alarm(ALARM, subject, message)
        last = about(subject).filter(action=_RETURNED).last()
        if last is None or last.data["found"] != back:
            record_about(orphan, _RETURNED, None, found=back)


def _note_deletion(orphan: Orphan) -> None:
    """Before it is asked for: a worker that dies after the request leaves no deletion without an entry."""
    with transaction.atomic():
        if Orphan.objects.filter(pk=orphan.pk, deleted_at=None).update(deleted_at=clock.Now()):
            record_about(orphan, "orphan.deleted", None)


def _close(orphan: Orphan, why: str) -> None:
    with transaction.atomic():
        if Orphan.objects.filter(pk=orphan.pk, gone_at=None).update(gone_at=clock.Now()):
            tell(orphan.cluster)
            alarms.clear_all(f"orphan:{orphan.pk}")
            record_about(orphan, "orphan.closed", None, why=why)
