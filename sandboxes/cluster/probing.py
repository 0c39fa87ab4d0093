"""What the driver does to prove a seal: targets, the probe, and the canary with its control.

The canary is a namespace of ours that is no sandbox: a pod there answers, so that
there is always a live neighbour, and the control runs there now and then: the same
script as the probe's, from a pod that no policy restricts.
"""

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, Final

from sandboxes.cluster import counting, targets
from sandboxes.cluster.api import Api, StatusRefusedError
from sandboxes.cluster.kinds import KINDS, NAMESPACE, kind
from sandboxes.cluster.names import PROBE_POD
from sandboxes.cluster.observe import (
    ProbeLostError,
    canary_state,
    control_result,
    namespace_state,
    pod_trouble,
    probe_result,
    told_targets,
)
from sandboxes.cluster.spec import (
    CanaryState,
    ClusterInfo,
    Control,
    DnsAddress,
    KubeObject,
    Labels,
    ProbeResult,
    Target,
)
from sandboxes.errors import ClusterRefusedError, ClusterUnavailableError

_POD: Final = kind("v1", "Pod")
_DEPLOYMENT: Final = kind("apps/v1", "Deployment")
_PROBES: Final = f"{Labels.SANDBOX},{Labels.STAGE}=probe"
_CANARIES: Final = f"{Labels.STAGE}=canary"
_LOG_LINES: Final = 5
_DEAF_SECONDS: Final = 60.0


class Probing(ABC):
    """The part of `driver.Cluster` that this module holds."""

    name: str
    _api: Api
    _simulated: bool | None
    _deaf_until: float = 0.0

    @abstractmethod
    def info(self) -> ClusterInfo:
        """See `driver.Cluster`."""

    # ---- what is tried

    def default_blocked_targets(self) -> tuple[Target, ...]:
        """What of this cluster no sandbox may reach. See `targets.blocked_targets`."""
        return targets.blocked_targets(self._api, self.name)

    def dns_addresses(self) -> tuple[DnsAddress, ...]:
        """The cluster's DNS, as a network policy has to name it; () if there is none."""
        return targets.dns_addresses(self._api)

    def closed_ranges(self) -> tuple[str, ...]:
        """Addresses of the cluster itself, as blocks: no egress exception may touch them."""
        return targets.closed_ranges(self._api)

    # ---- the probe

    def start_probe(self, objects: Iterable[KubeObject]) -> None:
        """Start the probe. One of an older specification or run is removed first (TemporaryError while it goes)."""
        for item in objects:
            path = _path(item)
            old = self._api.find(path)
            if old is not None and _is_outdated(old, item):
                options = {"preconditions": {"uid": old["metadata"]["uid"]}, "gracePeriodSeconds": 0}
                self._api.delete(path, options)
                if self._api.find(path) is not None:
                    raise ClusterUnavailableError("An older probe is still going away.", retry_after=0.5)
            self._start(path, item)

    def _start(self, path: str, pod: KubeObject) -> None:
        """TemporaryError while the quota still counts a pod that is gone: then a refusal says nothing."""
        try:
            self._api.apply(path, pod)
        except StatusRefusedError as error:
            if error.status == 403 and counting.is_behind(self._api, pod["metadata"]["namespace"]):
                raise ClusterUnavailableError(
                    "The quota still counts a pod that is gone.", retry_after=1
                ) from error
            raise

    def probe(
        self,
        namespace: str,
        run: str | None = None,
        wanted: Callable[[], Iterable[KubeObject]] | None = None,
    ) -> ProbeResult | None:
        """The probe's result, None while it runs. ProbeLostError if its pod is gone.

        `run` is the run that is meant: what another left behind is no result. `wanted` renders
        the probe as it should be, once there is a result: nothing is proven by one that was not
        told to try all that must be blocked. The pod is read by its name, of which there is only
        one: labels can be put on any pod.
        """
        pod = self._api.find(_POD.path(namespace, PROBE_POD))
        if pod is None or not _is_run(pod, run):
            raise ProbeLostError(f"There is no probe in {namespace}; it must be started again.")
        if self._simulated is None:
            self.info()
        simulated = bool(self._simulated)
        result = probe_result(pod, simulated) or probe_result(pod, simulated, self._log(pod))
        if result is None or wanted is None or _leaks(result):  # a leak is one wherever it leads
            return result
        if not set().union(*map(_blocked, wanted())) <= _blocked(pod):
            raise ProbeLostError(f"The probe in {namespace} tried other targets; it must be started again.")
        return result

    def _log(self, pod: KubeObject) -> str:
        """What a pod has printed, "" if that cannot be had: it is in the pod's message later, as well."""
        if "nodeName" not in pod["spec"] or time.monotonic() < self._deaf_until:
            return ""
        metadata, container = pod["metadata"], pod["spec"]["containers"][0]["name"]
        path = _POD.path(metadata["namespace"], metadata["name"])
        try:
            return self._api.log(path, container=container, lines=_LOG_LINES)
        except StatusRefusedError:  # not started yet, or we may not read logs here
            return ""
        except ClusterUnavailableError:  # the API server does not reach the node: not asked again soon
            self._deaf_until = time.monotonic() + _DEAF_SECONDS
            return ""

    def delete_probe(self, namespace: str) -> None:
        """Remove the probe's pod; its result should have been stored before."""
        self._api.delete(_POD.collection(namespace), {"gracePeriodSeconds": 0}, selector=_PROBES)

    # ---- the canary

    def make_canary(self, objects: Iterable[KubeObject]) -> None:
        """Make the canary, or bring it up to date. ClusterRefusedError if that namespace is another's."""
        for item in objects:
            if item["kind"] == "Namespace":
                self._ensure_canary_namespace(item)
            else:
                self._api.apply(_path(item), item)

    def canary(self, namespace: str, spec_hash: str) -> CanaryState:
        """Where the canary of this specification answers, or why it does not."""
        selector = f"{_CANARIES},{Labels.SPEC_HASH}={spec_hash}"
        state = canary_state(list(self._api.list(_POD, namespace, selector)), (), self._api.now())
        if state.address:
            return state
        workloads = list(self._api.list(_DEPLOYMENT, namespace, selector))
        if not workloads:
            return CanaryState("", "it is not there")
        pods = list(self._api.list(_POD, namespace, selector))
        return canary_state(pods, workloads, self._api.now())

    def start_control(self, pod: KubeObject) -> None:
        """Start this run of the control; a second time changes nothing."""
        self._api.apply(_path(pod), pod)

    def control(self, namespace: str, name: str) -> Control | None:
        """What that run of the control saw, None while it runs. ProbeLostError if it has to be started (again)."""
        pod = self._api.find(_POD.path(namespace, name))
        if pod is None:
            raise ProbeLostError(f"There is no control {name} in {namespace}.")
        result = control_result(pod) or control_result(pod, self._log(pod))
        if result is None and (trouble := pod_trouble(pod, self._api.now())):
            raise ClusterUnavailableError(f"The canary's control does not start: {trouble}")
        return result

    def delete_controls(self, namespace: str, *, keep: str) -> None:
        """Remove every run of the control but that one: what they saw was stored, or nobody waits for it."""
        selector = f"{Labels.CANARY},{Labels.STAGE}=control,{Labels.RUN}!={keep}"
        self._api.delete(_POD.collection(namespace), {"gracePeriodSeconds": 0}, selector=selector)

    def delete_canary(self, namespace: str) -> None:
        """Take the canary down, and the namespace with it; only ever one of ours."""
        found = self._api.find(NAMESPACE.path(None, namespace))
        if found is None:
            return
        if (found["metadata"].get("labels") or {}).get(Labels.CANARY) != "true":
            raise ClusterRefusedError(f"Namespace {namespace} is no canary: it lacks our label.")
        self._api.delete(
            NAMESPACE.path(None, namespace), {"preconditions": {"uid": found["metadata"]["uid"]}}
        )

    def _ensure_canary_namespace(self, item: KubeObject) -> None:
        """Created, not applied, so that the server decides who was first; another's is never adopted."""
        try:
            self._api.create(NAMESPACE.collection(), item)
        except StatusRefusedError as error:
            if error.status != 409:
                raise
        else:
            return
        name = item["metadata"]["name"]
        found = self._api.find(NAMESPACE.path(None, name))
        if found is None:
            raise ClusterUnavailableError("The canary's namespace just went away.", retry_after=1)
        state = namespace_state(found)
        for label in (Labels.CANARY, Labels.INSTALLATION):
            if state.labels.get(label) != item["metadata"]["labels"][label]:
                raise ClusterRefusedError(f"Namespace {name} exists and is not our canary's ({label}).")
        if state.phase == "Terminating":
            raise ClusterUnavailableError(f"Namespace {name} is still being deleted.", retry_after=2)
        own = {**item, "metadata": {**item["metadata"], "uid": state.uid}}
        self._api.apply(NAMESPACE.path(None, name), own)


