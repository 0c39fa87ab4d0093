"""On which cluster a sandbox goes: a pure function from what a profile needs and what clusters are.

A cluster that takes nothing now (disabled, not trusted, not answering, not the one it
was), or lacks what the profile needs, is left out with the reason in words. Of the
others, one with room is chosen: the one that keeps the largest share of itself free,
so that clusters fill evenly; then the one with the fewest sandboxes; then by name.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sandboxes.cluster.spec import DEFAULT_GPU
from sandboxes.lifecycle.amounts import NO_LIMITS, Amount, Limits, Resource, number, said

type ClusterShare = tuple[str, Resource]  # one resource of one cluster

_NOTHING: Final = Amount()


@dataclass(frozen=True, slots=True)
class Needs:
    """What a profile asks of a cluster, beside room."""

    labels: Mapping[str, str] = field(default_factory=dict)
    runtime_class: str = ""
    gpu_resource: str = DEFAULT_GPU  # what the cluster calls the kind of GPU it asks for


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """A cluster as placement sees it. None: nobody has looked yet, so it is not held against the cluster."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    configured: bool = True  # it can be reached from this installation at all
    enabled: bool = True
    trusted: bool = True
    answers: bool = True  # its circuit breaker is closed
    same: bool = True  # its uid is the one it was registered with
    runtime_classes: frozenset[str] | None = None
    gpus: Mapping[str, int] | None = None  # that its nodes have, by resource name
    capacity: Limits = NO_LIMITS


@dataclass(frozen=True, slots=True)
class Placement:
    """The cluster, or None and why not. `waits_for`: what would have to become free on a cluster that suits."""

    cluster: str | None
    reasons: tuple[str, ...] = ()
    waits_for: frozenset[ClusterShare] = frozenset()


def place(
    demand: Amount,
    needs: Needs,
    clusters: Sequence[ClusterFacts],
    used: Mapping[str, Amount],
    held: frozenset[ClusterShare] = frozenset(),
) -> Placement:
    """The cluster for it. `held` are shares that others, in front of this one, wait for."""
    reasons: list[str] = []
    waits_for: set[ClusterShare] = set()
    fitting: list[tuple[float, int, str]] = []
    for cluster in clusters:
        taken = used.get(cluster.name, _NOTHING)
        if (misfit := _misfit(cluster, demand, needs)) is not None:
            reasons.append(misfit)
        elif short := _short(cluster, demand, taken, held):
            reasons.append(f"Cluster {cluster.name} is full: {_told(cluster, taken, short)}.")
            waits_for.update((cluster.name, each) for each in short)
        else:
            fitting.append((-_free_share(cluster, taken + demand), taken.sandboxes, cluster.name))
    if fitting:
        return Placement(min(fitting)[2])
    return Placement(None, tuple(reasons) or ("No cluster is registered.",), frozenset(waits_for))


def _misfit(cluster: ClusterFacts, demand: Amount, needs: Needs) -> str | None:
    """Why it is out of the question however empty it is; None if it is not."""
    checks: Iterable[tuple[bool, str]] = (
        (not cluster.configured, "is not configured here any more"),
        (not cluster.enabled, "is disabled"),
        (not cluster.same, "is not the cluster that was registered under this name: its uid changed"),
        # Why is for admins: whoever has a sandbox there could use it, and it names somebody else's.
        (not cluster.trusted, "is not trusted at the moment; an admin has to look at it"),
        (not cluster.answers, "does not answer at the moment"),
        *_lacks(cluster, needs),
        *_too_small(cluster, demand, needs),
    )
    return next((f"Cluster {cluster.name} {words.rstrip('.')}." for true, words in checks if true), None)


def _lacks(cluster: ClusterFacts, needs: Needs) -> Iterable[tuple[bool, str]]:
    for key, value in sorted(needs.labels.items()):
        yield cluster.labels.get(key) != value, f"is not labelled {key}={value}, which the profile asks for"
    known = cluster.runtime_classes
    missing = bool(needs.runtime_class) and known is not None and needs.runtime_class not in known
    yield missing, f"has no runtime class {needs.runtime_class}"


def _too_small(cluster: ClusterFacts, demand: Amount, needs: Needs) -> Iterable[tuple[bool, str]]:
    gpus = demand.gpus if cluster.gpus is None else cluster.gpus.get(needs.gpu_resource, 0)
    yield demand.gpus > gpus, f"has {gpus} of {needs.gpu_resource}, and {demand.gpus} are needed"
    for each in Resource:
        limit = cluster.capacity.of(each)
        yield (
            limit is not None and demand.of(each) > limit,
            f"holds {said(each, limit or 0)} in all, and {said(each, demand.of(each))} are needed",
        )


def _short(
    cluster: ClusterFacts, demand: Amount, taken: Amount, held: frozenset[ClusterShare]
) -> list[Resource]:
    """What it has too little of now, what somebody in front waits for included."""
    return [
        each
        for each in Resource
        if demand.of(each)
        and ((cluster.name, each) in held or not _fits(cluster.capacity.of(each), (taken + demand).of(each)))
    ]


def _fits(limit: int | None, amount: int) -> bool:
    return limit is None or amount <= limit


def _told(cluster: ClusterFacts, taken: Amount, short: Iterable[Resource]) -> str:
    """ "8 of 8 CPUs are taken"; when that is not all of them, somebody in front waits for the rest."""
    return ", ".join(
        f"{number(each, taken.of(each))} of {said(each, cluster.capacity.of(each) or 0)} are taken"
        for each in short
    )


def _free_share(cluster: ClusterFacts, taken: Amount) -> float:
    """Of the scarcest resource that is limited, from 0 to 1; without limits all of it."""
    shares = [
        (limit - taken.of(each)) / limit
        for each in Resource
        if (limit := cluster.capacity.of(each)) is not None and limit > 0
    ]
    return min(shares, default=1.0)
