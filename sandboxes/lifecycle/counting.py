"""The facts that quotas are decided on, read from the rows: what is charged, who waits, what is allowed.

Sums go over what is charged, by a partial index, in one query grouped by everything that
counts: what is alive costs, history does not.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from django.db.models import Count, Sum

from sandboxes.cluster.profiles import Profile
from sandboxes.errors import InvalidInputError
from sandboxes.lifecycle import offers, registry
from sandboxes.lifecycle.amounts import Amount, Limits
from sandboxes.lifecycle.models import Quota, Sandbox
from sandboxes.lifecycle.models.quota import Scope
from sandboxes.lifecycle.phases import Phase
from sandboxes.lifecycle.queueing import Claim, Key, Room

OWNER: Final = "owner__username"  # a person's name, as quotas and the ledger know people


@dataclass(frozen=True)
class Charge:
    """What one sandbox, or several alike, add to the sums."""

    keys: tuple[Key, ...]
    cluster: str
    amount: Amount


def offered(profile: str) -> Profile:
    """The profile of that name; InvalidInputError if it is not offered any more."""
    found = offers.profiles().get(profile)
    if found is None:
        raise InvalidInputError(f"There is no profile {profile!r} any more.")
    return found


def keys(username: str, department: str, profile: str) -> tuple[Key, ...]:
    """Whose quotas a sandbox counts against; a person without a department counts against none."""
    person: Key = (Scope.PERSON, username)
    of_profile: Key = (Scope.PROFILE, profile)
    return (person, (Scope.DEPARTMENT, department), of_profile) if department else (person, of_profile)


def claim(*, sandbox_id: int, username: str, department: str, profile: str) -> Claim:
    """What a sandbox of this profile wants, for that person."""
    wanted = offered(profile)
    return Claim(sandbox_id, keys(username, department, profile), offers.demand(wanted), offers.needs(wanted))


def claim_of(sandbox: Sandbox) -> Claim:
    """By what its profile says now."""
    username = sandbox.owner.get_username()
    return claim(
        sandbox_id=sandbox.pk, username=username, department=sandbox.department, profile=sandbox.profile
    )


def charge_of(sandbox: Sandbox) -> Charge:
    """By what its row says it was charged."""
    of = keys(sandbox.owner.get_username(), sandbox.department, sandbox.profile)
    return Charge(of, sandbox.cluster, amount_of(sandbox))


def amount_of(sandbox: Sandbox) -> Amount:
    return Amount(1, sandbox.cpu_millis, sandbox.memory_mib, sandbox.gpus)


def waiting() -> list[Sandbox]:
    """Who waits, in the order of arrival: ids are given under the lock."""
    return list(Sandbox.objects.filter(phase=Phase.QUEUED).select_related("owner").order_by("id"))


def is_hopeless(sandbox: Sandbox) -> bool:
    """Nothing is kept for a person who was disabled, nor for a profile that is gone."""
    return not sandbox.owner.is_active or sandbox.profile not in offers.profiles()


def queue(rows: Iterable[Sandbox]) -> list[Claim]:
    return [claim_of(row) for row in rows if not is_hopeless(row)]


def room(without: Charge | None = None) -> Room:
    """What is limited and what is taken now, `without` one that is to be placed anew."""
    used: dict[Key, Amount] = defaultdict(Amount)
    on_clusters: dict[str, Amount] = defaultdict(Amount)
    for charge in charges():
        _add(used, on_clusters, charge.keys, charge.cluster, charge.amount)
    if without is not None:
        _add(used, on_clusters, without.keys, without.cluster, Amount() - without.amount)
    limits: dict[Key, Limits] = {
        (row.scope, row.subject): Limits.from_row(row) for row in Quota.objects.all()
    }
    return Room(limits, used, registry.facts(), on_clusters)


def charges() -> Iterator[Charge]:
    """Everything charged, those alike together."""
    rows = (
        Sandbox.objects.filter(charged=True)
        .order_by()
        .values_list(OWNER, "department", "profile", "cluster")
        .annotate(Count("id"), Sum("cpu_millis"), Sum("memory_mib"), Sum("gpus"))
    )
    for person, department, profile, cluster, *amounts in rows:
        yield Charge(keys(person, department, profile), cluster, Amount(*amounts))


def _add(
    used: dict[Key, Amount],
    on_clusters: dict[str, Amount],
    of: Iterable[Key],
    cluster: str,
    amount: Amount,
) -> None:
    on_clusters[cluster] += amount
    for key in of:
        used[key] += amount
