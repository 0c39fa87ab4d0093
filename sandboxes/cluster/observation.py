"""What is really there: everything at a glance by paged lists, and one sandbox in detail.

`listing` asks nothing but lists of metadata, page by page, and keeps one number per
namespace: the sum of a hash of each of its objects. Two listings that agree on a
namespace's digest saw the same objects in it, whatever their order. It counts our own
objects (by label), and whoever's network policies, role bindings and services, since
one of those is all it takes to open a seal.

`inspect` compares one sandbox with what was rendered. Nothing is known here of the
API's defaults: the server itself is asked, by a dry run, what each object would look
like if it were made now under a name that nobody uses, and that is what the real one
must look like. (A dry run of applying over the real one would tell less: apply leaves
alone what it does not mention, a rule that somebody added to a policy for one.)
"""

import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Literal

from sandboxes.cluster.api import LISTING_TRIES, Api, ListingExpiredError
from sandboxes.cluster.differences import Path, differences, label_differences, managers
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.kinds import KINDS, NAMESPACE, NAMESPACED, Kind
from sandboxes.cluster.render import Rendered, Stage
from sandboxes.cluster.spec import KubeObject, Labels

type Change = Literal["missing", "changed", "foreign"]

# Whoever makes one of these in a sandbox's namespace can open it.
_HOLES: Final = ("NetworkPolicy", "RoleBinding", "Service")
_SEAL: Final = frozenset(
    (
        *("Namespace", "NetworkPolicy", "ResourceQuota", "LimitRange", "ServiceAccount"),
        *("Role", "RoleBinding"),
    )
)
# They come and go without anybody changing anything.
_PASSING: Final = frozenset(("Pod", "ReplicaSet"))
# Their resource version also counts what controllers report, so it says nothing about changes.
_REPORTED: Final = frozenset(
    ("Deployment", "StatefulSet", "Job", "ResourceQuota", "Service", "PersistentVolumeClaim")
)
_MODULUS: Final = 2**128


@dataclass(frozen=True, slots=True)
class SeenNamespace:
    """A namespace of ours as a listing found it. `digest` is 32 hexadecimal digits."""

    name: str
    uid: str
    phase: Literal["Active", "Terminating"]
    labels: Mapping[str, str]
    digest: str


@dataclass(frozen=True, slots=True)
class Listing:
    """Everything of one installation on one cluster."""

    namespaces: dict[str, SeenNamespace]


@dataclass(frozen=True, slots=True)
class Drift:
    """One object that is not as it should be.

    `managers` are the others who own what differs, or who made a foreign object, the
    latest first; empty if the cluster does not know. `seal` says that it belongs to what
    keeps the sandbox in. `detail` names fields, never values.
    """

    kind: str
    name: str
    what: Change
    managers: tuple[str, ...]
    seal: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Inspection:
    """All drift of one sandbox, and the digest that a listing would have given just before.

    `outdated` says that what is there was rendered from another specification (a
    template, the profile or the cluster's own addresses changed since), so that differences
    without a manager are most likely our own doing.
    """

    drifts: tuple[Drift, ...]
    digest: str
    outdated: bool = False


# ---- everything at a glance


def listing(cluster: Cluster, installation_id: str) -> Listing:
    """Every namespace of this installation with its digest. Memory grows with namespaces, not with objects."""
    selector = f"{Labels.INSTALLATION}={installation_id}"
    found: dict[str, KubeObject] = {}
    for item in cluster.api.list(NAMESPACE, selector=selector, partial=True):
        found[item["metadata"]["name"]] = item
    sums = {name: _namespace_hash(item) for name, item in found.items()}
    for add in _sums(cluster.api, None, selector, sums.__contains__):
        for name, value in add.items():
            sums[name] += value
    return Listing({name: _seen(item, sums[name]) for name, item in found.items()})


def _seen(item: KubeObject, value: int) -> SeenNamespace:
    metadata = item["metadata"]
    return SeenNamespace(
        name=metadata["name"],
        uid=metadata["uid"],
        phase="Terminating" if metadata.get("deletionTimestamp") else "Active",
        labels=metadata.get("labels") or {},
        digest=_digest(value),
    )


def _sums(
    api: Api, namespace: str | None, selector: str, wanted: Callable[[str], bool]
) -> Iterator[dict[str, int]]:
    """Kind by kind: what its objects add to the digest of each namespace."""
    for (_, name), where in NAMESPACED.items():
        if name not in _PASSING:
            yield _sum(api, name, where, namespace, None if name in _HOLES else selector, wanted)


def _sum(
    api: Api,
    name: str,
    where: Kind,
    namespace: str | None,
    selector: str | None,
    wanted: Callable[[str], bool],
) -> dict[str, int]:
    """One kind. A listing that expires half-way is counted anew, so that no object counts twice."""
    for attempt in range(1, LISTING_TRIES + 1):
        total: dict[str, int] = defaultdict(int)
        try:
            for item in api.pages(where, namespace, selector, partial=True):
                home = item["metadata"].get("namespace", "")
                if wanted(home):
                    total[home] += _object_hash(name, item["metadata"])
        except ListingExpiredError:
            if attempt == LISTING_TRIES:
                raise
        else:
            break
    return total


