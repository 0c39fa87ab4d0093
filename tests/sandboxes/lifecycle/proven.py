"""What is due, and the control of a cluster as its row has it."""

from datetime import timedelta
from typing import Any

from sandboxes.cluster.kinds import kind
from sandboxes.lifecycle import clock
from sandboxes.lifecycle.models import Probe, RegisteredCluster, Sandbox

POD = kind("v1", "Pod")


def make_due(sandbox: Sandbox) -> None:
    """As an hour later."""
    hour = timedelta(hours=1)
    for probe in sandbox.probes.all():
        Probe.objects.filter(pk=probe.pk).update(at=probe.at - hour)
    Sandbox.objects.filter(pk=sandbox.pk).update(probe_due_at=clock.Now())
    sandbox.refresh_from_db()


def control_state() -> dict[str, Any]:
    return dict(RegisteredCluster.objects.get().control)
