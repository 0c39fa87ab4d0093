"""The worker's side of hibernation: no pod left, and who is idle.

Idle is who shows no sign of life for as long as the profile says (`hibernateAfter`): no
request to the index, no process but the workspace's own (an open shell is one), and next to
no CPU. The index writes its requests down as they come; the rest is sampled from what the
workspace reports of itself once a minute. Where nothing is known, it counts as active:
missing data puts nobody to sleep. The owner could forge such reports, and would gain a
sandbox that stays awake, or their own put to sleep.
"""

from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models.functions import Greatest

from sandboxes.audit.services import record
from sandboxes.cluster.driver import Activity, Cluster
from sandboxes.errors import ClusterRefusedError
from sandboxes.lifecycle import belonging, clock, clusters, drift, holds, specs
from sandboxes.lifecycle.hibernation import hibernate
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import Phase
from sandboxes.lifecycle.presence import home
from sandboxes.lifecycle.steplog import step

SOON: Final = timedelta(milliseconds=400)
BUSY_MILLIS: Final = 20.0  # thousandths of a core; a workspace that nobody uses needs less than one
_LOOK_EVERY: Final = timedelta(hours=1)
_SAMPLE: Final = (timedelta(minutes=1), timedelta(minutes=5))  # at least, at most
_SAMPLES: Final = 6  # in the time after which it sleeps
_STALE: Final = timedelta(minutes=5)  # a report older than this says nothing about now


def take(sandbox: Sandbox) -> timedelta | None:
    """A step of a sandbox that sleeps, or falls asleep: no pods, and that seen.

    Asleep it costs nothing: the listing of the whole cluster sees when something changes in it.
    """
    if sandbox.hibernated_at is not None and not sandbox.inspect_due:
        return _LOOK_EVERY
    cluster = clusters.get(sandbox.cluster)
    state = home(sandbox, cluster)
    if state is None:
        return None
    if not belonging.is_labelled(sandbox, state):  # a seal changed from outside, awake or asleep
        sandbox.inspect_due = True
        drift.keep(sandbox, cluster)
        return timedelta()
    namespace = sandbox.namespace or ""
    with step(sandbox, "falling asleep") as attempt:
        cluster.scale_workspace(namespace, 0)
        cluster.delete_probe(namespace)
        if cluster.pods_left(namespace):
            attempt.wait()
            return SOON
    _note_asleep(sandbox)
    drift.keep(sandbox, cluster)
    return _LOOK_EVERY


def keep(sandbox: Sandbox, cluster: Cluster) -> datetime | None:
    """Of a ready sandbox: puts it to sleep if it has been idle for as long as its profile allows."""
    after = _idle_allowed(sandbox)
    if after is None or holds.held(sandbox):
        return None
    now = clock.now()
    if _is_active(_activity(sandbox, cluster), now):
        _note_active(sandbox)
        return now + _between_samples(after)
    idle_since = max(filter(None, (sandbox.phase_at, sandbox.last_active_at)))
    if now - idle_since < after:
        return min(idle_since + after, now + _between_samples(after))
    hibernate(sandbox.pk, by=None, reason="idle")
    return None


def _note_asleep(sandbox: Sandbox) -> None:
    with transaction.atomic():
        rows = Sandbox.objects.filter(pk=sandbox.pk, phase=Phase.HIBERNATED, hibernated_at=None)
        if rows.update(hibernated_at=clock.Now()):
            record(actor=None, action="sandbox.asleep", subject=f"sandbox:{sandbox.pk}")


def _idle_allowed(sandbox: Sandbox) -> timedelta | None:
    """None: its profile does not put anything to sleep, or is no longer offered."""
    profile = specs.templates().profiles.get(sandbox.profile)
    return profile.hibernate_after if profile else None


def _activity(sandbox: Sandbox, cluster: Cluster) -> Activity | None:
    try:
        return cluster.workspace_activity(sandbox.namespace or "")
    except ClusterRefusedError:  # no permission to read logs, say: then it is unknown
        return None


def _is_active(seen: Activity | None, now: datetime) -> bool:
    if seen is None or now - seen.at > _STALE:
        return True
    return seen.processes > 0 or seen.cpu_millis >= BUSY_MILLIS


def _note_active(sandbox: Sandbox) -> None:
    rows = Sandbox.objects.filter(pk=sandbox.pk, phase=Phase.READY)
    rows.update(last_active_at=Greatest("last_active_at", clock.Now()))


def _between_samples(after: timedelta) -> timedelta:
    least, most = _SAMPLE
    return max(least, min(after / _SAMPLES, most))
