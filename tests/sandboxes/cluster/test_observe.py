"""What the cluster's objects mean: garbage is failure, and waiting is not."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandboxes.cluster.observe import (
    ProbeLostError,
    canary_state,
    control_result,
    namespace_state,
    probe_result,
    workspace_state,
)
from sandboxes.cluster.probe_script import REPORT_MARK
from sandboxes.errors import ClusterUnavailableError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TARGETS = [
    ["api", "192.0.2.9", 6443, "tcp", "blocked"],
    ["index", "192.0.2.1", 8081, "tcp", "open"],
    ["index", "2001:db8::1", 8081, "tcp", "open"],
]
DNS = ["cluster-dns", "10.96.0.10", 53, "udp", "open"]
PROXY = ["egress-proxy", "192.0.2.4", 8082, "tcp", "open"]
AT = [1_790_000_000.25, 1_790_000_001.5]
BLOCKED, OPEN, ERROR = ["blocked", 1500, "no answer"], ["open", 2, "connected"], ["error", 0, "?"]


def probe_pod(
    message: str, phase: str = "Succeeded", targets: Any = TARGETS, **status: Any
) -> dict[str, Any]:
    variable = {"name": "PETRIDISH_PROBE_TARGETS", "value": json.dumps(targets)}
    state = {"terminated": {"message": message}} if message else {"terminated": {}}
    return {
        "metadata": {"name": "probe"},
        "spec": {"containers": [{"name": "probe", "env": [variable]}]},
        "status": {"phase": phase, "containerStatuses": [{"state": state}], **status},
    }


def report(*lines: Any, **more: Any) -> str:
    return json.dumps({"v": 2, "at": AT, "attempts": list(lines), **more})


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


@pytest.mark.parametrize(
    ("target", "line", "passed"),
    [
        (DNS, OPEN, True),
        (DNS, BLOCKED, False),  # the index alone is not all that a sandbox needs
        (PROXY, OPEN, True),
        (PROXY, BLOCKED, True),  # which only exceptions need
    ],
)
def test_of_each_service_one_address_must_be_open(target: Any, line: Any, passed: bool) -> None:
    result = probe_result(
        probe_pod(report(BLOCKED, OPEN, BLOCKED, line), targets=[*TARGETS, target]), simulated=False
    )
    assert result is not None
    assert result.passed is passed
    assert result.attempts[-1].protocol == target[3]


def test_a_run_says_when_it_was() -> None:
    result = probe_result(probe_pod(report(BLOCKED, OPEN, OPEN)), simulated=False)
    assert result is not None
    assert datetime.fromisoformat(result.started_at).timestamp() == AT[0]
    assert datetime.fromisoformat(result.finished_at).timestamp() == AT[1]


def test_the_log_says_it_before_the_node_does() -> None:
    pod, line = probe_pod("", phase="Running"), REPORT_MARK + report(BLOCKED, OPEN, OPEN)
    result = probe_result(pod, simulated=False, log=f"a warning\n{line}\n")
    assert result is not None
    assert result.passed
    assert result == probe_result(probe_pod(report(BLOCKED, OPEN, OPEN)), simulated=False)
    for log in ("", "a warning\n", line, line[:40], f"x {line}\n"):  # not yet there, or not all of it
        assert probe_result(pod, simulated=False, log=log) is None


def test_what_has_ended_is_not_read_from_its_log() -> None:
    pod = probe_pod("", phase="Failed")
    log = f"{REPORT_MARK}{report(BLOCKED, OPEN, OPEN)}\n"
    result = probe_result(pod, simulated=False, log=log)
    assert result is not None
    assert not result.usable


def test_a_probe_that_was_killed_says_nothing_whatever_it_left() -> None:
    result = probe_result(probe_pod(report(BLOCKED, OPEN, OPEN), phase="Failed"), simulated=False)
    assert result is not None
    assert (result.passed, result.usable) == (False, False)


def test_the_control_tells_what_answers() -> None:
    control = control_result(probe_pod(report(OPEN, ["open", 40, ""], BLOCKED)))
    assert control is not None
    assert control.pod == "probe"
    assert [(each.host, each.open, each.milliseconds) for each in control.answers] == [
        ("192.0.2.9", True, 2),
        ("192.0.2.1", True, 40),
        ("2001:db8::1", False, 1500),
    ]
    assert control_result(probe_pod("", phase="Running")) is None
    with pytest.raises(ProbeLostError, match="no usable result"):
        control_result(probe_pod("garbage"))


def canary_pod(ready: str, **metadata: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": ready}]
    return {"metadata": metadata, "status": {"podIP": "10.244.0.9", "conditions": conditions}}


def test_a_canary_that_is_not_ready_has_no_address() -> None:
    assert canary_state([canary_pod("True")], [], NOW).address == "10.244.0.9"
    for pods in (
        [],
        [canary_pod("False")],
        [canary_pod("True", deletionTimestamp="2026-01-01T00:00:00Z")],
    ):
        state = canary_state(pods, [], NOW)
        assert (state.address, state.message) == ("", "it is starting")
    failing = canary_state([waiting("ImagePullBackOff") | {"metadata": {}}], [], NOW)
    assert failing.message == "ImagePullBackOff: why"


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
        report(BLOCKED, OPEN, OPEN, at=["now", "then"]),
        json.dumps({"v": 2, "attempts": [BLOCKED, OPEN, OPEN]}),  # at no time
    ],
)
def test_garbage_is_failure(message: str) -> None:
    for phase in ("Succeeded", "Failed"):
        result = probe_result(probe_pod(message, phase=phase), simulated=False)
        assert result is not None
        assert (result.passed, result.usable) == (False, False)
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


def workload(**status: Any) -> dict[str, Any]:
    return {"metadata": {"generation": 2}, "spec": {"replicas": 1}, "status": status}


READY = {"observedGeneration": 2, "readyReplicas": 1, "updatedReplicas": 1}


@pytest.mark.parametrize(
    ("given", "ready"),
    [
        (workload(**READY), True),
        (workload(**{**READY, "observedGeneration": 1}), False),
        (workload(**{**READY, "updatedReplicas": 0}), False),
        (workload(), False),
    ],
)
def test_ready_is_what_the_present_specification_says(given: dict[str, Any], ready: bool) -> None:
    assert workspace_state([given], [], NOW).ready is ready


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
    state = workspace_state([workload()], [waiting(reason)], NOW)
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
    state = workspace_state([workload()], [{"status": {"conditions": [condition]}}], NOW)
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
    for state in (
        workspace_state([workload(conditions=[condition])], [], NOW),
        workspace_state([workload()], [], NOW, refusals=[message]),
    ):
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
