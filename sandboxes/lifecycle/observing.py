"""What is really in the clusters, compared with the rows: one paged listing each, every half minute.

Full lists are the truth; a watch (`watches`) only shortens the wait. A listing gives one
digest per namespace over everything in it that matters, and a row keeps the digest of when
its objects were last found right: as long as both agree, a sandbox costs neither a request
nor a write. Where they differ, or the namespace is not the one that was made, the row is
marked (`inspect_due`) and a worker looks closely (`drift`). Nothing is decided here: what
was seen is seconds old, and a row is only marked if it was in its phase before the listing
began. What belongs to no row goes to `orphans`.

Before any of it the cluster is asked who it is, and the mark that is kept in it is compared
with the ledger now and then: see `identity` and `restore`.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import batched
from typing import Final, NamedTuple

from django.conf import settings
from django.db import connection
from django.db.models import F, Q

from sandboxes.cluster import observation
from sandboxes.cluster.canary import canary_namespace
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.observation import SeenNamespace
from sandboxes.errors import PetridishError
from sandboxes.lifecycle import (
    alarms,
    clock,
    clusters,
    controls,
    identity,
    limits,
    marks,
    orphans,
    registry,
    restore,
)
from sandboxes.lifecycle.models import RegisteredCluster, Sandbox
from sandboxes.lifecycle.models.cluster import Source
from sandboxes.lifecycle.phases import OPENED

logger = logging.getLogger(__name__)
LISTING_OLD: Final = "listing_old"  # the alarm's kind
_TOO_OLD: Final = timedelta(minutes=5)  # of a good listing; or ten of OBSERVE_EVERY, if that is longer
_LEASE: Final = timedelta(minutes=10)  # for whoever lists a cluster; then another may
_PUNCTUAL: Final = 0.8  # beat asks at the same pace: what is due in a moment is due
_CHUNK: Final = 1000
_AT_ONCE: Final = 16  # clusters looked at side by side
_slots: Final = threading.BoundedSemaphore(_AT_ONCE)

# Rows that others are just changing are passed by: the next listing finds them again.
_MARK = """
UPDATE lifecycle_sandbox SET inspect_due = true, next_check_at = clock_timestamp()
 WHERE id IN (SELECT id FROM lifecycle_sandbox
               WHERE id = ANY(%(ids)s) AND phase = ANY(%(phases)s) AND phase_at < %(began)s
                 AND NOT inspect_due ORDER BY id FOR UPDATE SKIP LOCKED)
"""


class Row(NamedTuple):
    """What a comparison needs of a sandbox's row."""

    id: int
    namespace: str | None
    namespace_uid: str
    phase: str
    phase_at: datetime
    observed: str
    inspect_due: bool


@dataclass(frozen=True)
class Seen:
    """What one look at a cluster came to: namespaces there, rows newly marked, orphans newly found."""

    namespaces: int = 0
    marked: int = 0
    orphans: int = 0


def observe_all() -> int:
    """Looks at every cluster that is due and that nobody else is looking at; how many that were.

    Side by side: one that is slow to answer, or does not, keeps nobody from seeing the others.
    It is waited for no longer than until the next look is due; its claim keeps it to the one
    thread that is at it.
    """
    restore.check()
    registry.ensure_environment_cluster()
    until = time.monotonic() + settings.OBSERVE_EVERY.total_seconds()
    looks = []
    due_first = RegisteredCluster.objects.order_by(F("observe_at").asc(nulls_first=True))
    for name in due_first.values_list("name", flat=True):
        if not _slots.acquire(timeout=max(0.0, until - time.monotonic())):
            break  # all are held by clusters that hang
        if _claim(name):
            # As a daemon: a cluster that hangs does not hold up the end of this process.
            looks.append(threading.Thread(target=_look, args=(name,), name=f"observe-{name}", daemon=True))
            looks[-1].start()
        else:
            _slots.release()
    for look in looks:
        look.join(max(0.0, until - time.monotonic()))
    return len(looks)


def _look(name: str) -> None:
    """What a thread does. Its connection goes back to the pool with its slot."""
    try:
        observe(name)
    except PetridishError as error:
        logger.warning("Cluster %s was not observed: %s", name, error)
    except Exception:  # nobody asks a thread what it failed with
        logger.exception("Cluster %s was not observed.", name)
    finally:
        connection.close()
        _slots.release()


