"""What is read of a sandbox to keep it as evidence: its network policies, and what its containers logged.

A container is told by its id, for a pod's container may be started anew: then the log of the one that
ended is kept by its node as the previous one, until the next takes its place. Frozen, the one that
was stopped is read in either way (kubelet, `validateContainerLogStatus`).

Everything is bounded, in bytes and in time: whoever may write into a log could write for ever, and a
node that is not there lets the server wait.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sandboxes.cluster.kinds import kind
from sandboxes.cluster.observe import moment_of
from sandboxes.cluster.spec import KubeObject
from sandboxes.cluster.tending import Tending

POLICIES: Final = 200  # network policies kept of a namespace
_STATUSES: Final = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
_POD: Final = kind("v1", "Pod")
_POLICY: Final = kind("networking.k8s.io/v1", "NetworkPolicy")
# The server sends the beginning of what was asked for, and the end is what says how it ended.
_LINES: Final = (20_000, 2_000, 200, 20)


@dataclass(frozen=True, slots=True)
class Container:
    """A container that logged something, or should have. `id` is "" for one that was never started."""

    pod: str
    pod_uid: str
    node: str
    name: str
    id: str
    previous: bool  # the one before that which there is now
    running: bool
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int | None = None
    reason: str = ""

    @property
    def key(self) -> str:
        """The same for the same container at every look."""
        return self.id or f"{self.pod_uid}/{self.name}"


@dataclass(frozen=True, slots=True)
class Log:
    """The end of a log, a time before each line. `cut_short`: there was more before it."""

    data: bytes
    cut_short: bool


class Keeping(Tending):
    """The part of `driver.Cluster` that this module holds."""

    def policies(self, namespace: str, *, seconds: float) -> tuple[list[KubeObject], bool]:
        """The network policies as they are, and whether there were more than are kept of any."""
        query = {"limit": str(POLICIES)}
        page = self._api.get(_POLICY.collection(namespace), query, seconds=seconds)
        return list(page.get("items") or ()), bool(page["metadata"].get("continue"))

    def containers(self, namespace: str) -> list[Container]:
        """Every container of the namespace's pods, those that ended before included."""
        return [each for pod in self._api.list(_POD, namespace) for each in containers_of(pod)]

    def logs(self, namespace: str, container: Container, *, most: int, seconds: float) -> Log:
        """The end of one container's log, at most so many bytes and within so many seconds for each try."""
        path, data, lines = _POD.path(namespace, container.pod), b"", 0
        for lines in _LINES:
            data = self._api.whole_log(
                path,
                container=container.name,
                previous=container.previous,
                lines=lines,
                most=most,
                seconds=seconds,
            )
            if len(data) < most:
                break
        return Log(data, cut_short=len(data) >= most or data.count(b"\n") >= lines)


def containers_of(pod: KubeObject) -> Iterator[Container]:
    """The containers that a pod's status knows of: for each the present one, and the one before it."""
    metadata, status = pod["metadata"], pod.get("status", {})
    node = str(pod["spec"].get("nodeName") or "")
    for entry in (entry for field in _STATUSES for entry in status.get(field) or ()):
        where = (str(metadata["name"]), str(metadata["uid"]), node, str(entry["name"]))
        state: dict[str, Any] = entry.get("state") or {}
        last = (entry.get("lastState") or {}).get("terminated")
        ended = state.get("terminated")
        if "running" in state:
            began = moment_of(state["running"].get("startedAt"))
            yield Container(*where, str(entry.get("containerID") or ""), False, True, began)
        elif ended and ended.get("containerID"):
            yield _ended(where, ended, previous=False)
        elif not last:
            reason = str((state.get("waiting") or ended or {}).get("reason") or "it was not started")
            yield Container(*where, "", False, False, reason=reason)
        if last:
            yield _ended(where, last, previous="running" in state or bool(ended and ended.get("containerID")))


def _ended(where: tuple[str, str, str, str], state: dict[str, Any], *, previous: bool) -> Container:
    return Container(
        *where,
        str(state.get("containerID") or ""),
        previous,
        False,
        moment_of(state.get("startedAt")),
        moment_of(state.get("finishedAt")),
        state.get("exitCode"),
        str(state.get("reason") or ""),
    )