def _object_hash(name: str, metadata: KubeObject) -> int:
    version = _said(metadata) if name in _REPORTED else str(metadata.get("resourceVersion"))
    return _hash(name, metadata["name"], metadata["uid"], version)


def _said(metadata: KubeObject) -> str:
    """Who last said what, without what controllers report; by version if the server keeps no such record."""
    entries = [
        f"{entry.get('manager')} {entry.get('operation')} {entry.get('time')} {entry.get('fieldsV1')}"
        for entry in metadata.get("managedFields") or ()
        if entry.get("subresource") != "status"
    ]
    labels = sorted((metadata.get("labels") or {}).items())
    version = "" if entries else metadata.get("resourceVersion")
    return f"{metadata.get('generation')} {version} {labels} {sorted(entries)}"


def _namespace_hash(item: KubeObject) -> int:
    """The labels decide what a namespace is; its resource version also counts its conditions."""
    metadata = item["metadata"]
    labels = (f"{key}={value}" for key, value in sorted((metadata.get("labels") or {}).items()))
    return _hash("Namespace", metadata["name"], metadata["uid"], *labels)


def _hash(*parts: str) -> int:
    return int.from_bytes(blake2b("\0".join(parts).encode(), digest_size=16).digest())


def _digest(value: int) -> str:
    return f"{value % _MODULUS:032x}"


# ---- one sandbox in detail


def inspect(
    cluster: Cluster, rendered: Rendered, stages: tuple[Stage, ...] = ("seal", "workspace", "access")
) -> Inspection:
    """How one sandbox differs from what was rendered, in those stages.

    The digest is taken first: what changes while we look makes the next listing differ.
    """
    home = rendered.seal[0]
    name, installation = home["metadata"]["name"], home["metadata"]["labels"][Labels.INSTALLATION]
    live = cluster.api.find(NAMESPACE.path(None, name))
    if live is None:
        return Inspection((_missing(home, "there is no such namespace"),), "")
    selector = f"{Labels.INSTALLATION}={installation}"
    added = sum(sum(add.values()) for add in _sums(cluster.api, name, selector, name.__eq__))
    wanted = [item for stage in stages for item in getattr(rendered, stage) if item is not home]
    drifts = (
        *_labels_drift(home, live),
        *(drift for item in wanted for drift in _drift(cluster.api, name, item)),
        *_foreign(cluster.api, name, wanted),
    )
    outdated = (live["metadata"].get("labels") or {}).get(Labels.SPEC_HASH) != rendered.spec_hash
    return Inspection(drifts, _digest(_namespace_hash(live) + added), outdated)


def _drift(api: Api, namespace: str, item: KubeObject) -> Iterator[Drift]:
    kind = KINDS[item["apiVersion"], item["kind"]]
    live = api.find(kind.path(namespace, item["metadata"]["name"]))
    if live is None:
        yield _missing(item, "it is not there")
        return
    if "deletionTimestamp" in live["metadata"]:
        yield _missing(item, "it is being deleted")
        return
    expected = item if item["kind"] == "Pod" else _as_made_now(api, kind, namespace, item)
    paths = [*label_differences(item, live), *differences(item, expected, live)]
    if paths:
        yield _changed(item, live, paths)


def _labels_drift(item: KubeObject, live: KubeObject) -> Iterator[Drift]:
    """Of the namespace only the labels are compared: the seal hangs on them, the annotations are for people."""
    paths = label_differences(item, live)
    if paths:
        yield _changed(item, live, paths)


def _foreign(api: Api, namespace: str, wanted: Iterable[KubeObject]) -> Iterator[Drift]:
    """Objects that open a way in or out, and are none of those that were rendered."""
    ours = {(item["kind"], item["metadata"]["name"]) for item in wanted}
    for (_, name), where in NAMESPACED.items():
        for item in api.list(where, namespace) if name in _HOLES else ():
            if (name, item["metadata"]["name"]) not in ours:
                yield Drift(
                    kind=name,
                    name=item["metadata"]["name"],
                    what="foreign",
                    managers=managers(item, [()]),
                    seal=name != "Service" or _is_hole(item.get("spec") or {}),
                    detail="it is not one of ours",
                )


def _is_hole(service: KubeObject) -> bool:
    """A service that reaches beyond the cluster's inside."""
    return service.get("type", "ClusterIP") != "ClusterIP" or bool(service.get("externalIPs"))


def _as_made_now(api: Api, kind: Kind, namespace: str, item: KubeObject) -> KubeObject:
    """What the server would store if `item` were created now. Its name is random: nobody can be there first."""
    metadata = {"name": f"as-rendered-{secrets.token_hex(8)}", "labels": item["metadata"]["labels"]}
    return api.create(kind.collection(namespace), {**item, "metadata": metadata}, dry_run=True)


def _missing(item: KubeObject, why: str) -> Drift:
    return Drift(item["kind"], item["metadata"]["name"], "missing", (), item["kind"] in _SEAL, why)


def _changed(item: KubeObject, live: KubeObject, paths: list[Path]) -> Drift:
    shown = ", ".join(".".join(path) for path in paths[:5]) + (", …" if len(paths) > 5 else "")
    return Drift(
        kind=item["kind"],
        name=item["metadata"]["name"],
        what="changed",
        managers=managers(live, paths),
        seal=item["kind"] in _SEAL,
        detail=f"differs in {shown}",
    )
