"""Sandboxes that were made from older templates: they keep their shape until they end.

Another release may make a workspace of another kind, and an owner's Role that names its pod.
Applied to a sandbox that is open, the new workload would run empty beside the old one, and
the Role would lock its owner out of the pod that has the files. So where a workload is found
that is not rendered any more, no other is made, and the Role stays as it was made.

It is told by what is in the cluster: once the old workload is gone, so are its files, and
the sandbox is brought into the shape of now.
"""

from collections.abc import Iterable
from typing import Final

from sandboxes.cluster.driver import Cluster, stage_selector
from sandboxes.cluster.kinds import KINDS, kind
from sandboxes.cluster.observation import Drift
from sandboxes.cluster.render import Rendered
from sandboxes.cluster.spec import KubeObject
from sandboxes.lifecycle.models import Sandbox

_WORKLOADS: Final = ("Deployment", "StatefulSet")


def without_new_shape(
    sandbox: Sandbox, cluster: Cluster, rendered: Rendered, drifts: list[Drift]
) -> list[Drift]:
    """What differs, but not because the sandbox has an older shape. Asks only if something could."""
    excused = [drift for drift in drifts if _is_of_shape(rendered, drift)]
    if not excused or not _has_older_shape(sandbox, cluster, rendered):
        return drifts
    return [drift for drift in drifts if drift not in excused]


def access(sandbox: Sandbox, cluster: Cluster, rendered: Rendered) -> Iterable[KubeObject]:
    """What to apply so that the owner gets in: of an older shape only what is not there."""
    if sandbox.ready_at is None or not _has_older_shape(sandbox, cluster, rendered):
        return rendered.access
    return [item for item in rendered.access if not _is_there(cluster, item)]


def _is_of_shape(rendered: Rendered, drift: Drift) -> bool:
    """A workspace that is missing, or access that only we would make differently: nobody else changed it."""
    stage = rendered.workspace if drift.what == "missing" else rendered.access
    ours_alone = drift.what in ("missing", "changed") and not drift.managers
    return ours_alone and any(
        (item["kind"], item["metadata"]["name"]) == (drift.kind, drift.name) for item in stage
    )


def _has_older_shape(sandbox: Sandbox, cluster: Cluster, rendered: Rendered) -> bool:
    now = {(item["kind"], item["metadata"]["name"]) for item in rendered.workspace}
    return any(
        (name, item["metadata"]["name"]) not in now
        for name in _WORKLOADS
        for item in cluster.api.list(
            kind("apps/v1", name), sandbox.namespace, stage_selector("workspace"), partial=True
        )
    )


def _is_there(cluster: Cluster, item: KubeObject) -> bool:
    metadata = item["metadata"]
    path = KINDS[item["apiVersion"], item["kind"]].path(metadata["namespace"], metadata["name"])
    return cluster.api.find(path) is not None
