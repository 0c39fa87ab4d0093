"""Scheduler and node in one: pods get a place, become ready, finish, and are stopped.

Nothing runs. A pod waits a moment and is ready; one that is to end, ends. Two things
are decided for real, because lifecycles depend on them: whether the pod could start
(its Secrets and ConfigMaps exist, its image could be pulled, the node is large
enough), and what the probe would have found, by evaluating the namespace's network
policies for each of its targets and asking who would answer there. Images of a registry below ".invalid" (RFC 2606:
never resolves) cannot be pulled.
"""

import json
import re
import time
from ipaddress import ip_address
from typing import Any, Final

from sandboxes.cluster.quantities import parse_quantity
from sandboxes.cluster.simulator.liveness import answers
from sandboxes.cluster.simulator.objects import Objects, timestamp
from sandboxes.cluster.simulator.podspec import FINISHED, environment, references, requested
from sandboxes.cluster.simulator.policy import may_connect
from sandboxes.cluster.simulator.resources import CONFIG_MAPS, NETWORK_POLICIES, NODES, PODS, SECRETS
from sandboxes.cluster.simulator.store import Row

type Json = dict[str, Any]

PROBE_VARIABLE: Final = "PETRIDISH_PROBE_TARGETS"
# A reference as nodes read it: no capitals but in the tag (distribution/reference).
_IMAGE: Final = re.compile(r"[a-z0-9][a-z0-9._/:-]*?(:[\w][\w.-]{0,127})?(@sha256:[0-9a-f]{64})?")
_RETRY_SECONDS: Final = 0.5
_STOP_SECONDS: Final = 0.2


class Pods:
    """The pods of the cluster's only node."""

    def __init__(self, objects: Objects, *, ready_seconds: float) -> None:
        self._objects = objects
        self._ready_seconds = ready_seconds

    def reconcile(self, row: Row) -> float | None:
        """One pod, one step."""
        if row.deleted is not None:
            return self._stop(row)
        status, spec = row.data["status"], row.data["spec"]
        if status["phase"] in FINISHED:
            return None
        if not spec.get("nodeName"):
            return self._schedule(row)
        waiting = self._cannot_start(row)
        if waiting is not None:
            self._set(row, _waiting(row.data, *waiting))
            return _RETRY_SECONDS
        wait = row.created + self._ready_seconds - time.time()
        if wait > 0:
            return wait
        if spec["restartPolicy"] != "Always":
            self._set(row, self._finished(row))
        elif status["phase"] != "Running" or not _runs(status):
            self._set(row, _running(row.data, self._address()))
        return None

    def _stop(self, row: Row) -> float | None:
        grace = min(row.data["metadata"].get("deletionGracePeriodSeconds") or 0, _STOP_SECONDS)
        wait = (row.deleted or 0) + grace - time.time()
        if wait > 0:
            return wait
        self._objects.finish(row)
        return None

    def _schedule(self, row: Row) -> float | None:
        node = next(self._objects.store.rows(NODES))
        lacking = _lacking(row.data["spec"], node.data["status"]["allocatable"])
        if lacking:
            text = f"0/1 nodes are available: 1 Insufficient {', Insufficient '.join(lacking)}."
            condition = _condition("PodScheduled", "False", "Unschedulable", text)
            old = row.data["status"].get("conditions") or [{}]
            if old[0].get("message") != text:
                self._set(row, {"conditions": [condition]})
            return _RETRY_SECONDS
        self._objects.change(row, lambda pod: pod["spec"].update(nodeName=node.name))
        return None

    def _cannot_start(self, row: Row) -> tuple[str, str] | None:
        image = row.data["spec"]["containers"][0]["image"]
        if not _IMAGE.fullmatch(image):
            return "InvalidImageName", f'couldn\'t parse image name "{image}": invalid reference format'
        if image.partition("/")[0].endswith(".invalid"):
            first = time.time() < row.created + 2 * self._ready_seconds
            reason = "ErrImagePull" if first else "ImagePullBackOff"
            return reason, f'failed to pull image "{image}": no such host'
        for plural, name in references(row.data["spec"]):
            resource = SECRETS if plural == "secrets" else CONFIG_MAPS
            if self._objects.store.get(resource, row.namespace, name) is None:
                return "CreateContainerConfigError", f'{resource.kind.lower()} "{name}" not found'
        return None

    def _finished(self, row: Row) -> Json:
        targets = environment(row.data["spec"]).get(PROBE_VARIABLE)
        message = self._probe(row, targets) if targets is not None else ""
        ended = {"exitCode": 0, "reason": "Completed", "message": message, "finishedAt": timestamp()}
        return {
            **_containers(row.data, {"terminated": ended}, ready=False),
            "phase": "Succeeded",
            "podIP": self._address(),
            "conditions": _conditions("PodCompleted", ready=False),
        }

    def _probe(self, row: Row, text: str) -> str:
        """What the probe's script would write, in the sandbox's pod or in the control's: nothing is sent."""
        policies = [item.data for item in self._objects.store.rows(NETWORK_POLICIES, row.namespace)]
        labels = row.data["metadata"].get("labels") or {}
        attempts, began = [], row.created + self._ready_seconds
        for _, host, port, protocol, _ in json.loads(text):
            try:
                ip_address(host)
            except ValueError:
                attempts.append(["error", 0, "no such name"])
                continue
            if not may_connect(policies, labels, host, port, protocol):
                attempts.append(["blocked", 600, "by policy"])
            elif answers(self._objects, host, port, protocol):
                attempts.append(["open", 1, "by policy"])
            else:
                attempts.append(["blocked", 600, "nobody is there"])
        report = {"v": 2, "simulated": True, "at": [began, time.time()], "attempts": attempts}
        return json.dumps(report, separators=(",", ":"))

    def _address(self) -> str:
        number = self._objects.store.version
        return f"10.244.{number // 250 % 250 + 1}.{number % 250 + 1}"

    def _set(self, row: Row, fields: Json) -> None:
        self._objects.change_status(PODS, row.namespace, row.name, lambda status: status.update(fields))


