"""Carrying an isolation out on the cluster, and seeing that it stays carried out.

In the order that cuts soonest: nothing but "deny all" (`k8s-templates/isolated`) is left of the
network policies, which are kept as they were (`securing`), and none of the role bindings, foreign
ones included; the secrets go; the pods are frozen. All of it is looked at again before `cut_at` says
so, and from then on at every look: what somebody puts back is taken away again, and told. Every
part may be done twice.
"""

from datetime import timedelta
from typing import Final

from django.db import transaction

from sandboxes.audit.services import record
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.isolated import policy_names
from sandboxes.errors import InvalidInputError, TemplateError
from sandboxes.lifecycle import alarms, belonging, clock, clusters, drift, late, securing, specs
from sandboxes.lifecycle.isolation import ALARM
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import Phase
from sandboxes.lifecycle.presence import home
from sandboxes.lifecycle.steplog import step

SOON: Final = timedelta(milliseconds=400)
_LOOK_EVERY: Final = timedelta(minutes=1)
_USUAL: Final = timedelta(seconds=15)


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
    try:
        instead = specs.isolated(sandbox)
    except TemplateError:  # an admin's mistake: what needs no template is done all the same
        cluster.revoke_access(namespace)
        cluster.freeze(namespace)
        raise
    policies, others = (
        [item for item in instead if (item["kind"] == "NetworkPolicy") is wanted] for wanted in (True, False)
    )
    securing.keep_policies(sandbox, cluster)
    cluster.apply(policies)
    securing.keep_policies(sandbox, cluster, last=True)
    cluster.prune_policies(namespace, _kept())
    cluster.revoke_access(namespace)
    cluster.delete_probe(namespace)
    running = cluster.freeze(namespace)
    securing.want_logs(sandbox)
    cluster.apply(others)
    return [*cluster.ways_in(namespace, _kept()), *running]


def _kept() -> frozenset[str]:
    """The policies of `k8s-templates/isolated`."""
    return policy_names(specs.isolated_templates())


def _stay_cut(sandbox: Sandbox, cluster: Cluster) -> timedelta:
    """Somebody may have put something back: a policy, a binding, a pod. It is taken away again, and told.

    What was changed in place, "deny all" itself for one, is found and put right by `drift`.
    """
    namespace = sandbox.namespace or ""
    back = [*cluster.ways_in(namespace, _kept()), *cluster.freeze(namespace)]
    if not back:
        _mend(sandbox, cluster)
        return _LOOK_EVERY
    with transaction.atomic():
        Sandbox.objects.filter(pk=sandbox.pk, phase=Phase.ISOLATED).update(cut_at=None)
        securing.want_logs(sandbox, anew=True)
        message = f"{sandbox} was isolated, and this came back: {', '.join(back)}. It is being cut off again."
        alarms.alarm(ALARM, _subject(sandbox), message)
        record(actor=None, action="sandbox.isolation_broken", subject=_subject(sandbox), data={"found": back})
    return timedelta()


def _mend(sandbox: Sandbox, cluster: Cluster) -> None:
    """The rest of its seal; where that cannot be rendered any more (its profile is gone), at least the policies."""
    try:
        drift.keep(sandbox, cluster)
    except InvalidInputError:
        cluster.apply(specs.isolated(sandbox))
        raise


def _note_cut(sandbox: Sandbox) -> None:
    with transaction.atomic():
        rows = Sandbox.objects.filter(pk=sandbox.pk, phase=Phase.ISOLATED, cut_at=None)
        if rows.update(cut_at=clock.Now(), last_error=""):
            late.over(sandbox)
            securing.want_logs(sandbox, anew=True)
            record(actor=None, action="sandbox.cut_off", subject=_subject(sandbox))


def _say_what_is_left(sandbox: Sandbox, left: list[str]) -> None:
    """Only once it takes longer than nodes usually need."""
    if clock.now() - sandbox.phase_at < _USUAL:
        return
    trouble = f"Not cut off yet, this is still there: {', '.join(left[:10])}."
    Sandbox.objects.filter(pk=sandbox.pk, phase=Phase.ISOLATED).update(last_error=trouble)


def _subject(sandbox: Sandbox) -> str:
    return f"sandbox:{sandbox.pk}"
