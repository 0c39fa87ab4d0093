"""Why a stateful set has no pod: the server is asked, and its word counts only if nothing else explains it."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.spec import Labels
from sandboxes.errors import ClusterRefusedError, ClusterUnavailableError
from tests.sandboxes.cluster.stub import Answer, Stub, found, status

type Json = dict[str, Any]

REFUSED = status(403, 'pods "workspace-0" is forbidden: exceeded quota: sandbox, requested: pods=1')


@dataclass
class Server:
    """A namespace with one stateful set; `pods` are what each listing of pods finds, the last one for ever."""

    replicas: int = 1
    observed: int = 2
    pods: list[list[Json]] = field(default_factory=lambda: [[]])
    counted: str = "0"
    verdict: Answer = REFUSED
    tried: int = 0

    def __call__(self, method: str, path: str) -> Answer:
        if method == "POST":
            assert "/pods?" in path
            assert "dryRun=All" in path
            self.tried += 1
            return self.verdict
        kind = path.partition("?")[0].rpartition("/")[2]
        items = {"statefulsets": [self._set()], "resourcequotas": [self._quota()]}.get(kind, [])
        if kind == "pods":
            items = self.pods.pop(0) if len(self.pods) > 1 else self.pods[0]
        return found({"metadata": {}, "items": items})

    def _set(self) -> Json:
        template = {"metadata": {"labels": {"app": "workspace"}}, "spec": {"containers": []}}
        return {
            "metadata": {"name": "workspace", "uid": "1", "generation": 2},
            "spec": {"replicas": self.replicas, "template": template},
            "status": {"observedGeneration": self.observed, "replicas": 0},
        }

    def _quota(self) -> Json:
        return {"metadata": {"name": "sandbox", "uid": "2"}, "status": {"used": {"pods": self.counted}}}


def pod(name: str, stage: str, phase: str = "Running") -> Json:
    metadata = {"name": name, "uid": name, "labels": {Labels.STAGE: stage}}
    return {"metadata": metadata, "spec": {}, "status": {"phase": phase}}


PROBE, WORKSPACE = pod("probe", "probe"), pod("workspace-0", "workspace")
DONE = pod("probe", "probe", "Succeeded")


def test_a_refusal_is_told_in_the_servers_words(stub: tuple[Stub, int], cluster: Cluster) -> None:
    stub[0].answer = Server(pods=[[], [PROBE]], counted="1")
    state = cluster.workspace("x")
    assert state.failed
    told = 'The pod cannot be created: pods "workspace-0" is forbidden: exceeded quota: sandbox'
    assert state.message.startswith(told)


@pytest.mark.parametrize(
    ("server", "tried"),
    [
        # Nobody is to say yet, or ever, whether a pod is taken.
        (Server(observed=1), 0),
        (Server(pods=[[WORKSPACE]]), 0),
        # The pod that was not there when we looked has taken the room.
        (Server(pods=[[], [WORKSPACE]]), 1),
        # The quota counts a pod that is gone.
        (Server(pods=[[], [PROBE]], counted="2"), 1),
        (Server(pods=[[], [DONE]], counted="1"), 1),
        # It is there by now, or would be taken.
        (Server(verdict=status(409, 'pods "workspace-0" already exists')), 1),
        (Server(verdict=found({"metadata": {"name": "workspace-0"}})), 1),
    ],
)
def test_what_says_nothing_fails_nobody(
    stub: tuple[Stub, int], cluster: Cluster, server: Server, tried: int
) -> None:
    stub[0].answer = server
    state = cluster.workspace("x")
    assert (state.ready, state.failed, server.tried) == (False, False, tried)


def test_asleep_no_pod_is_asked_for(stub: tuple[Stub, int], cluster: Cluster) -> None:
    server = stub[0].answer = Server(replicas=0, observed=1)
    cluster.workspace("x")
    server.observed = 2
    cluster.workspace("x")
    assert server.tried == 0


@pytest.mark.parametrize(
    ("counted", "pods", "wait"),
    [("2", [WORKSPACE], True), ("2", [WORKSPACE, DONE], True), ("1", [WORKSPACE], False)],
)
def test_a_probe_waits_for_a_quota_that_counts_what_is_gone(
    stub: tuple[Stub, int], cluster: Cluster, counted: str, pods: list[Json], wait: bool
) -> None:
    """Its first attempt was deleted, or lost a race: its successor has room, though the server says otherwise."""
    server = Server(pods=[pods], counted=counted)
    refused = status(403, 'pods "probe" is forbidden: exceeded quota: sandbox, requested: limits.cpu=1')

    def answer(method: str, path: str) -> Answer:
        if "/pods/probe" in path:
            return refused if method == "PATCH" else status(404, "not found")
        return server(method, path)

    stub[0].answer = answer
    probe = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe", "namespace": "x"}}
    with pytest.raises(ClusterUnavailableError if wait else ClusterRefusedError, match="quota"):
        cluster.start_probe([probe])
