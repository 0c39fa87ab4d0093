"""What the driver does to a sandbox that exists already: scale, watch idle, cut off, clean up.

As in the driver, every method may be called twice, and every one that takes
something away looks at the labels (and the UID) of the namespace first.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sandboxes.cluster.api import Api, StatusRefusedError
from sandboxes.cluster.isolated import Whose, policy_names, render_isolated
from sandboxes.cluster.kinds import KINDS, NAMESPACE, PERSISTENT_VOLUME, kind
from sandboxes.cluster.observe import namespace_state
from sandboxes.cluster.spec import KubeObject, Labels, NamespaceState
from sandboxes.cluster.templates import Document
from sandboxes.errors import ClusterRefusedError

QUARANTINED: Final = "petridish.dev/quarantined"
NAME_PREFIX: Final = "sbx-"  # of every sandbox's namespace: see `names`

_ACTIVITY_MARK: Final = "petridish-activity"
_LOG_LINES: Final = 200

_DEPLOYMENT: Final = kind("apps/v1", "Deployment")
_STATEFUL_SET: Final = kind("apps/v1", "StatefulSet")
_POD: Final = kind("v1", "Pod")
_SECRET: Final = kind("v1", "Secret")
_POLICY: Final = kind("networking.k8s.io/v1", "NetworkPolicy")
_ROLE_BINDING: Final = kind("rbac.authorization.k8s.io/v1", "RoleBinding")


@dataclass(frozen=True, slots=True)
class Activity:
    """How busy a workspace was at its last report.

    `cpu_millis` are thousandths of a core, averaged over the time since the report before.
    """

    at: datetime
    processes: int
    cpu_millis: float


@dataclass(frozen=True, slots=True)
class Volume:
    """A persistent volume that belongs, or belonged, to a sandbox.

    `namespace` is that of the claim ("" for none), `sandbox_label` our own label's value ("" for none).
    """

    name: str
    uid: str
    namespace: str
    sandbox_label: str


class Tending:
    """The part of `driver.Cluster` that this module holds."""

    name: str
    _api: Api

    @property
    def api(self) -> Api:
        """The plain requests, for the other modules of this package."""
        return self._api

    def uid(self) -> str:
        """What this cluster is, whatever it is called: the UID of kube-system, which lives as long as it does.

        Asked for as a list of one: a look at a cluster is made of nothing but paged lists.
        """
        only = {"fieldSelector": "metadata.name=kube-system", "limit": "1"}
        found = self._api.get(NAMESPACE.collection(), only).get("items") or ()
        if not found:
            raise ClusterRefusedError(f"Cluster {self.name} has no namespace kube-system.")
        return str(found[0]["metadata"]["uid"])

    # ---- hibernation

    def scale_workspace(self, namespace: str, replicas: int) -> None:
        """Set the number of pods of everything that is the workspace; zero puts it to sleep."""
        if self._ours(namespace) is None:
            return
        for workload in (_DEPLOYMENT, _STATEFUL_SET):
            for item in self._api.list(workload, namespace, _stage("workspace")):
                if item["spec"].get("replicas", 1) != replicas:
                    own = {"metadata": {"uid": item["metadata"]["uid"]}, "spec": {"replicas": replicas}}
                    self._api.merge(workload.path(namespace, item["metadata"]["name"]), own)

    def workspace_activity(self, namespace: str) -> Activity | None:
        """What the workspace last said of itself; None when that is unknown.

        It writes `petridish-activity EPOCH PROCESSES CPU_USEC` into its log now and then
        (CPU time counted since its start, in microseconds). It takes two lines to tell how
        busy it is. Its owner could write such lines too, and would gain nothing by it but
        a sandbox that stays awake.
        """
        pods = [pod for pod in self._api.list(_POD, namespace, _stage("workspace")) if _runs(pod)]
        if not pods:
            return None
        pod = max(pods, key=lambda each: str(each["metadata"].get("creationTimestamp", "")))
        path = _POD.path(namespace, pod["metadata"]["name"])
        try:
            container = pod["spec"]["containers"][0]["name"]
            text = self._api.log(path, container=container, lines=_LOG_LINES)
        except StatusRefusedError as error:
            if error.status in (400, 404):  # not started yet, or gone since
                return None
            raise
        return activity(text)

    # ---- cutting off

    def remove_policy(self, namespace: str, name: str, sandbox_id: int) -> bool:
        """Delete this network policy of this sandbox, by its UID; True once it is seen gone.

        One of that name without the sandbox's label is left alone, and so never seen gone.
        """
        path = _POLICY.path(namespace, name)
        found = self._api.find(path)
        if found is not None and found["metadata"].get("labels", {}).get(Labels.SANDBOX) == str(sandbox_id):
            self._api.delete(path, {"preconditions": {"uid": found["metadata"]["uid"]}})
            found = self._api.find(path)
        return found is None

    def prune_policies(self, namespace: str, keep: frozenset[str]) -> list[str]:
        """Delete every network policy but those named, each by its UID; the names of those deleted.

        Policies only ever add to what is allowed, so those that stay decide alone.
        """
        if self._ours(namespace) is None:
            return []
        pruned = []
        for item in self._api.list(_POLICY, namespace, partial=True):
            name, uid = item["metadata"]["name"], item["metadata"]["uid"]
            if name not in keep:
                self._api.delete(_POLICY.path(namespace, name), {"preconditions": {"uid": uid}})
                pruned.append(str(name))
        return pruned

    def revoke_access(self, namespace: str) -> None:
        """Every binding goes, whoever made it, and the index's token.

        Bindings add up as policies do: one that somebody else made lets its subject in just
        as ours does, and it need not carry our label. So each is deleted, by its UID.
        """
        if self._ours(namespace) is None:
            return
        for item in self._api.list(_ROLE_BINDING, namespace, partial=True):
            name, uid = item["metadata"]["name"], item["metadata"]["uid"]
            self._api.delete(_ROLE_BINDING.path(namespace, name), {"preconditions": {"uid": uid}})
        self._api.delete(_SECRET.collection(namespace), selector=Labels.SANDBOX)

    def quarantine(self, namespace: str, uid: str, isolated: Sequence[Document]) -> None:
        """Cut a namespace off that nobody answers for, as an isolated sandbox is: no network, no access, no token.

        Nothing in it is deleted, and its disk stays: somebody may still want to look.
        """
        state = self._exactly(namespace, uid)
        if state is None:
            return
        for item in render_isolated(isolated, _whose(state)):
            self._apply_whole(KINDS[item["apiVersion"], item["kind"]].path(namespace, _name(item)), item)
        self.prune_policies(namespace, policy_names(isolated))
        self.revoke_access(namespace)
        self.label_namespace(namespace, uid, {QUARANTINED: "true"})

    # ---- volumes, which outlive the namespace of their claim

    def volumes(self, installation_id: str) -> Iterator[Volume]:
        """Volumes that carry our label, or whose claim is in a namespace named like a sandbox's.

        Volumes made on demand carry no label of ours. Another installation on this cluster
        names its namespaces alike, so a row must own the namespace before a volume is ours.
        """
        for item in self._api.list(PERSISTENT_VOLUME):
            labels = item["metadata"].get("labels") or {}
            claim = (item.get("spec", {}).get("claimRef") or {}).get("namespace", "")
            installation = labels.get(Labels.INSTALLATION)
            if installation == installation_id or (installation is None and claim.startswith(NAME_PREFIX)):
                yield Volume(
                    name=item["metadata"]["name"],
                    uid=item["metadata"]["uid"],
                    namespace=claim,
                    sandbox_label=labels.get(Labels.SANDBOX, ""),
                )

    def delete_volume(self, name: str, uid: str) -> None:
        """Delete exactly that volume, if it is a sandbox's and the namespace of its claim is gone."""
        path = PERSISTENT_VOLUME.path(None, name)
        item = self._api.find(path)
        if item is None:
            return
        labels = item["metadata"].get("labels") or {}
        claim = (item.get("spec", {}).get("claimRef") or {}).get("namespace", "")
        if item["metadata"]["uid"] != uid:
            raise ClusterRefusedError(f"Volume {name} is another one than ours.")
        if Labels.SANDBOX not in labels and not claim.startswith(NAME_PREFIX):
            raise ClusterRefusedError(
                f"Volume {name} is no sandbox's: it has neither our labels nor our claim."
            )
        if claim and self.namespace(claim) is not None:
            raise ClusterRefusedError(f"Volume {name} is still claimed by namespace {claim}.")
        self._api.delete(path, {"preconditions": {"uid": uid}})

    def _apply_whole(self, path: str, item: KubeObject) -> None:
        """Apply, so that a network policy has no other rules afterwards than it says.

        Apply leaves alone what it does not mention: an `egress` rule that somebody added to
        a policy without any would stay. Said as an empty list it goes; but saying that
        always would count as a change each time, because the server does not keep it.
        """
        applied = self._api.apply(path, item)
        if item["kind"] != "NetworkPolicy":
            return
        added = [
            rules
            for rules in ("ingress", "egress")
            if applied["spec"].get(rules) and rules not in item["spec"]
        ]
        if added:
            self._api.apply(path, {**item, "spec": {**item["spec"], **{rules: [] for rules in added}}})

    # ---- guards

    def label_namespace(self, name: str, uid: str, labels: Mapping[str, str]) -> None:
        """Give exactly this namespace these labels, whatever it says now: the server refuses any other UID."""
        self._api.merge(NAMESPACE.path(None, name), {"metadata": {"uid": uid, "labels": dict(labels)}})

    def namespace(self, name: str) -> NamespaceState | None:
        """The namespace, whoever made it; None if there is none."""
        found = self._api.find(NAMESPACE.path(None, name))
        return namespace_state(found) if found else None

    def _ours(self, namespace: str) -> NamespaceState | None:
        """The namespace if a sandbox lives in it, None if it is gone; refused if it is another's."""
        state = self.namespace(namespace)
        if state is not None and not {Labels.SANDBOX, Labels.INSTALLATION} <= state.labels.keys():
            raise ClusterRefusedError(f"Namespace {namespace} is no sandbox: it lacks our labels.")
        return state

    def _exactly(self, namespace: str, uid: str) -> NamespaceState | None:
        """As `_ours`, and refused if it is not the very namespace that was meant."""
        state = self._ours(namespace)
        if state is not None and state.uid != uid:
            raise ClusterRefusedError(
                f"Namespace {namespace} is another one than ours: its UID is {state.uid}."
            )
        return state


