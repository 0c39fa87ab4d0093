"""Stopping everything in a namespace's pods without losing what they wrote.

Taking the network policies away is not enough to cut a sandbox off. Both were tried
on a real cluster (Kubernetes 1.36, kube-router): a TCP connection that was open goes
on when the policy that allowed it is gone, because plugins judge new connections
only, and an open `kubectl exec` goes on when the binding that allowed it is gone,
because the API server asks once. Deleting the pod would end both, and with the pod
its emptyDir: the evidence.

So the pods are *frozen*: the image of every container, one of the few fields of a
pod that may change, becomes a name that no image can have. The node then stops the
container, and with it all its processes, shells and connections, and cannot start
another; the pod stays where it is, and so do the files in its volumes, down to the
next look. Nothing is pulled for it: the name is refused by the node itself. Thawing
takes the mark away again, and the container starts anew in the same pod, with the
same files. The mark stands at the end and holds no slash, so a rule that says which
registries images may come from judges the frozen name as it did the real one.

What is lost is the memory of the processes. What is kept is the pod, its volumes, and
the logs of the containers that ran, which `keeping` reads. An ephemeral container
that a cluster's admin attached cannot be frozen this way: it is named as still running.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from sandboxes.cluster.api import StatusRefusedError
from sandboxes.cluster.kinds import kind
from sandboxes.cluster.spec import KubeObject, Labels
from sandboxes.cluster.tending import Tending

MARK: Final = "#ISOLATED-BY-PETRIDISH"  # no image's name may hold a number sign
_LISTS: Final = ("initContainers", "containers")
_STATUSES: Final = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
_OVER: Final = ("Succeeded", "Failed")
_POD: Final = kind("v1", "Pod")
_POLICY: Final = kind("networking.k8s.io/v1", "NetworkPolicy")
# With the label that makes one a way in: anybody's binding is, but only our own secrets are.
_ACCESS: Final = (
    ("RoleBinding", kind("rbac.authorization.k8s.io/v1", "RoleBinding"), None),
    ("Secret", kind("v1", "Secret"), Labels.SANDBOX),
)


class Freezing(Tending):
    """The part of `driver.Cluster` that this module holds."""

    def freeze(self, namespace: str) -> list[str]:
        """Freeze every pod there; what still runs, as "Pod/NAME: CONTAINER": [] once the nodes say that none does."""
        if self._ours(namespace) is None:
            return []
        pods = list(self._api.list(_POD, namespace))
        for pod in pods:
            self._change(namespace, pod, freezing(pod))
        return [running for pod in pods for running in still_running(pod)]

    def thaw(self, namespace: str) -> bool:
        """Let every frozen pod start again; True once none is held back by its node any more."""
        if self._ours(namespace) is None:
            return True
        pods = list(self._api.list(_POD, namespace))
        changed = [self._change(namespace, pod, thawing(pod)) for pod in pods]
        return not any(changed) and not any(still_frozen(pod) for pod in pods)

    def ways_in(self, namespace: str, keep: frozenset[str]) -> list[str]:
        """What lets anybody in or out, as "Kind/name": bindings, our secrets, policies other than `keep`.

        A policy of `keep` that is not there is named too: without it everything is open.
        """
        policies = {_name(item) for item in self._api.list(_POLICY, namespace, partial=True)}
        access = [
            f"{what}/{_name(item)}"
            for what, where, label in _ACCESS
            for item in self._api.list(where, namespace, label, partial=True)
        ]
        missing = [f"no NetworkPolicy/{name}" for name in sorted(keep - policies)]
        return [*missing, *(f"NetworkPolicy/{name}" for name in sorted(policies - keep)), *access]

    def _change(self, namespace: str, pod: KubeObject, patch: KubeObject | None) -> bool:
        if patch is None:
            return False
        try:
            self._api.merge(_POD.path(namespace, _name(pod)), patch)
        except StatusRefusedError as error:
            if error.status not in (404, 409):  # gone, or another pod by now: the next look sees it
                raise
        return True


def freezing(pod: KubeObject) -> KubeObject | None:
    """The merge patch that freezes this pod; None if it is frozen, over or going already."""
    if pod.get("status", {}).get("phase") in _OVER or "deletionTimestamp" in pod["metadata"]:
        return None
    return _with_images(pod, lambda image: image if image.endswith(MARK) else image + MARK)


def thawing(pod: KubeObject) -> KubeObject | None:
    """The merge patch that lets this pod's containers start again; None if it is not frozen."""
    return _with_images(pod, lambda image: image.removesuffix(MARK))


def still_running(pod: KubeObject) -> list[str]:
    """Its containers that run, as "Pod/NAME: CONTAINER"; a pod whose state nobody reported counts as running."""
    name = pod["metadata"]["name"]
    status: dict[str, Any] = pod.get("status", {})
    if status.get("phase") in _OVER:
        return []
    reported = [entry for field in _STATUSES for entry in status.get(field) or ()]
    running = [f"Pod/{name}: {entry['name']}" for entry in reported if "running" in entry.get("state", {})]
    if not reported and pod["spec"].get("nodeName"):
        return [f"Pod/{name}: on its way"]
    return running


def still_frozen(pod: KubeObject) -> bool:
    """Whether the node has yet to notice that the pod was thawed."""
    waiting = (entry.get("state", {}).get("waiting") or {} for entry in _container_statuses(pod))
    return any(MARK in f"{reason.get('reason')} {reason.get('message')}" for reason in waiting)


def _name(item: KubeObject) -> str:
    return str(item["metadata"]["name"])


def _container_statuses(pod: KubeObject) -> Iterator[dict[str, Any]]:
    yield from pod.get("status", {}).get("containerStatuses") or ()


def _with_images(pod: KubeObject, change: Callable[[str], str]) -> KubeObject | None:
    """A merge patch replaces lists whole: the same containers, the image changed. The uid is a precondition."""
    spec: dict[str, Any] = {}
    for field in _LISTS:
        old = pod["spec"].get(field) or []
        new = [{**container, "image": change(container["image"])} for container in old]
        if new != old:
            spec[field] = new
    return {"metadata": {"uid": pod["metadata"]["uid"]}, "spec": spec} if spec else None
