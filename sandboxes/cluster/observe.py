"""What the cluster's objects mean: pure functions from plain data to our words."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sandboxes.cluster.spec import (
    Attempt,
    KubeObject,
    NamespaceState,
    ProbeResult,
    WorkspaceState,
)
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
    workloads: Sequence[KubeObject], pods: Sequence[KubeObject], now: datetime
) -> WorkspaceState:
    """Ready, failed or still coming up, and why."""
    if not workloads:
        return WorkspaceState(ready=False, failed=False, message="There is no workspace yet.")
    if all(_is_ready(workload) for workload in workloads):
        return WorkspaceState(ready=True, failed=False, message="The workspace is ready.")
    problems = [*_creation_problems(workloads), *_pod_problems(pods, now)]
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
    """Pods that could not even be created: (fatal, message)."""
    for workload in workloads:
        for condition in workload.get("status", {}).get("conditions") or ():
            if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
                message = str(condition.get("message", ""))
                fatal = _PASSING_CREATE not in message and any(word in message for word in _FATAL_CREATE)
                yield fatal, f"The pod cannot be created: {message}"


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


def probe_result(pod: KubeObject, simulated: bool) -> ProbeResult | None:
    """None while the probe runs. Whatever cannot be read counts as failed.

    The pod's message is checked against the targets in the pod's own
    specification, which nobody in the sandbox can change.
    """
    status = pod.get("status", {})
    if status.get("phase") not in ("Succeeded", "Failed"):
        return None
    message = _termination_message(status)
    if not message and status.get("reason") in _LOST_POD:
        raise ClusterUnavailableError(f"The probe was lost ({status['reason']}); it must run again.")
    try:
        targets = json.loads(_probe_targets(pod))
        report = json.loads(message)
        if len(report["attempts"]) != len(targets):
            raise ValueError("another number of results than of targets")
        pairs = zip(targets, report["attempts"], strict=True)
        attempts = tuple(_attempt(target, line) for target, line in pairs)
        simulated = simulated or report.get("simulated") is True
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        detail = (
            f"no usable result ({error}); pod {status.get('phase')}: {status.get('reason', message[:200])}"
        )
        return ProbeResult(passed=False, simulated=simulated, attempts=(_unusable(detail),))
    return ProbeResult(passed=_passed(attempts), simulated=simulated, attempts=attempts)


def _passed(attempts: Sequence[Attempt]) -> bool:
    """Everything that must be blocked is, and at least one way to the index is open."""
    blocked = [attempt for attempt in attempts if attempt.expected == "blocked"]
    allowed = [attempt for attempt in attempts if attempt.expected == "open"]
    return (
        bool(blocked)
        and all(attempt.result == "blocked" for attempt in blocked)
        and any(attempt.result == "open" for attempt in allowed)
    )


def _attempt(target: dict[str, Any], line: list[Any]) -> Attempt:
    result, milliseconds, detail = line
    if result not in ("blocked", "open", "error") or target["expected"] not in ("blocked", "open"):
        raise ValueError("an unknown word")
    return Attempt(
        target=str(target["name"]),
        host=str(target["host"]),
        port=int(target["port"]),
        expected=target["expected"],
        result=result,
        milliseconds=int(milliseconds),
        detail=str(detail),
    )


def _unusable(detail: str) -> Attempt:
    return Attempt("probe", "", 0, "blocked", "error", 0, detail)


def _termination_message(status: dict[str, Any]) -> str:
    for container in status.get("containerStatuses") or ():
        message = container.get("state", {}).get("terminated", {}).get("message")
        if message:
            return str(message)
    return ""


def _probe_targets(pod: KubeObject) -> str:
    for container in pod["spec"]["containers"]:
        for variable in container.get("env") or ():
            if variable.get("name") == "PETRIDISH_PROBE_TARGETS":
                return str(variable["value"])
    raise ValueError("the pod names no targets")