def activity(log: str) -> Activity | None:
    """The last two reports in a log, put together; None if there are not two of one run."""
    reports = [report for line in log.splitlines() if (report := _report(line)) is not None]
    if len(reports) < 2:
        return None
    (before, _, spent_before), (at, processes, spent) = reports[-2:]
    if at <= before or spent < spent_before:  # a new container counts from zero
        return None
    millis = (spent - spent_before) / (at - before) / 1000
    try:
        return Activity(datetime.fromtimestamp(at, UTC), processes, millis)
    except (ValueError, OverflowError, OSError):
        return None


def _report(line: str) -> tuple[int, int, int] | None:
    words = line.split()
    if len(words) != 4 or words[0] != _ACTIVITY_MARK:
        return None
    if not all(word.isascii() and word.isdigit() and len(word) < 19 for word in words[1:]):
        return None
    at, processes, spent = map(int, words[1:])
    return at, processes, spent


def _runs(pod: KubeObject) -> bool:
    return pod.get("status", {}).get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]


def _stage(stage: str) -> str:
    return f"{Labels.SANDBOX},{Labels.STAGE}={stage}"


def _name(item: KubeObject) -> str:
    return str(item["metadata"]["name"])


def _whose(state: NamespaceState) -> Whose:
    """By its labels, which are all that is known of it."""
    sandbox, installation, profile = (
        state.labels.get(label, "") for label in (Labels.SANDBOX, Labels.INSTALLATION, Labels.PROFILE)
    )
    return Whose(sandbox, installation, state.name, profile)
