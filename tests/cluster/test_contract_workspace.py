"""The contract of a workspace, on both clusters: its stateful set, its pod, and what it reports of itself."""

import json
from typing import Any

import pytest

from sandboxes.cluster.names import WORKSPACE_POD
from sandboxes.cluster.spec import KubeObject, SandboxSpec
from sandboxes.errors import ClusterRefusedError
from tests.cluster.conftest import REAL, Subject, wait_for
from tests.cluster.contract import POD, STATEFUL_SET, status

pytestmark = pytest.mark.parametrize("subject", ["simulated", REAL], indirect=True)


def test_the_workspace_becomes_ready(subject: Subject) -> None:
    spec, rendered, _ = subject.sealed()
    assert not subject.cluster.workspace(spec.namespace).ready
    subject.cluster.apply(rendered.workspace)
    state = wait_for(lambda: (state := subject.cluster.workspace(spec.namespace)).ready and state)
    assert state
    assert not state.failed
    assert "StatefulSet/workspace" in map(str, subject.cluster.inventory(spec.namespace))


def test_a_workspace_whose_image_does_not_exist_fails_and_says_so(subject: Subject) -> None:
    spec, rendered, _ = subject.sealed(image="images.invalid/nothing:1")
    subject.cluster.apply(rendered.workspace)
    state = wait_for(lambda: (state := subject.cluster.workspace(spec.namespace)).failed and state)
    assert state
    assert not state.ready
    assert "ImagePullBackOff" in state.message


def test_a_workspace_that_the_quota_refuses_fails_and_says_so(subject: Subject) -> None:
    spec, rendered, _ = subject.sealed()
    workspace = json.loads(json.dumps(rendered.workspace[0]))
    workspace["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"] = "64"
    subject.cluster.apply([workspace])
    state = wait_for(lambda: (state := subject.cluster.workspace(spec.namespace)).failed and state)
    assert state
    assert "exceeded quota" in state.message


def workspace_pod(subject: Subject, spec: SandboxSpec) -> KubeObject:
    """The only pod of a sandbox that is up."""
    (pod,) = subject.cluster.api.list(POD, spec.namespace)
    return pod


@pytest.mark.parametrize("image", [None, "images.invalid/nothing:1"])
def test_a_workspace_that_changed_gets_a_new_pod_of_the_same_name(
    subject: Subject, image: str | None
) -> None:
    """One that never came up as well: nobody has to delete it first."""
    spec, rendered, _ = subject.sealed(**({"image": image} if image else {}))
    subject.cluster.apply(rendered.workspace)
    wait_for(lambda: (state := subject.cluster.workspace(spec.namespace)).ready or state.failed)
    before = workspace_pod(subject, spec)
    workspace = json.loads(json.dumps(rendered.workspace[0]))
    (container,) = workspace["spec"]["template"]["spec"]["containers"]
    container["image"] = subject.image
    container["env"].append({"name": "CHANGED", "value": "yes"})
    subject.cluster.apply([workspace])
    assert not subject.cluster.workspace(spec.namespace).ready
    wait_for(lambda: subject.cluster.workspace(spec.namespace).ready)
    after = workspace_pod(subject, spec)
    assert [pod["metadata"]["name"] for pod in (before, after)] == [WORKSPACE_POD] * 2
    assert before["metadata"]["uid"] != after["metadata"]["uid"]
    assert after["metadata"]["labels"]["controller-revision-hash"] == status(subject, spec)["updateRevision"]


def test_what_a_workspace_reports_of_itself(subject: Subject) -> None:
    spec, rendered, _ = subject.sealed()
    subject.cluster.apply(rendered.workspace)
    wait_for(lambda: subject.cluster.workspace(spec.namespace).ready)
    one = dict.fromkeys(
        ("replicas", "readyReplicas", "availableReplicas", "currentReplicas", "updatedReplicas"), 1
    )
    wait_for(lambda: one.items() <= status(subject, spec).items())
    revision = status(subject, spec)["updateRevision"]
    assert (status(subject, spec)["currentRevision"], status(subject, spec)["observedGeneration"]) == (
        revision,
        1,
    )
    subject.cluster.scale_workspace(spec.namespace, 0)
    wait_for(lambda: subject.cluster.pods_left(spec.namespace) == 0)
    nothing = {"replicas": 0, "availableReplicas": 0, "observedGeneration": 2, "updateRevision": revision}
    wait_for(lambda: nothing.items() <= status(subject, spec).items())
    assert not {"readyReplicas", "currentReplicas", "updatedReplicas"} & status(subject, spec).keys()


@pytest.mark.parametrize(
    "change", [{"serviceName": "other"}, {"podManagementPolicy": "OrderedReady"}], ids=str
)
def test_most_of_a_stateful_set_never_changes(subject: Subject, change: dict[str, str]) -> None:
    spec, rendered, _ = subject.sealed()
    (workspace,) = rendered.workspace
    subject.cluster.apply([{**workspace, "spec": {**workspace["spec"], "replicas": 0}}])
    path = STATEFUL_SET.path(spec.namespace, "workspace")
    with pytest.raises(
        ClusterRefusedError, match=r"\(422\).*updates to statefulset spec for fields other than"
    ):
        subject.cluster.api.merge(path, {"spec": change})


@pytest.mark.parametrize(
    ("wrong", "known"),
    [
        ({"podManagementPolicy": "Odd"}, "'OrderedReady' or 'Parallel'"),
        ({"updateStrategy": {"type": "Odd"}}, "'RollingUpdate' or 'OnDelete'"),
    ],
    ids=str,
)
def test_a_stateful_set_knows_its_own_words(subject: Subject, wrong: dict[str, Any], known: str) -> None:
    _, rendered, _ = subject.sealed()
    (workspace,) = rendered.workspace
    with pytest.raises(ClusterRefusedError, match=rf"\(422\).*Invalid value: .*must be {known}"):
        subject.cluster.apply([{**workspace, "spec": {**workspace["spec"], **wrong}}])
