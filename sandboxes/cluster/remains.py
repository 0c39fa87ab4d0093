"""What a sandbox holds, what keeps it from going, and what is left of it: the driver's eyes during a teardown.

Everything here only looks. A name says little once something is gone, because
somebody else may take it the next moment; so whatever is seen is told by uid.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandboxes.cluster.kinds import NAMESPACE, NAMESPACED, NODE, PERSISTENT_VOLUME, kind
from sandboxes.cluster.observe import namespace_state
from sandboxes.cluster.spec import KubeObject, Labels

if TYPE_CHECKING:  # the client takes a second to import, and receipts are also read by the web process
    from sandboxes.cluster.api import Api

_POD: Final = kind("v1", "Pod")
_CLAIM: Final = kind("v1", "PersistentVolumeClaim")
_NAMED: Final = 5  # so many that hold it up are named, the rest is counted


@dataclass(frozen=True, slots=True)
class Existing:
    """One object, as a listing showed it. `ours`: it carries our label. `finalizers` keep it from going."""

    kind: str
    name: str
    uid: str
    ours: bool = False
    leaving: bool = False
    finalizers: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


class Remains:
    """The part of `driver.Cluster` that this module holds."""

    _api: "Api"

    def inventory(self, namespace: str) -> list[Existing]:
        """Every object in the namespace, and the volumes bound to its claims; [] if it is not there."""
        return [*self._contents(namespace), *self._bound_volumes(namespace)]

    def objects(self, namespace: str, kinds: Collection[str]) -> list[Existing]:
        """Every object of these kinds in the namespace: a request for each kind, where an inventory takes many."""
        return list(self._contents(namespace, kinds))

    def _contents(self, namespace: str, kinds: Collection[str] | None = None) -> Iterator[Existing]:
        for (_, name), where in NAMESPACED.items():
            if kinds is None or name in kinds:
                for item in self._api.list(where, namespace, partial=True):
                    yield _existing(name, item)

    def _bound_volumes(self, namespace: str) -> Iterator[Existing]:
        """A volume outlives the namespace of its claim, so it is written down while the claim still names it."""
        for claim in self._api.list(_CLAIM, namespace):
            volume = claim.get("spec", {}).get("volumeName")
            found = self._api.find(PERSISTENT_VOLUME.path(None, volume)) if volume else None
            if found is not None:
                yield _existing("PersistentVolume", found)

    def blockers(self, namespace: str) -> list[str]:
        """What keeps this namespace from going, in sentences that a person can act on; [] if nothing shows.

        Pods with their finalizers or their node that does not answer, the namespace's
        own conditions and finalizers, then each other object that a finalizer holds.
        """
        pods = list(self._api.list(_POD, namespace))
        found = self._api.find(NAMESPACE.path(None, namespace))
        said = [*_some(pod_blocker(pod, self._node(pod)) for pod in pods)]
        if found is not None and found["metadata"].get("deletionTimestamp"):
            said += namespace_state(found).conditions
        if found is not None:
            said += [_held("The namespace itself", found)] if found["metadata"].get("finalizers") else []
        held = (item for item in self._contents(namespace) if item.kind != "Pod" and item.finalizers)
        return [*said, *_some(f"{item} is held by {_finalizers(item.finalizers)}" for item in held)]

    def _node(self, pod: KubeObject) -> KubeObject | None:
        name = pod.get("spec", {}).get("nodeName")
        return self._api.find(NODE.path(None, name)) if name else None

    def leftovers(
        self,
        namespace: str,
        installation_id: str,
        sandbox_id: int,
        *,
        uid: str = "",
        known: frozenset[str] = frozenset(),
    ) -> list[str]:
        """What of a deleted sandbox is still there, as "Kind/name"; [] means clean.

        `uid` is its namespace's, `known` are those of all that it held: with them, a
        namespace that somebody else has made since under the same name is not
        mistaken for a leftover. Templates may hold no other cluster-scoped kind, so
        namespaces and volumes are all that can be left.
        """
        selector = f"{Labels.INSTALLATION}={installation_id},{Labels.SANDBOX}={sandbox_id}"
        labelled = self._api.list(NAMESPACE, selector=selector, partial=True)
        found = {f"Namespace/{item['metadata']['name']}" for item in labelled}
        there = self._api.find(NAMESPACE.path(None, namespace))
        anothers = there is not None and bool(uid) and there["metadata"]["uid"] != uid
        if there is not None and not anothers:
            found.add(f"Namespace/{namespace}")
        for item in self._api.list(PERSISTENT_VOLUME):
            labels = item["metadata"].get("labels") or {}
            claim = item.get("spec", {}).get("claimRef") or {}
            labels_ours = (labels.get(Labels.INSTALLATION), labels.get(Labels.SANDBOX))
            if (
                labels_ours == (installation_id, str(sandbox_id))
                or known & {item["metadata"]["uid"], claim.get("uid")}
                or (claim.get("namespace") == namespace and not anothers)
            ):
                found.add(f"PersistentVolume/{item['metadata']['name']}")
        return sorted(found)


def pod_blocker(pod: KubeObject, node: KubeObject | None) -> str:
    """Why this pod is still there: a finalizer, its node, or nothing that shows."""
    metadata, where = pod["metadata"], pod.get("spec", {}).get("nodeName")
    name = f"Pod {metadata['name']}"
    if metadata.get("finalizers"):
        return _held(name, pod)
    if where and node is None:
        return f"{name} waits for node {where}, which is gone"
    if node is not None and (silence := _silence(node)):
        return f"{name} waits for node {where}, which does not respond ({silence})"
    if "deletionTimestamp" not in metadata:
        return f"{name} was started again and again, or refuses to be deleted"
    return f"{name} is still being stopped on node {where}" if where else f"{name} is still being deleted"


def _silence(node: KubeObject) -> str:
    """What the node's Ready condition says if it is not ready; empty if it is."""
    for condition in node.get("status", {}).get("conditions") or ():
        if condition.get("type") == "Ready" and condition.get("status") != "True":
            return str(condition.get("message") or condition.get("reason") or "not ready")
    return ""


def _existing(kind_name: str, item: KubeObject) -> Existing:
    metadata = item["metadata"]
    return Existing(
        kind=kind_name,
        name=str(metadata["name"]),
        uid=str(metadata["uid"]),
        ours=Labels.SANDBOX in (metadata.get("labels") or {}),
        leaving="deletionTimestamp" in metadata,
        finalizers=tuple(metadata.get("finalizers") or ()),
    )


def _held(what: str, item: KubeObject) -> str:
    return f"{what} is held by {_finalizers(item['metadata']['finalizers'])}"


def _finalizers(names: Iterable[str]) -> str:
    found = list(names)
    return f"finalizer{'s' if len(found) > 1 else ''} {', '.join(found)}"


def _some(sentences: Iterable[str]) -> Iterator[str]:
    """The first few, then how many more there are."""
    more = 0
    for number, sentence in enumerate(sentences):
        if number < _NAMED:
            yield sentence
        else:
            more += 1
    if more:
        yield f"and {more} more"
