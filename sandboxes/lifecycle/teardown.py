"""Taking a sandbox away, and proving that it is gone.

Order matters: access first (the index token stopped working when the phase
changed), then workloads, and only when no pod is left the namespace, because a
namespace deletion removes policies and pods in no particular order
(CVE-2024-7598). Deleting is matched three ways: the row, our labels, the uid.
The receipt is written on an *observed* absence, never on an accepted delete.
"""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.spec import Labels, NamespaceState
from sandboxes.errors import ConflictError, PermanentError
from sandboxes.lifecycle import clusters
from sandboxes.lifecycle.models import Receipt, Sandbox
from sandboxes.lifecycle.moves import move
from sandboxes.lifecycle.phases import Phase

SOON = timedelta(milliseconds=400)
_ACCESS = {"RoleBinding", "Secret"}  # what lets somebody in


def take(sandbox: Sandbox) -> timedelta | None:
    """One step of the teardown; None once the receipt is written."""
    if not sandbox.namespace:
        _close(sandbox, leftovers_checked=False)
        return None
    cluster = clusters.get(sandbox.cluster)
    state = cluster.namespace(sandbox.namespace)
    if state is None:
        return _confirm_absence(sandbox, cluster)
    if not sandbox.namespace_uid and not _labelled_ours(sandbox, state):
        _close(
            sandbox, leftovers_checked=False
        )  # another's namespace had the name: nothing of ours was ever made
        return None
    _check_ours(sandbox, state)
    if state.phase == "Terminating":
        _note_once(sandbox, namespace_deleted_at=_now())
        _explain_wait(sandbox, state)
        return SOON
    return _take_apart(sandbox, cluster)


def _take_apart(sandbox: Sandbox, cluster: Cluster) -> timedelta:
    namespace = sandbox.namespace or ""
    if "existed" not in sandbox.teardown:
        _note_once(sandbox, existed=cluster.inventory(namespace))
    cluster.revoke_access(namespace)
    _note_revoked(sandbox, cluster)
    cluster.delete_workloads(namespace)
    if cluster.pods_left(namespace):
        return SOON
    if sandbox.workloads_gone_at is None:
        sandbox.workloads_gone_at = timezone.now()
        sandbox.save(update_fields=["workloads_gone_at"])
    cluster.delete_namespace(namespace, sandbox.namespace_uid)
    _note_once(sandbox, namespace_deleted_at=_now())  # had we died here, the next look finds it Terminating
    return SOON


def _note_revoked(sandbox: Sandbox, cluster: Cluster) -> None:
    """Looks before it says so."""
    if "access_revoked_at" in sandbox.teardown:
        return
    left = {item.partition("/")[0] for item in cluster.inventory(sandbox.namespace or "")}
    if not left & _ACCESS:
        _note_once(sandbox, access_revoked_at=_now())


def _check_ours(sandbox: Sandbox, state: NamespaceState) -> None:
    """Row, labels and uid must agree, or nothing is deleted and a person has to look."""
    if not _labelled_ours(sandbox, state):
        raise PermanentError(
            f"Namespace {state.name} does not carry this sandbox's labels; it is left alone."
        )
    if not sandbox.namespace_uid:  # created, and the worker died before it could write the uid down
        Sandbox.objects.filter(pk=sandbox.pk).update(namespace_uid=state.uid)
        sandbox.namespace_uid = state.uid
    if sandbox.namespace_uid != state.uid:
        raise PermanentError(
            f"Namespace {state.name} has another uid than the one made here; it is left alone."
        )


def _labelled_ours(sandbox: Sandbox, state: NamespaceState) -> bool:
    labels = (state.labels.get(Labels.SANDBOX), state.labels.get(Labels.INSTALLATION))
    return labels == (str(sandbox.pk), settings.INSTALLATION_ID)


def _explain_wait(sandbox: Sandbox, state: NamespaceState) -> None:
    """After a minute of Terminating, the page says what the namespace waits for."""
    if state.conditions and timezone.now() - sandbox.phase_at > timedelta(minutes=1):
        trouble = "The namespace is still terminating: " + "; ".join(state.conditions)
        Sandbox.objects.filter(pk=sandbox.pk).update(last_error=trouble)


def _confirm_absence(sandbox: Sandbox, cluster: Cluster) -> timedelta | None:
    leftovers = cluster.leftovers(sandbox.namespace or "", settings.INSTALLATION_ID, sandbox.pk)
    if leftovers:
        raise PermanentError(f"The namespace is gone, but this is left of it: {', '.join(leftovers)}.")
    _note_once(sandbox, absent_at=_now())
    _close(sandbox, leftovers_checked=True)
    return None


def _close(sandbox: Sandbox, *, leftovers_checked: bool) -> None:
    """Receipt, phase and ledger entry in one transaction."""
    to = Phase.FAILED if sandbox.failure else Phase.ENDED
    document = _document(sandbox, leftovers_checked=leftovers_checked)
    with transaction.atomic():
        Receipt.objects.get_or_create(sandbox=sandbox, defaults={"document": document})
        if not move(sandbox, to, data={"receipt": document}, ended_at=timezone.now()):
            raise ConflictError("Another worker wrote the receipt.")  # and this transaction writes none


def _document(sandbox: Sandbox, *, leftovers_checked: bool) -> dict[str, Any]:
    """Times are ISO 8601 in UTC; `existed` lists kind/name of what the namespace held."""
    notes = sandbox.teardown
    gone_at = sandbox.workloads_gone_at
    return {
        "sandbox": sandbox.pk,
        "name": sandbox.name,
        "owner": sandbox.owner.get_username(),
        "cluster": sandbox.cluster,
        "simulated": sandbox.simulated,
        "namespace": sandbox.namespace,
        "namespace_uid": sandbox.namespace_uid or None,
        "reason": sandbox.end_reason,
        "failure": sandbox.failure or None,
        "existed": notes.get("existed", []),
        "index_token_revoked_at": sandbox.revoked_at.isoformat() if sandbox.revoked_at else None,
        "access_revoked_at": notes.get("access_revoked_at"),
        "workloads_gone_at": gone_at.isoformat() if gone_at else None,
        "namespace_deleted_at": notes.get("namespace_deleted_at"),
        "absent_at": notes.get("absent_at"),
        "leftovers": [] if leftovers_checked else None,  # None: nothing was ever created to look for
    }


def _note_once(sandbox: Sandbox, **notes: Any) -> None:
    """Keeps the first value of each note: a repeated step does not move the time."""
    fresh = {key: value for key, value in notes.items() if key not in sandbox.teardown}
    if fresh:
        sandbox.teardown = {**sandbox.teardown, **fresh}
        sandbox.save(update_fields=["teardown"])


def _now() -> str:
    return timezone.now().isoformat()
