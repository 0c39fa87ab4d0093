"""What is in a cluster, carries our labels, and belongs to no row: or to one that is over.

It is never deleted when it is found. A namespace is cut off first (`quarantine`: no network,
no access, no token, its pods frozen), people are told, and only after a grace it goes, in the
order of any teardown: workloads, then, when no pod is left, the namespace. One that is not
named as a sandbox's is only told of: whoever may label a namespace could else have us cut it off.
An admin may keep it, or not want to wait. A volume that outlived its namespace only waits.

Right before anything is destroyed all of it is asked again: do deletions go on (`switch`,
`restore`), is it still the cluster that it was, does still no row answer for it, does it
still carry our installation's label, and has it still the UID that was seen. What carries
another installation's label is never touched. Many orphans due at once look more like a
mistake of ours, or a restore that nobody noticed, than like leftovers: deletions stop.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from django.db import transaction
from django.db.models import Q, QuerySet

from sandboxes.audit.services import Actor, record
from sandboxes.cluster.spec import Labels
from sandboxes.errors import ConflictError, NotFoundError
from sandboxes.lifecycle import alarms, clock
from sandboxes.lifecycle.models import Orphan, Sandbox
from sandboxes.lifecycle.phases import OVER

if TYPE_CHECKING:  # pages come here too, and the Kubernetes client takes a second to import
    from sandboxes.cluster.observation import SeenNamespace
    from sandboxes.cluster.tending import Volume

ALARM: Final = "orphan"
NAMESPACE: Final = "Namespace"  # kinds
VOLUME: Final = "PersistentVolume"
_SEEN_EVERY: Final = timedelta(minutes=5)


def sweep() -> int:
    """Quarantines what is new and deletes what is past its grace; how many were worked on. See `clearing`."""
    from sandboxes.lifecycle import clearing  # only for workers, for the reason above

    return clearing.sweep()


# ---- finding


def note_namespaces(cluster_name: str, seen: "Collection[SeenNamespace]", began: datetime) -> int:
    """Those of a listing that no row of this cluster answers for; how many are new."""
    ours = [each for each in seen if Labels.CANARY not in each.labels]
    answered = answered_for(cluster_name, [each.name for each in ours], began)
    found = [
        Orphan(
            cluster=cluster_name,
            kind=NAMESPACE,
            name=each.name,
            uid=each.uid,
            sandbox_label=each.labels.get(Labels.SANDBOX, "")[:63],
        )
        for each in ours
        if not answered.get(each.name, frozenset()) & {"", each.uid}
    ]
    return _note(cluster_name, found)


def note_volumes(
    cluster_name: str, volumes: "Iterable[Volume]", namespaces: Collection[str], began: datetime
) -> int:
    """Volumes whose namespace is gone and whose sandbox is over or unknown; how many are new.

    One without our label is ours only if a row or an orphan had the namespace of its claim:
    another installation on this cluster names its namespaces alike.
    """
    left = [volume for volume in volumes if volume.namespace not in namespaces]
    names = [volume.namespace for volume in left if volume.namespace]
    known = set(Sandbox.objects.filter(namespace__in=names).values_list("namespace", flat=True))
    known |= set(Orphan.objects.filter(cluster=cluster_name, name__in=names).values_list("name", flat=True))
    answered = answered_for(cluster_name, names, began)
    labelled = live_numbers(volume.sandbox_label for volume in left)
    found = [
        Orphan(
            cluster=cluster_name,
            kind=VOLUME,
            name=volume.name,
            uid=volume.uid,
            sandbox_label=volume.sandbox_label,
        )
        for volume in left
        if (volume.sandbox_label or volume.namespace in known)
        and volume.namespace not in answered
        and volume.sandbox_label not in labelled
    ]
    return _note(cluster_name, found)


def answered_for(cluster_name: str, names: Collection[str], began: datetime) -> dict[str, frozenset[str]]:
    """Namespaces that a row gives an account of, with the UID it knows ("" while it is being made).

    A row that was closed while the listing ran is one of them: what it had was there a
    moment ago. Charged or not does not matter here: nobody's namespace is lost by a
    mistake in the books.
    """
    if not names:
        return {}
    accountable = ~Q(phase__in=OVER) | Q(ended_at__gte=began)
    rows = Sandbox.objects.filter(accountable, cluster=cluster_name, namespace__in=names)
    return {name or "": frozenset({uid}) for name, uid in rows.values_list("namespace", "namespace_uid")}


def live_numbers(labels: Iterable[str]) -> set[str]:
    """Those of these sandboxes' numbers whose rows are not over."""
    numbers = {int(label) for label in labels if label.isascii() and label.isdigit() and len(label) < 18}
    rows = Sandbox.objects.filter(pk__in=numbers).exclude(phase__in=OVER)
    return {str(number) for number in rows.values_list("pk", flat=True)}


