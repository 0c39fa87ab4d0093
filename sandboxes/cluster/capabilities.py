"""What a cluster is and can do, and what we may do there: facts only.

Whether that is good enough, and how to say it to a person, is for the preflight.
What we may not look at is None: unknown, which is not the same as nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

from sandboxes.cluster.api import StatusRefusedError
from sandboxes.cluster.driver import SIMULATED_MARK, Cluster
from sandboxes.cluster.kinds import NODE, Kind
from sandboxes.cluster.platform import PLATFORM, ROOT, needed_rules, whoami
from sandboxes.cluster.quantities import parse_quantity
from sandboxes.cluster.spec import KubeObject

_REVIEWS: Final = "/apis/authorization.k8s.io/v1"
_NOWHERE: Final = "petridish-nowhere"  # no namespace: what holds there holds everywhere
_RUNTIME_CLASS: Final = Kind("/apis/node.k8s.io/v1", "runtimeclasses", namespaced=False)
_STORAGE_CLASS: Final = Kind("/apis/storage.k8s.io/v1", "storageclasses", namespaced=False)
_ADMISSION: Final = "/apis/admissionregistration.k8s.io/v1"
_POLICY: Final = Kind(_ADMISSION, "validatingadmissionpolicies", namespaced=False)
_BINDING: Final = Kind(_ADMISSION, "validatingadmissionpolicybindings", namespaced=False)
_DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """One node. `taints` as kubectl writes them: "key=value:effect"."""

    name: str
    version: str
    runtime: str
    system: str  # e.g. "linux/arm64"
    ready: bool
    schedulable: bool
    taints: tuple[str, ...]
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class StorageClass:
    """One storage class; `keeps` says that its volumes outlive their claims."""

    name: str
    provisioner: str
    default: bool
    keeps: bool


@dataclass(frozen=True, slots=True)
class AdmissionPolicy:
    """One of our admission policies. `enforced`: a binding makes it deny."""

    name: str
    installation_id: str
    enforced: bool
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Permission:
    """One thing that Petridish needs to do everywhere, and whether it may. `group` is "" for the core group."""

    verb: str
    group: str
    resource: str  # with its subresource: "pods/log"
    allowed: bool


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Everything that a survey found. `uid` is "" if we may not look at kube-system.

    `allocatable` adds up the nodes that are ready and take pods: cores, bytes, pieces.
    `network_policies` says that the API knows them; whether anybody obeys them only the
    probe can tell.
    """

    uid: str
    user: str
    version: str
    simulated: bool
    nodes: tuple[NodeFacts, ...]  # () also if we may not see them
    allocatable: Mapping[str, Decimal]
    network_policies: bool
    metrics: bool
    admission_api: bool
    runtime_classes: tuple[str, ...] | None
    storage_classes: tuple[StorageClass, ...] | None
    admission: tuple[AdmissionPolicy, ...] | None
    permissions: tuple[Permission, ...]

    @property
    def missing(self) -> tuple[Permission, ...]:
        """What we need to do and may not."""
        return tuple(permission for permission in self.permissions if not permission.allowed)


def survey(cluster: Cluster, root: Path = ROOT) -> Capabilities:
    """Ask a cluster. `root` is the folder of the templates, whose ClusterRole says what is needed."""
    version = str(cluster.api.get("/version").get("gitVersion", ""))
    nodes = _seen(cluster, NODE)
    groups = {str(group["name"]) for group in cluster.api.get("/apis").get("groups") or ()}
    classes = _seen(cluster, _STORAGE_CLASS)
    runtimes = _seen(cluster, _RUNTIME_CLASS)
    return Capabilities(
        uid=_uid(cluster),
        user=whoami(cluster),
        version=version,
        simulated=SIMULATED_MARK in version,
        nodes=tuple(map(_node, nodes or ())),
        allocatable=_allocatable(nodes or ()),
        network_policies="networking.k8s.io" in groups,
        metrics="metrics.k8s.io" in groups,
        admission_api=_has_admission(cluster),
        runtime_classes=None
        if runtimes is None
        else tuple(str(item["metadata"]["name"]) for item in runtimes),
        storage_classes=None if classes is None else tuple(map(_storage_class, classes)),
        admission=_admission(cluster),
        permissions=tuple(_permissions(cluster, root)),
    )


def _seen(cluster: Cluster, kind: Kind, selector: str | None = None) -> list[KubeObject] | None:
    """A whole list; None if we may not see it, [] if this cluster has no such thing."""
    try:
        return list(cluster.api.list(kind, selector=selector))
    except StatusRefusedError as error:
        if error.status == 404:
            return []
        if error.status == 403:
            return None
        raise


