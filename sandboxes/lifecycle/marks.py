"""The mark of the ledger's head that is kept in each cluster: compared, and brought up to date.

The worker's side of `restore`.
"""

from datetime import timedelta
from typing import Final

from django.conf import settings

from sandboxes.audit import anchor
from sandboxes.cluster import marking
from sandboxes.cluster.driver import Cluster
from sandboxes.lifecycle import clock, restore
from sandboxes.lifecycle.models import RegisteredCluster

EVERY: Final = timedelta(minutes=2)


def compare(row: RegisteredCluster, cluster: Cluster, *, has_canary: bool) -> bool:
    """Compares the mark kept in this cluster with the ledger, and brings it up to date.

    False if the database turns out to be an older one. Without a canary there is no place
    for a mark yet, and nothing to compare.
    """
    if restore.is_waiting() or (has_canary and not _agrees(row, cluster)):
        return False
    RegisteredCluster.objects.filter(pk=row.pk).update(compared_at=clock.Now(), mark_void=False)
    return True


def _agrees(row: RegisteredCluster, cluster: Cluster) -> bool:
    newest = anchor.newest()  # before the mark is read: what it names later is there by then
    mark = marking.read(cluster, settings.INSTALLATION_ID)
    if mark is not None and not row.mark_void and not anchor.is_known(anchor.Head(mark.id, mark.mac)):
        head = anchor.Head(mark.id, mark.mac)
        restore.went_back(restore.told(head, f"cluster {row.name}"), lost=restore.lost_since(head))
        return False
    if newest is not None and (mark is None or row.mark_void or mark.id < newest.id):
        marking.write(cluster, settings.INSTALLATION_ID, marking.Mark(newest.id, newest.mac))
    return True