def _note(cluster_name: str, found: list[Orphan]) -> int:
    """Writes down those that are new; one that was thought gone and is not is open again."""
    if not found:
        return 0
    uids = [orphan.uid for orphan in found]
    rows = Orphan.objects.filter(cluster=cluster_name, uid__in=uids)
    rows.filter(gone_at__isnull=False).update(gone_at=None, deleted_at=None, check_at=clock.Now())
    # Not at every look: as long as nothing changes, nothing is written.
    rows.filter(last_seen_at__lt=clock.now() - _SEEN_EVERY).update(last_seen_at=clock.Now())
    known = set(rows.values_list("uid", flat=True))
    new = [orphan for orphan in found if orphan.uid not in known]
    if new:
        with transaction.atomic():
            Orphan.objects.bulk_create(new, ignore_conflicts=True)
            tell(cluster_name)
    return len(new)


# ---- what an admin says


def keep_one(orphan_id: int, by: Actor) -> Orphan:
    """It is left alone from now on, cut off as it is. ConflictError if it is gone."""
    with transaction.atomic():
        orphan = _locked(orphan_id)
        if orphan.kept_by_id is None:
            orphan.kept_by_id = by.pk
            orphan.ordered = False
            orphan.save(update_fields=["kept_by", "ordered"])
            tell(orphan.cluster)
            alarms.clear_all(f"orphan:{orphan.pk}", by=by)
            record_about(orphan, "orphan.kept", by)
    return orphan


def delete_now(orphan_id: int, by: Actor) -> Orphan:
    """It need not wait for the end of its grace; all the rest holds. ConflictError if it is gone."""
    with transaction.atomic():
        orphan = _locked(orphan_id)
        if not orphan.ordered:
            now = clock.now()
            orphan.kept_by_id, orphan.ordered = None, True
            orphan.delete_after = orphan.check_at = now
            orphan.save(update_fields=["kept_by", "ordered", "delete_after", "check_at"])
            record_about(orphan, "orphan.deletion_ordered", by)
    return orphan


def open_ones() -> QuerySet[Orphan]:
    """Those that are still there, kept ones included, for a page: newest first."""
    return Orphan.objects.filter(gone_at=None).order_by("-id")


# ---- rows


def _locked(orphan_id: int) -> Orphan:
    orphan = Orphan.objects.select_for_update(no_key=True).filter(pk=orphan_id).first()
    if orphan is None:
        raise NotFoundError("There is no such orphan.")
    if orphan.gone_at is not None:
        raise ConflictError("It is gone already.")
    return orphan


def record_about(orphan: Orphan, action: str, by: Actor | None, **more: Any) -> None:
    data = {"cluster": orphan.cluster, "kind": orphan.kind, "name": orphan.name, "uid": orphan.uid}
    data |= {"sandbox": orphan.sandbox_label} if orphan.sandbox_label else {}
    record(actor=by, action=action, subject=f"orphan:{orphan.pk}", data=data | more)


def undecided(cluster_name: str) -> QuerySet[Orphan]:
    return Orphan.objects.filter(cluster=cluster_name, gone_at=None, kept_by=None)


def tell(cluster_name: str) -> None:
    """One alarm per cluster, as long as there is one that nobody has decided about."""
    subject = f"cluster:{cluster_name}"
    names = list(undecided(cluster_name).order_by("-id").values_list("kind", "name")[:6])
    if not names:
        alarms.clear(ALARM, subject, by=None)
        return
    count = undecided(cluster_name).count()
    shown = ", ".join(f"{kind}/{name}" for kind, name in names[:5]) + (", …" if count > 5 else "")
    alarms.alarm(ALARM, subject, f"{count} in cluster {cluster_name} belong to no sandbox: {shown}.")
