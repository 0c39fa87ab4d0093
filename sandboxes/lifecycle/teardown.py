"""Taking a sandbox away, and proving that it is gone.

Order matters: access first (the index token stopped working when the phase
changed), then workloads, and only when no pod is left the namespace, because a
namespace deletion removes policies and pods in no particular order
(CVE-2024-7598). Deleting is matched three ways: the row, our labels (put back first
where somebody took them off, see `belonging`), the uid; and each call that destroys
asks first whether it may (`switch`, legal hold): if not, access is revoked all the
same, and the rest waits. The receipt is written on an *observed* absence, never on an
accepted delete. What takes too long is `stuck`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from django.conf import settings
from django.db import transaction

from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.kinds import NAMESPACED
from sandboxes.cluster.spec import NamespaceState
from sandboxes.errors import PermanentError
from sandboxes.lifecycle import belonging, clock, clusters, endings, notes, receipts, room, stuck, switch
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.moves import move
from sandboxes.lifecycle.phases import Phase
from sandboxes.lifecycle.steplog import Attempt, step

SOON = timedelta(milliseconds=400)
_ACCESS: Final = frozenset({"RoleBinding", "Secret"})  # what lets somebody in
_WORKLOADS: Final = frozenset({"Deployment", "StatefulSet", "ReplicaSet", "Job", "Pod"})


def take(sandbox: Sandbox) -> timedelta | None:
    """One step of the teardown; None once the receipt is written."""
    try:
        return _take(sandbox)
    except PermanentError as error:
        return stuck.refused(sandbox, error)


def _take(sandbox: Sandbox) -> timedelta | None:
    if not sandbox.namespace:
        _close(sandbox, leftovers_checked=False)
        return None
    cluster = clusters.get(sandbox.cluster)
    state = cluster.namespace(sandbox.namespace)
    if state is None:
        _confirm_absence(sandbox, cluster)
        return None
    if not belonging.is_labelled(sandbox, state) and sandbox.namespace_uid != state.uid:
        # Another's namespace has the name. Either nothing of ours was ever made, or it is gone.
        if not sandbox.namespace_uid:
            _close(sandbox, leftovers_checked=False)
        else:
            _confirm_absence(sandbox, cluster)
        return None
    _check_ours(sandbox, state)
    belonging.put_labels_back(sandbox, cluster, state)
    if not notes.inventoried(sandbox):
        notes.existing(sandbox, cluster.inventory(sandbox.namespace))
    _revoke_access(sandbox, cluster)
    if state.phase == "Active":
        return _take_apart(sandbox, cluster)
    # Had we died after asking for it, or did somebody else ask: the next look finds it Terminating.
    _note_namespace_deleted(sandbox)
    with step(sandbox, "observe absence") as attempt:
        attempt.wait()
    return stuck.wait(sandbox, cluster, "namespace")


def _revoke_access(sandbox: Sandbox, cluster: Cluster) -> None:
    """Says so only once it looked."""
    if "access_revoked_at" in sandbox.teardown:
        return
    with step(sandbox, "revoke access") as attempt:
        cluster.revoke_access(sandbox.namespace or "")
        notes.deleted(sandbox, _ACCESS, notes.now())
        seen = cluster.objects(sandbox.namespace or "", _ACCESS)
        at = notes.now()
        notes.absent(sandbox, seen, _ACCESS, at)
        if any(one.ours for one in seen):
            attempt.wait()
        else:
            notes.once(sandbox, access_revoked_at=at)


def _take_apart(sandbox: Sandbox, cluster: Cluster) -> timedelta | None:
    """Workloads, then no pod, then the namespace. Pods are looked for again right before it goes."""
    namespace = sandbox.namespace or ""
    if why := _forbidden(sandbox):
        return stuck.pause(sandbox, why)
    with _once(sandbox, "delete workloads", done="workloads_deleted_at" in sandbox.teardown):
        switch.check_delete(namespace, sandbox.namespace_uid)
        cluster.delete_workloads(namespace)
        _note_workloads_deleted(sandbox)
    with _once(sandbox, "no pods left", done=sandbox.workloads_gone_at is not None) as attempt:
        left = cluster.pods_left(namespace)
        if left:
            attempt.wait()
        else:
            _note_workloads_gone(sandbox)
    if left:
        return stuck.wait(sandbox, cluster, "pods")
    if why := _forbidden(sandbox):  # it may have been stopped meanwhile
        return stuck.pause(sandbox, why)
    with step(sandbox, "delete namespace"):
        switch.check_delete(namespace, sandbox.namespace_uid)
        cluster.delete_namespace(namespace, sandbox.namespace_uid)
        _note_namespace_deleted(sandbox)
    return SOON


def _forbidden(sandbox: Sandbox) -> str:
    """Why nothing of it may be destroyed at this moment; empty if it may."""
    if sandbox.hold_until is not None and sandbox.hold_until > clock.now():
        return f"It is under legal hold until {sandbox.hold_until:%Y-%m-%d %H:%M} UTC: nothing is deleted."
    if not switch.may_delete():
        state = switch.state()
        reason = state.deletions_reason or state.paused_reason
        return f"Deletions are stopped until an admin allows them: nothing is deleted. {reason}".strip()
    return ""


@contextmanager
def _once(sandbox: Sandbox, name: str, *, done: bool) -> Iterator[Attempt]:
    """A step of the timeline the first time; repeated quietly afterwards."""
    if done:
        yield Attempt()
    else:
        with step(sandbox, name) as attempt:
            yield attempt


def _check_ours(sandbox: Sandbox, state: NamespaceState) -> None:
    """The uid must be the row's, or nothing is deleted and a person has to look.

    Where the row has none, the labels decide: created, and the worker died before it could write it down.
    """
    if not sandbox.namespace_uid:
        Sandbox.objects.filter(pk=sandbox.pk).update(namespace_uid=state.uid)
        sandbox.namespace_uid = state.uid
    if sandbox.namespace_uid != state.uid:
        raise PermanentError(
            f"Namespace {state.name} has another uid than the one made here; it is left alone."
        )


def _note_workloads_deleted(sandbox: Sandbox) -> None:
    at = notes.now()
    notes.once(sandbox, workloads_deleted_at=at)
    notes.deleted(sandbox, _WORKLOADS, at)


def _note_workloads_gone(sandbox: Sandbox) -> None:
    """The listing that showed no pod is what says that they are gone."""
    if sandbox.workloads_gone_at is None:
        sandbox.workloads_gone_at = clock.now()
        sandbox.save(update_fields=["workloads_gone_at"])
        notes.absent(sandbox, (), frozenset({"Pod"}), notes.text(sandbox.workloads_gone_at))


def _note_namespace_deleted(sandbox: Sandbox) -> None:
    at = notes.now()
    notes.once(sandbox, namespace_deleted_at=at)
    notes.deleted(sandbox, None, at)


def _confirm_absence(sandbox: Sandbox, cluster: Cluster) -> None:
    """Lists every kind once more, and looks for what outlives a namespace: absence is seen, not concluded."""
    namespace, known = sandbox.namespace or "", notes.known(sandbox)
    with step(sandbox, "observe absence"):
        seen = cluster.inventory(namespace)
        left = {str(one) for one in seen if one.uid in known}
        left |= set(
            cluster.leftovers(
                namespace, settings.INSTALLATION_ID, sandbox.pk, uid=sandbox.namespace_uid, known=known
            )
        )
        if left:
            told = ", ".join(sorted(left))
            raise PermanentError(f"The namespace is gone, but this is left of it: {told}.")
        at = notes.now()
        listed = ["Namespace", *(kind for _, kind in NAMESPACED), "PersistentVolume"]
        notes.once(sandbox, absent_at=at, listed=listed)
        if sandbox.namespace_uid:
            notes.once(sandbox, access_revoked_at=at)
            notes.existing(sandbox, ())  # it was gone before we could look: at least its name and uid
        notes.absent(sandbox, (), None, sandbox.teardown["absent_at"])
    _close(sandbox, leftovers_checked=True)


def _close(sandbox: Sandbox, *, leftovers_checked: bool) -> None:
    """Receipt, phase, quota and ledger entry in one transaction; of two workers one writes them."""
    to = Phase.FAILED if sandbox.failure else Phase.ENDED
    with step(sandbox, "receipt"), transaction.atomic():
        locked = Sandbox.objects.select_for_update().filter(pk=sandbox.pk, phase=sandbox.phase)
        if not locked.exists():
            return  # another worker wrote it, or moved it on
        receipt = receipts.issue(sandbox, leftovers_checked=leftovers_checked)
        data = receipts.bond(receipt)
        room.look()
        move(sandbox, to, data=data, ended_at=receipt.at, charged=False, stuck_since=None, blocker="")
        endings.clear_alarms(sandbox)
