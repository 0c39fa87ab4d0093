"""Whether a cluster is still the one that it was.

A kubeconfig may suddenly lead elsewhere: a file was changed, a name resolves to another
address, a cluster was rebuilt. Every sandbox would then look deleted, and a teardown would
find the absence it waits for, with the sandbox alive in the other place. So each cluster is
known by the UID of its kube-system namespace (`RegisteredCluster.uid`), and is asked for it
before it is compared with the rows.

If another one answers, nothing is done there: its breaker is held open, which keeps every
worker away from it, no request is made but this question, and it is trusted by nobody. It
goes on by itself when the right one answers again, or when an admin says that the new one
is meant (`adopt`).
"""

from datetime import timedelta
from typing import Final

from django.db import transaction

from sandboxes.audit.services import Actor, record
from sandboxes.errors import ConflictError, InvalidInputError
from sandboxes.lifecycle import alarms, clock, connecting, registry
from sandboxes.lifecycle.models import RegisteredCluster

ALARM: Final = "cluster_changed"
_HELD_OPEN: Final = timedelta(minutes=15)  # renewed at each look


def may_ask(row: RegisteredCluster) -> bool:
    """Whether the cluster may be asked more than who it is; asks it that, if another one answered before."""
    if row.strange_uid:
        cluster = connecting.driver(row)  # past the breaker, which is open because of this
        try:
            return is_same(row, cluster.uid())
        finally:
            cluster.close()
    return row.open_until is None or row.open_until <= clock.now()


def is_same(row: RegisteredCluster, uid: str) -> bool:
    """Judges the answer: a new cluster is learnt, another one is kept away from."""
    if not row.uid:
        RegisteredCluster.objects.filter(pk=row.pk, uid="").update(uid=uid)
        row.uid = uid
    if row.uid != uid:
        _keep_away(row, uid)
        return False
    if row.strange_uid:
        _come_back(row)
    return True


def adopt(name: str, *, by: Actor, reason: str) -> None:
    """An admin says that the cluster which answers now is meant. What the rows had elsewhere will be missed.

    ConflictError if it is the one that it was.
    """
    if not reason.strip():
        raise InvalidInputError("Say why: the ledger keeps it.")
    with transaction.atomic():
        row = RegisteredCluster.objects.select_for_update(no_key=True).get(name=registry.get(name).name)
        if not row.strange_uid:
            raise ConflictError(f"Cluster {name} is the one that it was.")
        data = {"reason": reason.strip(), "before": row.uid, "after": row.strange_uid}
        changes = {"uid": row.strange_uid, "strange_uid": "", "open_until": None}
        RegisteredCluster.objects.filter(pk=row.pk).update(**changes)
        alarms.clear(ALARM, f"cluster:{name}", by=by)
        record(actor=by, action="cluster.adopted", subject=f"cluster:{name}", data=data)


def _keep_away(row: RegisteredCluster, uid: str) -> None:
    message = (
        f"Another cluster answers in the place of {row.name}: its UID is {uid}, and was {row.uid}. "
        "Nothing is done there until the right one answers again, or an admin says that this one is meant."
    )
    # Without failures counted, the success of a request still under way does not close the breaker.
    changes = {"strange_uid": uid, "open_until": clock.now() + _HELD_OPEN, "failures": 0}
    with transaction.atomic():
        RegisteredCluster.objects.filter(pk=row.pk).update(**changes, last_error=message)
        registry.distrust(row.name, reason=message)
        alarms.alarm(ALARM, f"cluster:{row.name}", message)
    row.strange_uid = uid


def _come_back(row: RegisteredCluster) -> None:
    """It may be asked again; whether to trust it again is for a person to say."""
    with transaction.atomic():
        RegisteredCluster.objects.filter(pk=row.pk).update(strange_uid="", open_until=None, last_error="")
        alarms.clear(ALARM, f"cluster:{row.name}", by=None)
    row.strange_uid = ""
