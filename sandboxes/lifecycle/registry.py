"""The clusters that are registered: adding, trusting, changing them, and what placement may know of each.

The cluster of the environment (KUBE_CONTEXT, or the simulated one) registers itself; others
are added by admins, after an answer was had from them. Their credentials are kept encrypted
(`vault`) and are decrypted in `connecting` only.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast
from urllib.parse import urlsplit

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, Q

from sandboxes.audit.services import Actor, record
from sandboxes.cluster.kubeconfig import inline
from sandboxes.errors import ClusterUnavailableError, ConflictError, InvalidInputError, NotFoundError
from sandboxes.lifecycle import alarms, clock, room, vault
from sandboxes.lifecycle.amounts import NO_LIMITS, Limits
from sandboxes.lifecycle.models import RegisteredCluster, Sandbox
from sandboxes.lifecycle.models.cluster import Source
from sandboxes.lifecycle.placement import ClusterFacts

UNTRUSTED: Final = "cluster_untrusted"  # the alarm's kind
_LOCK: Final = 0x636C7573746572  # one registration at a time: two could bring the same cluster
_NAME: Final = re.compile(r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$")
_LABEL: Final = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9._/-]{0,98}[A-Za-z0-9])?$")


@dataclass(frozen=True)
class Pace:
    """How hard a cluster may be worked; None leaves that as it is."""

    concurrency: int | None = None
    requests_per_second: float | None = None
    burst: int | None = None


@dataclass(frozen=True)
class Shown:
    """A cluster for a page of admins. Nothing in it is secret."""

    cluster: RegisteredCluster
    configured: bool
    answers: bool
    live: int  # sandboxes that count against its capacity
    problem: str  # why it takes nothing new; "" when it does


# ---- reading


def ensure_environment_cluster() -> RegisteredCluster:
    """The environment's cluster has a row from its first use on; of several at once, one writes it.

    No ledger entry: nobody did anything but start Petridish, and this may run inside any
    transaction, where the ledger has to come last.
    """
    row = RegisteredCluster.objects.filter(name=settings.CLUSTER_NAME).first()
    if row is None:
        new = RegisteredCluster(name=settings.CLUSTER_NAME, source=Source.ENVIRONMENT)
        RegisteredCluster.objects.bulk_create([new], ignore_conflicts=True)
        row = RegisteredCluster.objects.get(name=settings.CLUSTER_NAME)
    return row


def get(name: str) -> RegisteredCluster:
    """The row of that name; NotFoundError if there is none."""
    if name == settings.CLUSTER_NAME:
        return ensure_environment_cluster()
    row = RegisteredCluster.objects.filter(name=name).first()
    if row is None:
        raise NotFoundError(f"There is no cluster {name!r}.")
    return row


def facts() -> list[ClusterFacts]:
    """Every cluster as placement sees it now."""
    ensure_environment_cluster()
    now = clock.now()
    return [_facts(row, now) for row in RegisteredCluster.objects.defer("kubeconfig").order_by("name")]


def overview() -> list[Shown]:
    """Every cluster, for a page of admins."""
    now = clock.now()
    ensure_environment_cluster()
    counted = Sandbox.objects.filter(charged=True).values("cluster").annotate(live=Count("id"))
    live = {row["cluster"]: row["live"] for row in counted}
    rows = RegisteredCluster.objects.defer("kubeconfig").order_by("name")
    return [_shown(row, _facts(row, now), live.get(row.name, 0)) for row in rows]


def _facts(row: RegisteredCluster, now: datetime) -> ClusterFacts:
    report: dict[str, Any] = row.report or {}
    classes = report.get("runtime_classes")
    return ClusterFacts(
        name=row.name,
        labels=row.labels,
        configured=row.source != Source.ENVIRONMENT or row.name == settings.CLUSTER_NAME,
        enabled=row.enabled,
        trusted=row.trusted,
        answers=row.open_until is None or row.open_until <= now,
        same=not row.strange_uid,
        runtime_classes=frozenset(classes) if classes is not None else None,
        gpus=report.get("gpus"),
        capacity=Limits.from_row(row, "max_"),
    )


def _shown(row: RegisteredCluster, known: ClusterFacts, live: int) -> Shown:
    problems = (
        (not known.configured, "Not configured here any more."),
        (not known.enabled, "Disabled."),
        (not known.trusted, f"Not trusted: {row.distrust_reason}"),
        (not known.same, "Another cluster answers under this name: its uid changed."),
        (not known.answers, f"Does not answer: {row.last_error}"),
    )
    problem = next((words for true, words in problems if true), "")
    return Shown(row, known.configured, known.answers, live, problem)


# ---- changing


def add(
    *,
    name: str,
    kubeconfig: str | None,
    context: str = "",
    labels: Mapping[str, str] | None = None,
    capacity: Limits = NO_LIMITS,
    by: Actor,
) -> RegisteredCluster:
    """Registers a cluster that answers; `kubeconfig` None is the one whose pod this runs in.

    InvalidInputError for what cannot be used, ClusterUnavailableError if it does not answer,
    ConflictError if name or cluster is registered already.
    """
    row = RegisteredCluster(
        name=_checked_name(name), labels=_checked_labels(labels or {}), **_columns(capacity)
    )
    if kubeconfig is None:
        row.source = Source.IN_CLUSTER
    else:
        row.source = Source.KUBECONFIG
        row.kubeconfig = vault.encrypt(name, _checked_kubeconfig(kubeconfig, context))
        row.context = context
    row.uid = _uid_of(row)
    _learn_uids()
    with transaction.atomic():
        _alone()
        _check_new(row)
        row.last_ok_at = clock.now()
        row.save(force_insert=True)
        data = {"source": row.source, "uid": row.uid, "labels": row.labels, "capacity": _columns(capacity)}
        record(actor=by, action="cluster.registered", subject=f"cluster:{name}", data=data)
        room.look()
    return row


def disable(name: str, *, by: Actor, reason: str) -> RegisteredCluster:
    """It takes no new sandboxes; those on it go on."""
    return _switch(name, enabled=False, by=by, data={"reason": _said(reason)})


def enable(name: str, *, by: Actor) -> RegisteredCluster:
    """It takes new sandboxes again, if it is trusted."""
    return _switch(name, enabled=True, by=by, data={})


def distrust(name: str, *, reason: str) -> None:
    """A seal failed there: it takes nothing new until an admin trusts it again. Saying so twice is once."""
    get(name)
    with transaction.atomic():
        changed = RegisteredCluster.objects.filter(name=name, trusted=True).update(
            trusted=False, distrust_reason=reason, distrusted_at=clock.Now()
        )
        if changed:
            data = {"reason": reason}
            record(actor=None, action="cluster.distrusted", subject=f"cluster:{name}", data=data)
        alarms.alarm(UNTRUSTED, f"cluster:{name}", f"Cluster {name} takes no new sandboxes: {reason}")


def trust(name: str, *, by: Actor, reason: str) -> None:
    """An admin looked at it and takes it back. ConflictError if it was trusted all along."""
    get(name)
    with transaction.atomic():
        changed = RegisteredCluster.objects.filter(name=name, trusted=False).update(
            trusted=True, distrust_reason="", distrusted_at=None
        )
        if not changed:
            raise ConflictError(f"Cluster {name} is trusted already.")
        data = {"reason": _said(reason)}
        record(actor=by, action="cluster.trusted", subject=f"cluster:{name}", data=data)
        alarms.clear(UNTRUSTED, f"cluster:{name}", by=by)
        room.look()


def change(
    name: str,
    *,
    by: Actor,
    labels: Mapping[str, str] | None = None,
    capacity: Limits | None = None,
    pace: Pace | None = None,
) -> RegisteredCluster:
    """Labels, capacity and pace; what is None stays. A lower capacity ends nothing that is there."""
    get(name)
    changes: dict[str, Any] = {} if labels is None else {"labels": _checked_labels(labels)}
    if capacity is not None:
        changes |= _columns(capacity)
    if pace is not None:
        changes |= _checked_pace(pace)
    if not changes:
        raise InvalidInputError("Nothing is changed by this.")
    with transaction.atomic():
        row = RegisteredCluster.objects.select_for_update(no_key=True).get(name=name)
        before = {field: getattr(row, field) for field in changes}
        RegisteredCluster.objects.filter(name=name).update(**changes)
        data = {"before": before, "after": changes}
        record(actor=by, action="cluster.changed", subject=f"cluster:{name}", data=data)
        room.look()
    row.refresh_from_db()
    return row


def _switch(name: str, *, enabled: bool, by: Actor, data: dict[str, Any]) -> RegisteredCluster:
    get(name)
    words = "enabled" if enabled else "disabled"
    with transaction.atomic():
        if not RegisteredCluster.objects.filter(name=name, enabled=not enabled).update(enabled=enabled):
            raise ConflictError(f"Cluster {name} is {words} already.")
        record(actor=by, action=f"cluster.{words}", subject=f"cluster:{name}", data=data)
        if enabled:
            room.look()
    return get(name)


# ---- checking


def _uid_of(row: RegisteredCluster) -> str:
    """Asks the cluster itself, which is also how it is known to answer."""
    # Not above: the Kubernetes client takes a second to import, and the web process never needs it
    # but for this.
    from sandboxes.lifecycle import connecting

    cluster = connecting.driver(row)
    try:
        cluster.info()
        return cluster.uid()
    finally:
        cluster.close()


def _learn_uids() -> None:
    """A cluster never looked at could be the new one under another name."""
    for row in RegisteredCluster.objects.filter(uid=""):
        if _facts(row, clock.now()).configured:
            try:
                uid = _uid_of(row)
            except ClusterUnavailableError as error:
                raise ClusterUnavailableError(
                    f"Cluster {row.name} was never reached, so it cannot be told whether it is this one. {error}"
                ) from error
            RegisteredCluster.objects.filter(pk=row.pk, uid="").update(uid=uid)


def _check_new(row: RegisteredCluster) -> None:
    ensure_environment_cluster()
    twin = RegisteredCluster.objects.filter(Q(name=row.name) | Q(uid=row.uid)).first()
    if twin is not None and twin.name == row.name:
        raise ConflictError(f"There is a cluster {row.name} already.")
    if twin is not None:
        raise ConflictError(f"This cluster is registered already, as {twin.name}.")


def _alone() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidInputError("A cluster's name is of small letters, digits, dots and hyphens, 63 at most.")
    return name


def _checked_labels(labels: Mapping[str, str]) -> dict[str, str]:
    for key, value in labels.items():
        if not _LABEL.fullmatch(key) or not _LABEL.fullmatch(value):
            raise InvalidInputError(
                f"The label {key}={value} is not made of letters, digits, dots and hyphens."
            )
    return dict(labels)


def _checked_kubeconfig(text: str, context: str) -> str:
    """Of the text only the chosen context is kept, and only if its token does not travel in the open."""
    kept = inline(text, context or None)
    server = cast("dict[str, Any]", kept["clusters"][0]["cluster"])
    address = urlsplit(str(server["server"]))
    if address.scheme != "https" and address.hostname not in ("127.0.0.1", "::1", "localhost"):
        raise InvalidInputError("The kubeconfig's server must be https: its token would travel in the open.")
    if server.get("insecure-skip-tls-verify"):
        raise InvalidInputError(
            "The kubeconfig has insecure-skip-tls-verify, so that anybody on the way could read its token; "
            "give certificate-authority-data instead."
        )
    return json.dumps(kept)


def _checked_pace(pace: Pace) -> dict[str, Any]:
    given = {field: value for field, value in vars(pace).items() if value is not None}
    if any(value <= 0 for value in given.values()):
        raise InvalidInputError("Concurrency, requests a second and burst must be more than nothing.")
    return given


def _columns(capacity: Limits) -> dict[str, Any]:
    columns = {
        f"max_{field}": getattr(capacity, field)
        for field in ("sandboxes", "cpu_millis", "memory_mib", "gpus")
    }
    if any(value is not None and value < 0 for value in columns.values()):
        raise InvalidInputError("A capacity cannot be less than nothing.")
    return columns


def _said(reason: str) -> str:
    if not reason.strip():
        raise InvalidInputError("Say why: the ledger keeps it.")
    return reason.strip()
