"""What a pod says that somebody put in the probe's place proves nothing."""

import copy
import json
from typing import Any

import pytest

from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.kinds import kind
from sandboxes.lifecycle.models import Probe, Sandbox
from sandboxes.lifecycle.phases import Phase
from tests.sandboxes.lifecycle.between import Between
from tests.sandboxes.lifecycle.test_journey import reconcile_until

pytestmark = pytest.mark.django_db

POD = kind("v1", "Pod")


def test_a_probe_that_tries_less_than_it_should_opens_nothing(
    sandbox: Sandbox, cluster: Cluster, between: Between
) -> None:
    """Under the probe's own name and labels, but without a target: as if no admission policy were there."""
    forged: list[str] = []

    def swap(call: str) -> None:
        if call == "start_probe" and not forged:
            sandbox.refresh_from_db()
            forged.extend(replace_probe(cluster, sandbox.namespace or ""))

    between.after = swap
    reconcile_until(sandbox, Phase.READY)
    assert forged
    (probe,) = Probe.objects.filter(sandbox=sandbox)
    assert "metadata" in {row["target"] for row in probe.attempts}
    assert between.calls.count("start_probe") > 1


def replace_probe(cluster: Cluster, namespace: str) -> list[str]:
    """One that leaves the metadata service out; its UID. Not while no canary is known: that one is made again."""
    path = POD.path(namespace, "probe")
    pod: dict[str, Any] = copy.deepcopy(cluster.api.get(path))
    if '"canary"' not in str(pod["spec"]["containers"][0]["env"]):
        return []
    cluster.api.delete(path, {"gracePeriodSeconds": 0})
    while cluster.api.find(path) is not None:
        pass
    (variable,) = pod["spec"]["containers"][0]["env"]
    variable["value"] = json.dumps([line for line in json.loads(variable["value"]) if line[0] != "metadata"])
    pod["spec"].pop("nodeName", None)
    pod["metadata"] = {name: pod["metadata"][name] for name in ("name", "namespace", "labels")}
    pod.pop("status")
    return [str(cluster.api.create(POD.collection(namespace), pod)["metadata"]["uid"])]
