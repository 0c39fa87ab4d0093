"""Carrying an isolation out on the cluster, and seeing that it stays carried out.

In the order that cuts soonest: nothing but "deny all" is left of the network policies,
and none of the role bindings, foreign ones included; the secrets go; the pods are frozen. All of
it is looked at again before `cut_at` says so, and from then on at every look: what somebody
puts back is taken away again, and told. Every part may be done twice.
"""

from datetime import timedelta
from typing import Final

from django.conf import settings
from django.db import transaction

from sandboxes.audit.services import record
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.spec import KubeObject, Labels
from sandboxes.errors import PetridishError
from sandboxes.lifecycle import alarms, belonging, clock, clusters, drift, late, specs
from sandboxes.lifecycle.isolation import ALARM
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import Phase
from sandboxes.lifecycle.presence import home
from sandboxes.lifecycle.steplog import step

SOON: Final = timedelta(milliseconds=400)
_LOOK_EVERY: Final = timedelta(minutes=1)
_USUAL: Final = timedelta(seconds=15)
_DENY_ALL: Final = "deny-all"


def take(sandbox: Sandbox) -> timedelta | None:
    """A step of an isolated sandbox: cut it off on the cluster, and see that it stays cut off."""
    cluster = clusters.get(sandbox.cluster)
    state = home(sandbox, cluster)
    if state is None:
        return None
    belonging.put_labels_back(sandbox, cluster, state)
    if sandbox.cut_at is not None:
        return _stay_cut(sandbox, cluster)
    with step(sandbox, "isolating") as attempt:
        left = _cut(sandbox, cluster)
        if left:
            attempt.wait()
            _say_what_is_left(sandbox, left)
            return SOON
    _note_cut(sandbox)
    return timedelta()


def _cut(sandbox: Sandbox, cluster: Cluster) -> list[str]:
    """Cuts, then looks: what still lets somebody in or out, or runs."""
    namespace = sandbox.namespace or ""
    seal = _deny_all(sandbox, cluster)
    keep = frozenset(policy["metadata"]["name"] for policy in seal)
    cluster.apply(seal)
    cluster.prune_policies(namespace, keep)
    cluster.revoke_access(namespace)
    cluster.delete_probe(namespace)
    running = cluster.freeze(namespace)
    return [*cluster.ways_in(namespace, keep), *running]


def _deny_all(sandbox: Sandbox, cluster: Cluster) -> list[KubeObject]:
    """As the seal has it. Should the sandbox not be rendered any more (its profile is gone), a bare one."""
    try:
        seal = specs.rendered(sandbox, cluster).seal
    except PetridishError:
        return [_bare(sandbox)]
    found = [
        item for item in seal if item["kind"] == "NetworkPolicy" and item["metadata"]["name"] == _DENY_ALL
    ]
    return found or [_bare(sandbox)]


def _bare(sandbox: Sandbox) -> KubeObject:
    labels = {Labels.SANDBOX: str(sandbox.pk), Labels.INSTALLATION: settings.INSTALLATION_ID}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": _DENY_ALL, "namespace": sandbox.namespace, "labels": labels},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
    }


def _stay_cut(sandbox: Sandbox, cluster: Cluster) -> timedelta:
    """Somebody may have put something back: a policy, a binding, a pod. It is taken away again, and told.

    What was changed in place, "deny all" itself for one, is found and put right by `drift`.
    """
    namespace = sandbox.namespace or ""
    back = [*cluster.ways_in(namespace, frozenset({_DENY_ALL})), *cluster.freeze(namespace)]
    if not back:
        drift.keep(sandbox, cluster)
        return _LOOK_EVERY
    with transaction.atomic():
        Sandbox.objects.filter(pk=sandbox.pk, phase=Phase.ISOLATED).update(cut_at=None)
        message = f"{sandbox} was isolated, and this came back: {', '.join(back)}. It is being cut off again."
        alarms.alarm(ALARM, _subject(sandbox), message)
        record(actor=None, action="sandbox.isolation_broken", subject=_subject(sandbox), data={"found": back})
    return timedelta()


def _note_cut(sandbox: Sandbox) -> None:
    with transaction.atomic():
        rows = Sandbox.objects.filter(pk=sandbox.pk, phase=Phase.ISOLATED, cut_at=None)
        if rows.update(cut_at=clock.Now(), last_error=""):
            late.over(sandbox)
            record(actor=None, action="sandbox.cut_off", subject=_subject(sandbox))


def _say_what_is_left(sandbox: Sandbox, left: list[str]) -> None:
    """Only once it takes longer than nodes usually need."""
    if clock.now() - sandbox.phase_at < _USUAL:
        return
    trouble = f"Not cut off yet, this is still there: {', '.join(left[:10])}."
    Sandbox.objects.filter(pk=sandbox.pk, phase=Phase.ISOLATED).update(last_error=trouble)


def _subject(sandbox: Sandbox) -> str:
    return f"sandbox:{sandbox.pk}"
