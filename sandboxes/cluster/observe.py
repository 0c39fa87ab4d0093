"""What the cluster's objects mean: pure functions from plain data to our words."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sandboxes.cluster.probe_script import REPORT_MARK
from sandboxes.cluster.spec import (
    Answer,
    Attempt,
    CanaryState,
    Control,
    KubeObject,
    NamespaceState,
    ProbeResult,
    WorkspaceState,
)
from sandboxes.cluster.targets import OPTIONAL
from sandboxes.errors import ClusterUnavailableError

# Reasons of a waiting container that time alone does not cure. ErrImagePull is not
# among them: it turns into ImagePullBackOff if the next pull fails as well.
_FATAL_WAITING: Final = frozenset(
    (
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    )
)
_FATAL_CREATE: Final = ("is forbidden", "is invalid")  # over quota, against Pod Security, malformed
_PASSING_CREATE: Final = "status unknown for quota"
_UNSCHEDULABLE_PATIENCE: Final = timedelta(minutes=2)  # an autoscaler may be adding a node
# A pod that ended like this says nothing about the seal.
_LOST_POD: Final = frozenset(
    ("Evicted", "NodeAffinity", "NodeLost", "Preempting", "Terminated", "NodeShutdown")
)


def namespace_state(item: KubeObject) -> NamespaceState:
    """A Namespace object in our words; of the conditions only those that block something."""
    metadata = item["metadata"]
    conditions = tuple(
        f"{condition.get('type')}: {condition.get('message') or condition.get('reason', '')}"
        for condition in item.get("status", {}).get("conditions") or ()
        if condition.get("status") == "True"
    )
    return NamespaceState(
        name=metadata["name"],
        uid=metadata["uid"],
        phase="Terminating" if metadata.get("deletionTimestamp") else "Active",
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations") or {},
        conditions=conditions,
    )


def workspace_state(
    workloads: Sequence[KubeObject],
    pods: Sequence[KubeObject],
    now: datetime,
    refusals: Iterable[str] = (),
) -> WorkspaceState:
    """Ready, failed or still coming up, and why. `refusals` are the server's words about pods it does not take."""
    if not workloads:
        return WorkspaceState(ready=False, failed=False, message="There is no workspace yet.")
    if all(_is_ready(workload) for workload in workloads):
        return WorkspaceState(ready=True, failed=False, message="The workspace is ready.")
    refused = [_creation_problem(refusal) for refusal in refusals]
    problems = [*refused, *_creation_problems(workloads), *_pod_problems(pods, now)]
    failed = [message for fatal, message in problems if fatal]
    if failed:
        return WorkspaceState(ready=False, failed=True, message=failed[0])
    message = problems[0][1] if problems else "The workspace is starting."
    return WorkspaceState(ready=False, failed=False, message=message)


def _is_ready(workload: KubeObject) -> bool:
    status = workload.get("status", {})
    wanted = int(workload["spec"].get("replicas", 1))
    current = status.get("observedGeneration", 0) >= workload["metadata"].get("generation", 1)
    ready = min(status.get("readyReplicas", 0), status.get("updatedReplicas", 0))
    return bool(current and ready >= wanted)


def _creation_problems(workloads: Iterable[KubeObject]) -> Iterable[tuple[bool, str]]:
    """Pods that could not even be created: (fatal, message). Stateful sets have no such condition."""
    for workload in workloads:
        for condition in workload.get("status", {}).get("conditions") or ():
            if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
                yield _creation_problem(str(condition.get("message", "")))


def _creation_problem(message: str) -> tuple[bool, str]:
    fatal = _PASSING_CREATE not in message and any(word in message for word in _FATAL_CREATE)
    return fatal, f"The pod cannot be created: {message}"


def _pod_problems(pods: Iterable[KubeObject], now: datetime) -> Iterable[tuple[bool, str]]:
    for pod in pods:
        status = pod.get("status", {})
        for container in (
            *(status.get("initContainerStatuses") or ()),
            *(status.get("containerStatuses") or ()),
        ):
            waiting = container.get("state", {}).get("waiting")
            if waiting and waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
                text = f"{waiting['reason']}: {waiting.get('message', '')}".rstrip(": ")
                yield waiting["reason"] in _FATAL_WAITING, text
        for condition in status.get("conditions") or ():
            if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
                since = datetime.fromisoformat(condition["lastTransitionTime"])
                text = f"Unschedulable: {condition.get('message', '')}"
                yield now - since > _UNSCHEDULABLE_PATIENCE, text


