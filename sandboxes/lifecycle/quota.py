"""Quotas: how much a person, a department, a profile and a cluster may have at once.

What a sandbox takes is written into its row when it is reserved (`charged`, `cpu_millis`…)
and stays charged until the receipt. Every reservation is made under one advisory lock of the
transaction, and what is counted after that cannot grow before its end; a release only makes
room, so it needs no lock. Lock order: the sandbox's row, this lock, the ledger.

Who is next is decided by `queueing`, which is pure; what it decides on is read by `counting`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from django.db import connection, transaction

from sandboxes.audit.services import Actor
from sandboxes.errors import TemporaryError
from sandboxes.lifecycle import counting, offers, registry, switch
from sandboxes.lifecycle.amounts import NO_LIMITS, Amount
from sandboxes.lifecycle.holds import held
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.models.quota import Scope
from sandboxes.lifecycle.moves import move, start_ending
from sandboxes.lifecycle.phases import GOING, Phase
from sandboxes.lifecycle.placement import place
from sandboxes.lifecycle.queueing import Check, Claim, Outcome, sentence, settle
from sandboxes.lifecycle.quota_settings import Use, Waiting, overview, set_limits

Demand = Amount
demand = offers.demand

_LOCK: Final = 0x71756F7461
_NEWCOMER: Final = 0  # no row has this id: who is not in the queue yet
_AT_ONCE: Final = 200  # admitted by one call; beat calls again
_NAMED: Final = 4


@dataclass(frozen=True)
class Line:
    """One limit, as a sentence for the person who asks; `remedy` says what would have to end if it does not fit."""

    text: str
    fits: bool
    remedy: str = ""


@dataclass(frozen=True)
class Arithmetic:
    """Whether a sandbox could start at once, by every limit that applies. `position`: in the queue, if it waits.

    `possible`: whether it could ever start without an admin who raises a limit.
    """

    fits: bool
    lines: tuple[Line, ...]
    position: int | None = None
    possible: bool = True


@dataclass(frozen=True)
class Reservation:
    """What `open_sandbox` writes into the row. Without a cluster it waits, and `reasons` say for what."""

    demand: Amount
    cluster: str | None
    reasons: tuple[str, ...]


# ---- reserving


def reserve(*, username: str, department: str, profile: str) -> Reservation:
    """Room for one more, behind everybody who waits. The lock is held until the caller's transaction ends."""
    claim = counting.claim(sandbox_id=_NEWCOMER, username=username, department=department, profile=profile)
    registry.ensure_environment_cluster()  # before the lock: inserting may wait for somebody
    _lock()
    outcome = settle([*counting.queue(counting.waiting()), claim], counting.room())[-1]
    return Reservation(claim.demand, outcome.cluster, outcome.reasons())


def admit() -> int:
    """Moves queued sandboxes for which there is room to `pending`, in their order; how many.

    Each in a transaction of its own, which decides anew under the lock: several workers at once
    admit everybody once. Those who go on waiting have the newest reasons written into their row.
    """
    if switch.paused():
        return 0
    rows = counting.waiting()
    if not rows:  # what is taken is summed up only for somebody
        return 0
    for row in filter(counting.is_hopeless, rows):
        _turn_away(row)
    outcomes = settle(counting.queue(rows), counting.room())
    _tell(rows, outcomes)
    ready = [outcome.sandbox_id for outcome in outcomes if outcome.cluster is not None]
    return sum(map(_admit, ready[:_AT_ONCE]))


def recheck(sandbox: Sandbox) -> None:
    """Before anything is made for a pending sandbox: does its reservation still hold?

    It does even if a limit was lowered meanwhile. But if its cluster takes nothing new any
    more, another is looked for; and a profile that was changed is charged anew.
    TemporaryError, with the reasons, while there is no room for that.
    """
    with transaction.atomic():
        rows = Sandbox.objects.select_for_update(no_key=True, of=("self",)).select_related("owner")
        row = rows.filter(pk=sandbox.pk, phase=Phase.PENDING).first()
        if row is None:
            return
        claim = counting.claim_of(row)
        settled = row.charged and claim.demand == counting.amount_of(row)
        if settled and _still_takes(row.cluster, claim):
            return
        _lock()
        room = counting.room(without=counting.charge_of(row) if row.charged else None)
        outcome = settle([claim], replace(room, limits={}) if settled else room)[0]
        if outcome.cluster is not None:
            charge(row, outcome.cluster, claim.demand)
    if outcome.cluster is None:
        raise TemporaryError(" ".join(outcome.reasons()))
    sandbox.refresh_from_db(fields=["charged", "cluster", "cpu_millis", "memory_mib", "gpus"])


def charge(row: Sandbox, cluster: str, amount: Amount) -> None:
    """Writes the reservation into the row; under the lock."""
    row.charged, row.cluster = True, cluster
    row.cpu_millis, row.memory_mib, row.gpus = amount.cpu_millis, amount.memory_mib, amount.gpus
    row.save(update_fields=["charged", "cluster", "cpu_millis", "memory_mib", "gpus"])


def _lock() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


