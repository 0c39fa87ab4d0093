"""Before the seal of a sandbox that slept or was isolated is proven again.

Both ways lead through `probing`, with `inspect_due` set: what is in the cluster is not what
an open sandbox is made of. The seal is applied as for any other, then what was frozen may
start and what was scaled away comes back, and only then the proof begins. The workspace
runs behind a seal that is whole but not proven yet, as at the very first opening: nobody
gets in before the proof.

The workspace's own objects are not applied: changing them (a profile may have a newer
image by now) would replace the pod, and with it the files that an isolation kept.
"""

from datetime import timedelta
from typing import Final

from sandboxes.lifecycle import clusters, specs
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import Phase
from sandboxes.lifecycle.steplog import step

SOON: Final = timedelta(milliseconds=250)


def take(sandbox: Sandbox) -> timedelta | None:
    """A step of a sandbox in phase `probing`; None when there is nothing (more) to prepare."""
    if sandbox.ready_at is None or not sandbox.inspect_due:
        return None
    cluster = clusters.get(sandbox.cluster)
    namespace = sandbox.namespace or ""
    with step(sandbox, "reopening") as attempt:
        seal = specs.rendered(sandbox, cluster).seal
        cluster.update_namespace(seal[0], uid=sandbox.namespace_uid)
        cluster.apply(seal[1:])
        cluster.delete_probe(namespace)
        if not cluster.thaw(namespace):
            attempt.wait()
            return SOON
        cluster.scale_workspace(namespace, 1)
    Sandbox.objects.filter(pk=sandbox.pk, phase=Phase.PROBING).update(inspect_due=False)
    sandbox.inspect_due = False
    return None