def moment_of(text: object) -> datetime | None:
    """A time as the cluster writes it; None for none, and for what is no time."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


class ProbeLostError(ClusterUnavailableError):
    """The pod is gone, or ended without having run: that run has to be started again."""


def probe_result(pod: KubeObject, simulated: bool, log: str = "") -> ProbeResult | None:
    """None while the probe runs. Whatever cannot be read counts as failed.

    What was seen is checked against the targets in the pod's own specification, which
    nobody in the sandbox can change. It stands in the pod's message when the pod has
    ended, and in its log a second or two earlier, for nodes look only now and then at
    what has ended. A log that says nothing yet is no result, whatever else is in it.
    """
    status = pod.get("status", {})
    if status.get("phase") not in ("Succeeded", "Failed"):
        report = _report_in(log)
        return None if report is None else _read(pod, report, simulated)
    message = _termination_message(status)
    if not message and status.get("reason") in _LOST_POD:
        raise ProbeLostError(f"The probe was lost ({status['reason']}); it must run again.")
    # Whoever got in could write a message and kill the script: that one has not ended well.
    result = _read(pod, message if status["phase"] == "Succeeded" else "", simulated)
    if result.usable:
        return result
    detail = f"{result.attempts[0].detail}; pod {status.get('phase')}: {status.get('reason', message[:200])}"
    return replace(result, attempts=(_unusable(detail),))


def _read(pod: KubeObject, message: str, simulated: bool) -> ProbeResult:
    """What the script wrote: {"v", "at": [from, to], "attempts"}, in seconds since 1970 by the node's clock."""
    try:
        targets = json.loads(told_targets(pod))
        report = json.loads(message)
        if len(report["attempts"]) != len(targets):
            raise ValueError("another number of results than of targets")
        pairs = zip(targets, report["attempts"], strict=True)
        attempts = tuple(_attempt(target, line) for target, line in pairs)
        begin, end = (datetime.fromtimestamp(moment, UTC).isoformat() for moment in report["at"])
        simulated = simulated or report.get("simulated") is True
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        detail = f"no usable result ({error})"
        return ProbeResult(passed=False, simulated=simulated, attempts=(_unusable(detail),), usable=False)
    passed = _passed(attempts)
    return ProbeResult(passed, simulated, attempts, started_at=begin, finished_at=end)


def _report_in(log: str) -> str | None:
    """The script's line, which is the last thing it prints; None unless all of it is there."""
    found = [line for line in log.splitlines(keepends=True) if line.startswith(REPORT_MARK)]
    return found[-1].removeprefix(REPORT_MARK) if found and found[-1].endswith("\n") else None


def control_result(pod: KubeObject, log: str = "") -> Control | None:
    """What the control saw; None while it runs. ProbeLostError if it says nothing: another must run."""
    result = probe_result(pod, simulated=False, log=log)
    if result is None:
        return None
    if not result.usable:
        raise ProbeLostError(f"The control left {result.attempts[0].detail}.")
    answers = tuple(
        Answer(each.host, each.port, each.protocol, each.result == "open", each.milliseconds)
        for each in result.attempts
    )
    return Control(pod["metadata"]["name"], result.started_at, result.finished_at, answers)


def canary_state(pods: Sequence[KubeObject], workloads: Sequence[KubeObject], now: datetime) -> CanaryState:
    """Where the canary answers, or why it does not."""
    for pod in pods:
        conditions = pod.get("status", {}).get("conditions") or ()
        ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
        if ready and "deletionTimestamp" not in pod["metadata"]:
            return CanaryState(str(pod["status"]["podIP"]), "")
    problems = [*_creation_problems(workloads), *_pod_problems(pods, now)]
    return CanaryState("", problems[0][1] if problems else "it is starting")


def pod_trouble(pod: KubeObject, now: datetime) -> str:
    """Why a pod that does not run yet does not, "" if there is no reason but time."""
    return next((message for _, message in _pod_problems([pod], now)), "")


def _passed(attempts: Sequence[Attempt]) -> bool:
    """Everything that must be blocked is, and of each service that must be open at least one address is."""
    blocked = [attempt for attempt in attempts if attempt.expected == "blocked"]
    allowed = {attempt.target for attempt in attempts if attempt.expected == "open"} - OPTIONAL
    reached = {attempt.target for attempt in attempts if attempt.result == "open"}
    return (
        bool(blocked)
        and all(attempt.result == "blocked" for attempt in blocked)
        and bool(allowed)
        and allowed <= reached
    )


def _attempt(target: list[Any], line: list[Any]) -> Attempt:
    """`target` is [name, host, port, protocol, expected]; `line` is [result, milliseconds, detail]."""
    name, host, port, protocol, expected = target
    result, milliseconds, detail = line
    words = (
        (result, ("blocked", "open", "error")),
        (expected, ("blocked", "open")),
        (protocol, ("tcp", "udp")),
    )
    if any(word not in known for word, known in words):
        raise ValueError("an unknown word")
    return Attempt(
        target=str(name),
        host=str(host),
        port=int(port),
        expected=expected,
        result=result,
        milliseconds=int(milliseconds),
        detail=str(detail),
        protocol=protocol,
    )


def _unusable(detail: str) -> Attempt:
    return Attempt("probe", "", 0, "blocked", "error", 0, detail)


def _termination_message(status: dict[str, Any]) -> str:
    for container in status.get("containerStatuses") or ():
        message = container.get("state", {}).get("terminated", {}).get("message")
        if message:
            return str(message)
    return ""


def told_targets(pod: KubeObject) -> str:
    """What a probe or a control was told to try, as text. ValueError if nothing."""
    for container in pod["spec"]["containers"]:
        for variable in container.get("env") or ():
            if variable.get("name") == "PETRIDISH_PROBE_TARGETS":
                return str(variable["value"])
    raise ValueError("the pod names no targets")
