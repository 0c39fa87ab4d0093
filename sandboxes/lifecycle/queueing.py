"""Who gets room, in which order. Pure; `quota` brings the facts and carries it out.

The rule, in three sentences. The queue is looked at from its head, in the order of
arrival. Whoever fits every limit and some cluster is admitted; whoever does not has
first claim on exactly what they wait for, so nobody behind them is given any of that.
Behind a sandbox that waits for its department's GPUs, one without a GPU or of another
department goes on, and another GPU sandbox of that department does not: a big one is
not starved by small ones, and holds up nobody who could not help it.

One that could not fit even if everything else ended (a limit below what a single one
takes, no trusted cluster with its labels) waits too, but holds nothing: only an admin can
help it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sandboxes.lifecycle.amounts import NO_LIMITS, Amount, Limits, Resource, number, said
from sandboxes.lifecycle.models.quota import Scope
from sandboxes.lifecycle.placement import ClusterFacts, ClusterShare, Needs, place

type Key = tuple[str, str]  # a scope and its subject


@dataclass(frozen=True, slots=True)
class Claim:
    """A sandbox that wants room. `keys` are whose quotas it counts against."""

    sandbox_id: int
    keys: tuple[Key, ...]
    demand: Amount
    needs: Needs


@dataclass(frozen=True, slots=True)
class Room:
    """What is limited and what is taken at this moment, by key and by cluster."""

    limits: Mapping[Key, Limits]  # as set; an empty subject is the default of its scope
    used: Mapping[Key, Amount]
    clusters: Sequence[ClusterFacts]
    on_clusters: Mapping[str, Amount]

    def limits_of(self, key: Key) -> Limits:
        """The named limits, and the default's for fields that these leave open."""
        return self.limits.get(key, NO_LIMITS).over(self.limits.get((key[0], ""), NO_LIMITS))


@dataclass(frozen=True, slots=True)
class Check:
    """One limit and what the claim makes of it."""

    key: Key
    resource: Resource
    used: int
    limit: int
    adds: int
    held: bool = False  # somebody in front waits for it

    @property
    def fits(self) -> bool:
        return not self.held and self.used + self.adds <= self.limit

    @property
    def possible(self) -> bool:
        """Whether it could ever fit."""
        return self.adds <= self.limit


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of one claim: the cluster it goes to, or None and what it waits for."""

    sandbox_id: int
    cluster: str | None
    checks: tuple[Check, ...]
    place_reasons: tuple[str, ...] = ()

    def reasons(self) -> tuple[str, ...]:
        """Why it waits, one sentence each; () when it does not."""
        return (*(sentence(check) for check in self.checks if not check.fits), *self.place_reasons)


class _Books:
    """Used amounts and first claims while the queue is gone through."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.used = defaultdict(Amount, room.used)
        self.on_clusters = dict(room.on_clusters)
        self.held: set[tuple[Key, Resource]] = set()
        self.held_on: set[ClusterShare] = set()

    def look(self, claim: Claim) -> Outcome:
        checks = tuple(self._checks(claim))
        if not all(check.fits for check in checks):
            possible = all(check.possible for check in checks)
            self.held |= {(check.key, check.resource) for check in checks if possible and not check.fits}
            return Outcome(claim.sandbox_id, None, checks)
        found = place(
            claim.demand, claim.needs, self.room.clusters, self.on_clusters, frozenset(self.held_on)
        )
        if found.cluster is None:
            self.held_on |= found.waits_for
            return Outcome(claim.sandbox_id, None, checks, found.reasons)
        for key in claim.keys:
            self.used[key] = self.used[key] + claim.demand
        self.on_clusters[found.cluster] = self.on_clusters.get(found.cluster, Amount()) + claim.demand
        return Outcome(claim.sandbox_id, found.cluster, checks)

    def _checks(self, claim: Claim) -> Iterable[Check]:
        for key in claim.keys:
            limits = self.room.limits_of(key)
            for each in Resource:
                limit, adds = limits.of(each), claim.demand.of(each)
                if limit is not None and adds:
                    held = (key, each) in self.held
                    yield Check(key, each, self.used[key].of(each), limit, adds, held)


def settle(queue: Iterable[Claim], room: Room) -> list[Outcome]:
    """What becomes of each claim, in the order given."""
    books = _Books(room)
    return [books.look(claim) for claim in queue]


def sentence(check: Check, *, to_owner: bool = False) -> str:
    """ "You: 2 of 10 sandboxes, this makes 3."; the owner is named unless they are the one who reads it."""
    used, limit = number(check.resource, check.used), said(check.resource, check.limit)
    after = number(check.resource, check.used + check.adds)
    if check.fits:
        told = f"{used} of {limit}, this makes {after}"
    elif not check.possible:
        told = f"at most {limit}, and one alone takes {number(check.resource, check.adds)}"
    elif check.used + check.adds <= check.limit:
        told = f"{used} of {limit}, and somebody in front waits for the rest"
    else:
        told = f"{used} of {limit}, this would make {after}"
    return f"{_whose(check.key, to_owner)}: {told}."


def _whose(key: Key, to_owner: bool) -> str:
    scope, subject = key
    if scope == Scope.PERSON:
        return "You" if to_owner else subject
    return f"Profile {subject}" if scope == Scope.PROFILE else f"Department {subject}"