def observe(cluster_name: str) -> Seen:
    """One look at one cluster, due or not. PetridishError if it does not answer; that is told when it lasts."""
    row = registry.get(cluster_name)
    with _told_when_old(row):
        if not identity.may_ask(row):
            return Seen()
        cluster = clusters.get(cluster_name)
        with limits.watching(cluster_name):
            if not identity.is_same(row, cluster.uid()):
                return Seen()
            return _compare(row, cluster)


def _claim(name: str) -> bool:
    """Compare-and-set: one worker lists a cluster, and another may when that one takes too long."""
    due = Q(observe_at=None) | Q(observe_at__lte=clock.Now())
    return bool(RegisteredCluster.objects.filter(due, name=name).update(observe_at=clock.now() + _LEASE))


@contextmanager
def _told_when_old(row: RegisteredCluster) -> Iterator[None]:
    """However the look ends: when the next one is, and whether the last good listing is too old."""
    before = row.listed_at
    try:
        yield
    finally:
        now = clock.now()
        listed = {} if row.listed_at == before else {"listed_at": row.listed_at}
        next_look = now + settings.OBSERVE_EVERY * _PUNCTUAL
        RegisteredCluster.objects.filter(pk=row.pk).update(observe_at=next_look, **listed)
        age = now - (row.listed_at or row.added_at)
        if age > max(_TOO_OLD, 10 * settings.OBSERVE_EVERY) and _matters(row):
            minutes = int(age.total_seconds() // 60)
            message = (
                f"Cluster {row.name} was last listed {minutes} minutes ago: nobody sees what changes there."
            )
            alarms.alarm(LISTING_OLD, _subject(row), message)


def _matters(row: RegisteredCluster) -> bool:
    """The environment's cluster of another day is nobody's concern once nothing is left on it."""
    if row.source != Source.ENVIRONMENT or row.name == settings.CLUSTER_NAME:
        return True
    return Sandbox.objects.filter(cluster=row.name, charged=True).exists()


def _compare(row: RegisteredCluster, cluster: Cluster) -> Seen:
    began = clock.now()
    listing = observation.listing(cluster, settings.INSTALLATION_ID)
    canary = listing.namespaces.pop(canary_namespace(settings.INSTALLATION_ID), None)
    thorough = row.compared_at is None or began - row.compared_at >= marks.EVERY or row.mark_void
    if thorough:
        has_canary = canary is not None and canary.phase == "Active"
        marks.compare(row, cluster, has_canary=has_canary)
        if row.trusted and row.enabled and canary is None:  # the first sandbox would have to wait for it
            controls.make_canary(cluster)
    nobodys = dict(listing.namespaces)
    differing = [known.id for known in _rows(row.name) if _differs(known, nobodys, began)]
    marked = _mark(differing, began)
    found = orphans.note_namespaces(row.name, list(nobodys.values()), began)
    if thorough:
        volumes = cluster.volumes(settings.INSTALLATION_ID)
        found += orphans.note_volumes(row.name, volumes, listing.namespaces.keys(), began)
    if row.listed_at is None or began - row.listed_at > _TOO_OLD:
        alarms.clear(LISTING_OLD, _subject(row), by=None)
    row.listed_at = began
    return Seen(len(listing.namespaces), marked, found)


def _rows(cluster_name: str) -> Iterator[Row]:
    """Everything that is charged on that cluster, streamed: memory does not grow with it."""
    rows = Sandbox.objects.filter(cluster=cluster_name, charged=True)
    for values in rows.values_list(*Row._fields).iterator(chunk_size=2000):
        yield Row(*values)


def _differs(row: Row, nobodys: dict[str, SeenNamespace], began: datetime) -> bool:
    """Whether this row has to be looked into; takes its namespace out of those that are nobody's."""
    seen = nobodys.get(row.namespace or "")
    if seen is not None and row.namespace_uid in ("", seen.uid):
        del nobodys[seen.name]
    if row.phase not in OPENED or row.phase_at >= began or row.inspect_due:
        return False
    return (
        seen is None or (seen.uid, seen.phase) != (row.namespace_uid, "Active") or seen.digest != row.observed
    )


def _mark(ids: list[int], began: datetime) -> int:
    marked = 0
    with connection.cursor() as cursor:
        for chunk in batched(sorted(ids), _CHUNK):
            cursor.execute(_MARK, {"ids": list(chunk), "phases": sorted(OPENED), "began": began})
            marked += cursor.rowcount
    return marked


def _subject(row: RegisteredCluster) -> str:
    return f"cluster:{row.name}"