def _path(item: KubeObject) -> str:
    metadata = item["metadata"]
    return KINDS[item["apiVersion"], item["kind"]].path(metadata.get("namespace"), metadata["name"])


def _is_outdated(old: KubeObject, new: KubeObject) -> bool:
    """A pod being deleted, or one of another specification or run (a pod cannot be changed).

    Its targets are compared too: whoever made it may have copied the labels.
    """
    marks = [
        [*(item["metadata"].get("labels", {}).get(label) for label in (Labels.SPEC_HASH, Labels.RUN)), told]
        for item in (old, new)
        for told in (_targets(item),)
    ]
    return "deletionTimestamp" in old["metadata"] or marks[0] != marks[1]


def _is_run(pod: KubeObject, run: str | None) -> bool:
    """Whether a pod is that run of the probe, any run if None."""
    labels = pod["metadata"].get("labels") or {}
    return labels.get(Labels.STAGE) == "probe" and run in (None, labels.get(Labels.RUN))


def _targets(item: KubeObject) -> str:
    """What it was told to try, "" if it is no probe."""
    try:
        return told_targets(item)
    except (ValueError, KeyError):
        return ""


def _blocked(item: KubeObject) -> set[tuple[Any, ...]]:
    """What it was told must be blocked: address, port and protocol. Names of services may have others by now."""
    try:
        lines = json.loads(told_targets(item))
        return {
            (host, port, protocol) for _, host, port, protocol, expected in lines if expected == "blocked"
        }
    except (ValueError, KeyError, TypeError):
        return set()


def _leaks(result: ProbeResult) -> bool:
    return any(attempt.expected == "blocked" and attempt.result == "open" for attempt in result.attempts)
