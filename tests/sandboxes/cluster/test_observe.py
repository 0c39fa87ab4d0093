"""What the cluster's objects mean: garbage is failure, and waiting is not."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandboxes.cluster.observe import namespace_state, probe_result, workspace_state
from sandboxes.errors import ClusterUnavailableError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TARGETS = [
    {"name": "api", "host": "192.0.2.9", "port": 6443, "expected": "blocked"},
    {"name": "index", "host": "192.0.2.1", "port": 8081, "expected": "open"},
    {"name": "index", "host": "2001:db8::1", "port": 8081, "expected": "open"},
]
BLOCKED, OPEN, ERROR = ["blocked", 1500, "no answer"], ["open", 2, "connected"], ["error", 0, "?"]


def probe_pod(
    message: str, phase: str = "Succeeded", targets: Any = TARGETS, **status: Any
) -> dict[str, Any]:
    variable = {"name": "PETRIDISH_PROBE_TARGETS", "value": json.dumps(targets)}
    state = {"terminated": {"message": message}} if message else {"terminated": {}}
    return {
        "spec": {"containers": [{"name": "probe", "env": [variable]}]},
        "status": {"phase": phase, "containerStatuses": [{"state": state}], **status},
    }


def report(*lines: Any, **more: Any) -> str:
    return json.dumps({"v": 1, "attempts": list(lines), **more})


@pytest.mark.parametrize(
    ("lines", "passed"),
    [
        ((BLOCKED, OPEN, OPEN), True),
        ((BLOCKED, OPEN, BLOCKED), True),  # one address of the index is enough
        ((BLOCKED, BLOCKED, BLOCKED), False),
        ((OPEN, OPEN, OPEN), False),
        ((ERROR, OPEN, OPEN), False),
    ],
)
def test_the_probe_is_judged_by_its_attempts(lines: tuple[Any, ...], passed: bool) -> None:
    result = probe_result(probe_pod(report(*lines)), simulated=False)
    assert result is not None
    assert result.passed is passed
    assert [attempt.target for attempt in result.attempts] == ["api", "index", "index"]


def test_a_running_probe_has_no_result() -> None:
    assert probe_result(probe_pod("", phase="Running"), simulated=False) is None
    assert probe_result({"spec": {}, "status": {}}, simulated=False) is None


@pytest.mark.parametrize(
    "message",
    [
        "",
        "Traceback (most recent call last): ...",
        "[]",
        "{}",
        "null",
        '{"attempts": 3}',
        report(BLOCKED, OPEN),  # a target is missing
        report(BLOCKED, OPEN, OPEN, OPEN),
        report(BLOCKED, OPEN, ["fine", 1, ""]),
        report(BLOCKED, OPEN, ["open"]),
        report(BLOCKED, OPEN, None),
        report(BLOCKED, OPEN, OPEN)[:-3],  # cut off
    ],
)
def test_garbage_is_failure(message: str) -> None:
    result = probe_result(probe_pod(message, phase="Failed"), simulated=False)
    assert result is not None
    assert not result.passed
    assert "no usable result" in result.attempts[0].detail


def test_a_probe_without_blocked_targets_proves_nothing() -> None:
    result = probe_result(probe_pod(report(OPEN), targets=TARGETS[1:2]), simulated=False)
    assert result is not None
    assert not result.passed


def test_simulated_is_said_by_either_side() -> None:
    for message, given in (
        (report(BLOCKED, OPEN, OPEN, simulated=True), False),
        (report(BLOCKED, OPEN, OPEN), True),
    ):
        result = probe_result(probe_pod(message), simulated=given)
        assert result is not None
        assert result.simulated


def test_a_lost_probe_is_run_again() -> None:
    with pytest.raises(ClusterUnavailableError, match="Evicted"):
        probe_result(probe_pod("", phase="Failed", reason="Evicted"), simulated=False)


def deployment(**status: Any) -> dict[str, Any]:
    return {"metadata": {"generation": 2}, "spec": {"replicas": 1}, "status": status}


READY = {"observedGeneration": 2, "readyReplicas": 1, "updatedReplicas": 1}


@pytest.mark.parametrize(
    ("workload", "ready"),
    [
        (deployment(**READY), True),
        (deployment(**{**READY, "observedGeneration": 1}), False),
        (deployment(**{**READY, "updatedReplicas": 0}), False),
        (deployment(), False),
    ],
)
def test_ready_is_what_the_present_specification_says(workload: dict[str, Any], ready: bool) -> None:
    assert workspace_state([workload], [], NOW).ready is ready


def waiting(reason: str, message: str = "why") -> dict[str, Any]:
    return {"status": {"containerStatuses": [{"state": {"waiting": {"reason": reason, "message": message}}}]}}


@pytest.mark.parametrize(
    ("reason", "failed"),
    [
        ("ContainerCreating", False),
        ("ErrImagePull", False),
        ("ImagePullBackOff", True),
        ("ErrImageNeverPull", True),
        ("CreateContainerConfigError", True),
        ("CrashLoopBackOff", True),
    ],
)
def test_containers_that_wait(reason: str, failed: bool) -> None:
    state = workspace_state([deployment()], [waiting(reason)], NOW)
    assert (state.ready, state.failed) == (False, failed)
    assert failed is False or state.message == f"{reason}: why"


@pytest.mark.parametrize(("minutes", "failed"), [(0, False), (1, False), (3, True)])
def test_an_unschedulable_pod_gets_time_for_a_node_to_come(minutes: int, failed: bool) -> None:
    since = (NOW - timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
    condition = {
        "type": "PodScheduled",
        "reason": "Unschedulable",
        "message": "0/1 nodes are available",
        "lastTransitionTime": since,
    }
    state = workspace_state([deployment()], [{"status": {"conditions": [condition]}}], NOW)
    assert state.failed is failed
    assert state.message == "Unschedulable: 0/1 nodes are available"


@pytest.mark.parametrize(
    ("message", "failed"),
    [
        ('pods "x" is forbidden: exceeded quota: sandbox', True),
        ('pods "x" is forbidden: violates PodSecurity "restricted:latest"', True),
        ('pods "x" is forbidden: status unknown for quota: sandbox', False),
        ("Internal error occurred", False),
    ],
)
def test_pods_that_cannot_be_created(message: str, failed: bool) -> None:
    condition = {"type": "ReplicaFailure", "status": "True", "message": message}
    state = workspace_state([deployment(conditions=[condition])], [], NOW)
    assert state.failed is failed
    assert message in state.message


def test_no_workspace_is_not_a_failure() -> None:
    state = workspace_state([], [], NOW)
    assert (state.ready, state.failed) == (False, False)


def test_a_namespace_shows_only_what_blocks_it() -> None:
    conditions = [
        {"type": "NamespaceContentRemaining", "status": "True", "message": "pods. has 1 resource instances"},
        {"type": "NamespaceDeletionContentFailure", "status": "False", "message": "fine"},
    ]
    metadata = {"name": "n", "uid": "u", "deletionTimestamp": "2026-01-01T00:00:00Z"}
    state = namespace_state({"metadata": metadata, "status": {"conditions": conditions}})
    assert state.phase == "Terminating"
    assert state.conditions == ("NamespaceContentRemaining: pods. has 1 resource instances",)
    assert (state.labels, state.annotations) == ({}, {})
