"""The network policies of egress exceptions, brought in line with the rows while a sandbox is ready.

Closing comes before opening. After any change the specification is applied, since objects
carry its hash and an old one would look like drift; and the seal has to be proven again
and its objects inspected. A worker may die between any two lines: an empty `spec_hash`
says that policies were removed and the rest is still to be applied.
"""

from datetime import datetime, timedelta
from typing import Final

from django.db import transaction

from sandboxes.cluster.driver import Cluster
from sandboxes.lifecycle import clock, specs, ways
from sandboxes.lifecycle.egress import active_blocks, end
from sandboxes.lifecycle.models import EgressException, Sandbox
from sandboxes.lifecycle.phases import Phase
from sandboxes.lifecycle.steplog import step

_AGAIN: Final = timedelta(seconds=5)


def keep(sandbox: Sandbox, cluster: Cluster) -> datetime | None:
    """One pass; when to look again, or None for not because of a way out."""
    _end_due_of(sandbox)
    _end_closed(sandbox, cluster)
    rows = EgressException.objects.filter(sandbox=sandbox).exclude(cidr="")
    left = _close(sandbox, cluster, list(rows.filter(ended_at__isnull=False, removed_at=None).order_by("pk")))
    if not sandbox.spec_hash or rows.filter(ended_at=None, applied_at=None).exists():
        with step(sandbox, "egress-apply"):
            _apply(sandbox, cluster)
    if left:  # somebody took our label off: that is for the inspection to judge, and to be tried again
        _changed(sandbox)
        return clock.now() + _AGAIN
    return rows.filter(ended_at=None).order_by("until").values_list("until", flat=True).first()


def _end_due_of(sandbox: Sandbox) -> None:
    due = EgressException.objects.filter(sandbox=sandbox, ended_at=None, until__lte=clock.Now())
    for exception_id in due.values_list("pk", flat=True):
        end(exception_id, None)


def _close(sandbox: Sandbox, cluster: Cluster, ended: list[EgressException]) -> int:
    """Removes their policies; how many would not go. One never noted as applied may be there all the same."""
    if not ended:
        return 0
    with step(sandbox, "egress-close") as attempt:
        gone = [
            row.pk
            for row in ended
            if cluster.remove_policy(sandbox.namespace or "", f"egress-{row.pk}", sandbox.pk)
        ]
        if gone:
            with transaction.atomic():
                _changed(sandbox, spec_hash="")  # what is left is another specification: `_apply` follows
                EgressException.objects.filter(pk__in=gone).update(removed_at=clock.Now())
        if len(gone) < len(ended):
            attempt.wait()
    return len(ended) - len(gone)


def _end_closed(sandbox: Sandbox, cluster: Cluster) -> None:
    """A cluster grows after a grant: a block that holds an address of its own by now ends, open or not yet."""
    rows = list(EgressException.objects.filter(sandbox=sandbox, ended_at=None).exclude(cidr=""))
    if not rows:
        return
    closed = {target.host: target.name for target in specs.facts(cluster).blocked_targets}
    closed |= dict.fromkeys(specs.closed_ranges(cluster), "the cluster’s own")
    for row in rows:
        if held := ways.closed_within(row.cidr, closed):
            end(row.pk, None, reason=f"it holds what stays closed: {held}")


def _apply(sandbox: Sandbox, cluster: Cluster) -> None:
    """Applies the specification, the workspace apart: applying that could restart it, and lose its files."""
    blocks = [block.id for block in active_blocks(sandbox)]
    rendered = specs.rendered(sandbox, cluster)
    cluster.update_namespace(rendered.seal[0], uid=sandbox.namespace_uid)
    cluster.apply((*rendered.seal[1:], *rendered.access))
    with transaction.atomic():
        _changed(sandbox, spec_hash=rendered.spec_hash)
        # A block granted since is in the cluster perhaps, and applied again: what is noted was there.
        new = EgressException.objects.filter(pk__in=blocks, ended_at=None, applied_at=None)
        new.update(applied_at=clock.Now())


def _changed(sandbox: Sandbox, **changes: str) -> None:
    """The seal is to be proven and its objects inspected; of one that left `ready` others take care."""
    rows = Sandbox.objects.filter(pk=sandbox.pk, phase=Phase.READY)
    rows.update(probe_due_at=clock.Now(), inspect_due=True, observed="", **changes)
    sandbox.refresh_from_db(fields=["probe_due_at", "inspect_due", "observed", "spec_hash"])
