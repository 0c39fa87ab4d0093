"""After a restore of the database: nothing is deleted until an admin has looked.

A restored database knows nothing of what came after its backup: sandboxes that were made
since look like nobody's, leases that were extended look over. It does not know that it is
an old one either. But the ledger only ever grows, and its head is kept in two places that
no restore of the database brings back: a file of ours (`audit.anchor`, every minute) and
each cluster (`marks`, every few minutes, beside the canary). An entry that is
written down there and not in the ledger, with the same mac, means that time went back.

Then deletions stop, people are told, and the numbers of new sandboxes skip those that may
have been given away already: a number decides a sandbox's name and its index token. What
is found in the clusters and in no row is quarantined (`orphans`) and kept. `confirm` is an
admin's word that all of it was looked at; from then on the ledger as it is now is the one
that is marked, and orphans have their whole grace again.
"""

import logging
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import connection, transaction

from sandboxes.audit import anchor
from sandboxes.audit.services import Actor, record
from sandboxes.errors import ConflictError, InvalidInputError, PermanentError
from sandboxes.lifecycle import alarms, clock, switch
from sandboxes.lifecycle.models import EngineState, Orphan, RegisteredCluster

logger = logging.getLogger(__name__)
ALARM: Final = "restored"
COMPARED_WITHIN: Final = timedelta(minutes=15)
_SUBJECT: Final = "installation"
_SKIP: Final = 1000  # sandboxes made between the newest mark and the end of the old database, and to spare

_SKIP_NUMBERS = """
SELECT setval(pg_get_serial_sequence('lifecycle_sandbox', 'id'),
              nextval(pg_get_serial_sequence('lifecycle_sandbox', 'id')) + %(gap)s)
"""


def check() -> bool:
    """Whether the ledger still holds the head that our file names; if not, deletions stop. Cheap: one read each."""
    if is_waiting():
        return False
    try:
        head = anchor.read()
    except PermanentError as error:
        went_back(f"{error} Whether this database was restored cannot be told.", lost=0)
        return False
    if head is None or anchor.is_known(head):
        return True
    went_back(told(head, "the file beside the database"), lost=lost_since(head))
    return False


def may_delete_on(cluster_name: str) -> bool:
    """Whether anything may be destroyed on this cluster now.

    Beyond `switch.may_delete`: it is still the cluster that it was, and its mark was
    compared a short while ago. Right after a restore that is what the old row lacks.
    """
    row = RegisteredCluster.objects.filter(name=cluster_name).first()
    if row is None or row.strange_uid or row.compared_at is None or is_waiting():
        return False
    return clock.now() - row.compared_at < COMPARED_WITHIN and switch.may_delete()


def waits_since() -> datetime | None:
    """Since when a restore waits for an admin; None if none does."""
    return EngineState.objects.filter(pk=1).values_list("restored_at", flat=True).first()


def confirm(by: Actor, reason: str) -> None:
    """An admin has looked at what the restore left behind; deletions go on. ConflictError if nothing waits."""
    if not reason.strip():
        raise InvalidInputError("Say what you looked at: everybody will read it.")
    with transaction.atomic():
        state = EngineState.objects.select_for_update().filter(pk=1, restored_at__isnull=False).first()
        if state is None:
            raise ConflictError("No restore waits to be confirmed.")
        EngineState.objects.filter(pk=1).update(restored_at=None)
        RegisteredCluster.objects.update(mark_void=True)
        waiting = Orphan.objects.filter(gone_at=None, delete_after__isnull=False, ordered=False)
        again = clock.now() + settings.ORPHAN_GRACE
        waiting.update(delete_after=again, check_at=again)
        alarms.clear(ALARM, _SUBJECT, by=by)
        if state.deletions_stopped:
            switch.allow_deletions(by, reason)
        data = {"reason": reason, "restored_at": state.restored_at, "anchor": _kept()}
        record(actor=by, action="restore.confirmed", subject=_SUBJECT, data=data)
    # After the commit: cut off in between, the restore is found and confirmed once more.
    anchor.begin_anew()


def is_waiting() -> bool:
    """Whether one was found before; nobody may allow deletions without confirming it."""
    state = EngineState.objects.filter(pk=1, restored_at__isnull=False).first()
    if state is not None and not state.deletions_stopped:
        switch.stop_deletions("A restore of the database waits to be confirmed.")
    return state is not None


def went_back(reason: str, *, lost: int) -> None:
    switch.state()
    with transaction.atomic():
        if not EngineState.objects.filter(pk=1, restored_at=None).update(restored_at=clock.Now()):
            return
        with connection.cursor() as cursor:
            cursor.execute(_SKIP_NUMBERS, {"gap": _SKIP + lost})
        switch.stop_deletions(reason)
        alarms.alarm(ALARM, _SUBJECT, reason)
        data = {"reason": reason, "anchor": _kept()}
        record(actor=None, action="restore.detected", subject=_SUBJECT, data=data)
    logger.error("%s", reason)


def told(head: anchor.Head, where: str) -> str:
    return (
        f"This database is an older one than it was: {where} names ledger entry {head.id}, which is not "
        "in it. Nothing is deleted until an admin has looked and confirmed the restore."
    )


def lost_since(head: anchor.Head) -> int:
    """At least so many entries are gone; as many sandboxes may be."""
    newest = anchor.newest()
    return max(0, head.id - (newest.id if newest else 0))


def _kept() -> dict[str, str | int] | None:
    """What the file says, for the ledger to remember."""
    try:
        head = anchor.read()
    except PermanentError:
        return None
    return {"id": head.id, "mac": head.mac} if head else None