def _lacking(spec: Json, allocatable: Json) -> list[str]:
    """Resources of which even an empty node has too little."""
    known = {name for c in spec["containers"] for name in (c["resources"].get("requests") or {})}
    return sorted(
        name
        for name in known
        if requested(spec, "requests", name) > parse_quantity(allocatable.get(name, "0"))
    )


def _waiting(pod: Json, reason: str, message: str) -> Json:
    state = {"waiting": {"reason": reason, "message": message}}
    return {
        **_containers(pod, state, ready=False),
        "conditions": _known(pod, _conditions(reason, ready=False)),
    }


def _running(pod: Json, address: str) -> Json:
    return {
        **_containers(pod, {"running": {"startedAt": timestamp()}}, ready=True),
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": timestamp(),
        "conditions": _conditions("", ready=True),
    }


def _containers(pod: Json, state: Json, *, ready: bool) -> Json:
    before = {entry["name"]: entry for entry in pod["status"].get("containerStatuses") or ()}
    statuses = [
        {
            **_instance(pod, c["name"], before.get(c["name"]) or {}, state),
            "name": c["name"],
            "image": c["image"],
            "ready": ready,
            "started": ready,
        }
        for c in pod["spec"]["containers"]
    ]
    return {"containerStatuses": statuses}


def _instance(pod: Json, name: str, old: Json, state: Json) -> Json:
    """Which start of the container this is: one that ran and does not is remembered as the last."""
    count, last, known = old.get("restartCount", 0), old.get("lastState") or {}, old.get("containerID")
    was = old.get("state", {}).get("running")
    if was and "waiting" in state:
        killed = {"exitCode": 137, "reason": "Error", "startedAt": was["startedAt"]}
        last = {"terminated": {**killed, "finishedAt": timestamp(), "containerID": known}}
    if "waiting" not in state:
        if known and not was:  # it is started anew
            count += 1
        known = f"simulated://{pod['metadata']['uid']}-{name}-{count}"
    if "terminated" in state:
        state = {"terminated": {**state["terminated"], "containerID": known}}
    found = {"restartCount": count, "state": state, "lastState": last}
    return {**found, "containerID": known} if known else found


def _runs(status: Json) -> bool:
    return all("running" in entry["state"] for entry in status.get("containerStatuses") or ())


def _conditions(reason: str, *, ready: bool) -> list[Json]:
    said = [_condition(kind, str(ready), reason, "") for kind in ("Ready", "ContainersReady")]
    return [_condition("PodScheduled", "True", "", ""), *said]


def _known(pod: Json, conditions: list[Json]) -> list[Json]:
    """The old conditions if nothing but their time differs."""
    old = pod["status"].get("conditions") or []
    same = [_timeless(item) for item in old] == [_timeless(item) for item in conditions]
    return old if same else conditions


def _timeless(condition: Json) -> Json:
    return {key: value for key, value in condition.items() if key != "lastTransitionTime"}


def _condition(kind: str, status: str, reason: str, message: str) -> Json:
    fields = {"type": kind, "status": status, "reason": reason, "message": message}
    return {**fields, "lastTransitionTime": timestamp()}