def _uid(cluster: Cluster) -> str:
    try:
        return cluster.uid()
    except StatusRefusedError as error:
        if error.status == 403:
            return ""
        raise


def _node(item: KubeObject) -> NodeFacts:
    info, spec = item.get("status", {}).get("nodeInfo") or {}, item.get("spec") or {}
    return NodeFacts(
        name=item["metadata"]["name"],
        version=info.get("kubeletVersion", ""),
        runtime=info.get("containerRuntimeVersion", ""),
        system=f"{info.get('operatingSystem', '')}/{info.get('architecture', '')}",
        ready=_is_ready(item),
        schedulable=not spec.get("unschedulable"),
        taints=tuple(map(_taint, spec.get("taints") or ())),
        labels=item["metadata"].get("labels") or {},
    )


def _is_ready(node: KubeObject) -> bool:
    conditions = node.get("status", {}).get("conditions") or ()
    return any(entry.get("type") == "Ready" and entry.get("status") == "True" for entry in conditions)


def _taint(taint: KubeObject) -> str:
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint.get('key')}{value}:{taint.get('effect')}"


def _allocatable(nodes: Iterable[KubeObject]) -> dict[str, Decimal]:
    total: dict[str, Decimal] = {}
    for node in nodes:
        if not _is_ready(node) or (node.get("spec") or {}).get("unschedulable"):
            continue
        for name, text in (node["status"].get("allocatable") or {}).items():
            try:
                total[name] = total.get(name, Decimal()) + parse_quantity(str(text))
            except ValueError:
                continue  # an amount that we could not compare anyway
    return total


def _storage_class(item: KubeObject) -> StorageClass:
    return StorageClass(
        name=item["metadata"]["name"],
        provisioner=item.get("provisioner", ""),
        default=(item["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true",
        keeps=item.get("reclaimPolicy") == "Retain",
    )


# ---- admission


def _has_admission(cluster: Cluster) -> bool:
    """ValidatingAdmissionPolicy is in the API since 1.30 (admissionregistration.k8s.io/v1)."""
    try:
        resources = cluster.api.get(_ADMISSION).get("resources") or ()
    except StatusRefusedError as error:
        if error.status == 404:
            return False
        raise
    return any(entry.get("name") == _POLICY.plural for entry in resources)


def _admission(cluster: Cluster) -> tuple[AdmissionPolicy, ...] | None:
    policies, bindings = (_seen(cluster, kind, PLATFORM) for kind in (_POLICY, _BINDING))
    if policies is None or bindings is None:
        return None
    denying = {
        binding["spec"].get("policyName")
        for binding in bindings
        if "Deny" in (binding["spec"].get("validationActions") or ())
    }
    return tuple(
        AdmissionPolicy(
            name=item["metadata"]["name"],
            installation_id=item["metadata"]["labels"][PLATFORM],
            enforced=item["metadata"]["name"] in denying,
            warnings=tuple(_warnings(item)),
        )
        for item in policies
    )


def _warnings(policy: KubeObject) -> Iterator[str]:
    """What the server finds wrong with the expressions (status.typeChecking)."""
    checked = policy.get("status", {}).get("typeChecking") or {}
    for warning in checked.get("expressionWarnings") or ():
        yield f"{warning.get('fieldRef')}: {warning.get('warning')}"


# ---- permissions


def _permissions(cluster: Cluster, root: Path) -> Iterator[Permission]:
    """By one review of all our rules; one by one where the server says that this is not all."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": _NOWHERE},
    }
    status = cluster.api.create(f"{_REVIEWS}/selfsubjectrulesreviews", review).get("status") or {}
    for verb, group, resource, name in sorted(needed_rules(root)):
        allowed = any(
            _in(verb, rule.get("verbs"))
            and _in(group, rule.get("apiGroups"))
            and _in(resource, rule.get("resources"))
            and (not rule.get("resourceNames") or name in rule["resourceNames"])
            for rule in status.get("resourceRules") or ()
        )
        if not allowed and status.get("incomplete"):
            allowed = _may(cluster, verb, group, resource, name)
        yield Permission(verb, group, resource, allowed)


def _in(value: str, allowed: Iterable[str] | None) -> bool:
    return "*" in (allowed or ()) or value in (allowed or ())


def _may(cluster: Cluster, verb: str, group: str, resource: str, name: str) -> bool:
    plural, _, part = resource.partition("/")
    attributes = {"verb": verb, "group": group, "resource": plural, "subresource": part, "name": name}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    status = cluster.api.create(f"{_REVIEWS}/selfsubjectaccessreviews", review).get("status") or {}
    return status.get("allowed") is True