def _admit(sandbox_id: int) -> bool:
    """One sandbox, if there is room for it still; whoever is at its row already will admit it, or has ended it."""
    with transaction.atomic():
        rows = Sandbox.objects.select_for_update(no_key=True, skip_locked=True, of=("self",))
        row = rows.select_related("owner").filter(pk=sandbox_id, phase=Phase.QUEUED).first()
        if row is None:
            return False
        _lock()
        ahead = [waits for waits in counting.waiting() if waits.pk <= sandbox_id]
        outcome = next(
            (
                each
                for each in settle(counting.queue(ahead), counting.room())
                if each.sandbox_id == sandbox_id
            ),
            None,
        )
        if outcome is None or outcome.cluster is None:
            return False
        amount = counting.claim_of(row).demand
        return move(
            row,
            Phase.PENDING,
            data={"cluster": outcome.cluster},
            charged=True,
            cluster=outcome.cluster,
            cpu_millis=amount.cpu_millis,
            memory_mib=amount.memory_mib,
            gpus=amount.gpus,
        )


def _turn_away(row: Sandbox) -> None:
    if not row.owner.is_active:
        start_ending(row, reason="its owner was disabled")
    else:
        start_ending(row, reason="failed", failure=f"There is no profile {row.profile!r} any more.")


def _tell(rows: Iterable[Sandbox], outcomes: Iterable[Outcome]) -> None:
    """Why each of them still waits; a row is written only when that changed."""
    known = {row.pk: row.last_error for row in rows}
    for outcome in outcomes:
        reasons = " ".join(outcome.reasons())
        if outcome.cluster is None and reasons != known[outcome.sandbox_id]:
            waits = Sandbox.objects.filter(pk=outcome.sandbox_id, phase=Phase.QUEUED)
            waits.update(last_error=reasons)


def _still_takes(name: str, claim: Claim) -> bool:
    """Whether it would be taken there if there were room: what was reserved there stays reserved."""
    known = [replace(facts, capacity=NO_LIMITS) for facts in registry.facts() if facts.name == name]
    return place(claim.demand, claim.needs, known, {}).cluster is not None


# ---- reading


def arithmetic(owner: Actor, department: str, profile: str) -> Arithmetic:
    """What reserving would find now, limit by limit. Nothing is written or locked."""
    claim = counting.claim(
        sandbox_id=_NEWCOMER, username=owner.get_username(), department=department, profile=profile
    )
    queue = counting.queue(counting.waiting())
    outcome = settle([*queue, claim], counting.room())[-1]
    lines = [
        Line(sentence(check, to_owner=True), check.fits, "" if check.fits else _remedy(check))
        for check in outcome.checks
    ]
    lines += [Line(reason, fits=False) for reason in outcome.place_reasons]
    waits = outcome.cluster is None
    possible = all(check.possible for check in outcome.checks)
    return Arithmetic(not waits, tuple(lines), len(queue) + 1 if waits else None, possible)


def position(sandbox: Sandbox) -> int:
    """Its place in the queue, from 1; 0 if it does not wait."""
    if sandbox.phase != Phase.QUEUED:
        return 0
    return Sandbox.objects.filter(phase=Phase.QUEUED, pk__lte=sandbox.pk).count()


def positions() -> dict[int, int]:
    """Every place of the queue, by sandbox, in one query: for lists."""
    ids = Sandbox.objects.filter(phase=Phase.QUEUED).order_by("id").values_list("pk", flat=True)
    return {pk: number for number, pk in enumerate(ids, start=1)}


def _remedy(check: Check) -> str:
    """What would have to end. One's own sandboxes are named; of others' only how many.

    Nobody is told to end what cannot be ended: a sandbox under legal hold, or one's own while isolated.
    """
    if not check.possible:
        return "An admin would have to raise the limit."
    missing = check.used + check.adds - check.limit
    if missing <= 0:
        return "Those in front come first."
    rows = _charged_to(check)
    going = sum(counting.amount_of(row).of(check.resource) for row in rows if row.phase in GOING)
    if going >= missing:
        return "Enough of it is being torn down; it is free with the receipts."
    mine = check.key[0] == Scope.PERSON
    staying = [row for row in rows if row.phase not in GOING]
    free = [row for row in staying if not held(row) and not (mine and row.phase == Phase.ISOLATED)]
    freed = [counting.amount_of(row).of(check.resource) for row in free]
    if sum(freed) < missing - going:
        kept = [row for row in staying if row not in free]
        return (
            f"{_listed(kept) if mine else 'Enough of it'} cannot be ended now: isolated, or under legal hold."
        )
    count = _fewest(freed, missing - going)
    then = " Those in front come first." if check.held else ""
    if not mine:
        return f"{count} of its {len(rows)} sandboxes would have to end.{then}"
    return f"{'One' if count == 1 else count} of these would have to end: {_listed(free)}.{then}"


def _listed(rows: Sequence[Sandbox]) -> str:
    """Never more than a few, by name."""
    return ", ".join([str(row) for row in rows[:_NAMED]] + (["…"] if len(rows) > _NAMED else []))


def _charged_to(check: Check) -> list[Sandbox]:
    """The newest first: what counts against this quota."""
    scope, subject = check.key
    rows = Sandbox.objects.filter(charged=True).order_by("-id")
    if scope == Scope.PERSON:
        return list(rows.filter(**{counting.OWNER: subject}))
    return list(rows.filter(**{scope: subject}))


def _fewest(amounts: Sequence[int], missing: int) -> int:
    """How many of them, the largest first, make up what is missing."""
    freed = 0
    for count, amount in enumerate(sorted(amounts, reverse=True), start=1):
        freed += amount
        if freed >= missing:
            return count
    return len(amounts)


__all__ = [
    "Arithmetic",
    "Demand",
    "Line",
    "Reservation",
    "Use",
    "Waiting",
    "admit",
    "arithmetic",
    "demand",
    "overview",
    "position",
    "positions",
    "recheck",
    "reserve",
    "set_limits",
]
