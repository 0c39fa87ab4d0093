"""Who has it when something turns out bad, and what is done about it: advisory × installs × sandboxes.

**Finding** looks from both sides, so that nothing falls between them. An advisory that was written left
a row of `Change` in its own transaction, and is held against all installs there are: first those of live
sandboxes, which are acted on, then those of past ones. An install that came since is held against all advisories
there are, once its number is final (`usage.services`): one that a waiver or policy let through is an exposure
too. What was found is written in the transaction
that takes the work off the list, so a worker that is killed leaves the work where it was.

**Acting** is a transaction for each exposure: what is done, that it was done, and the ledger's entry,
or nothing of it. What fails is kept with its error and tried again at the next look. A sandbox that
is over by then needs nothing.

An exposure acts once. It acts again only if its advisory became worse, or was withdrawn and came
back: somebody who released a sandbox is not overruled by a corrected typing error.

**Closing**: an advisory that was withdrawn, or changed so that it spares what was received, closes its
exposures, and says why. Nothing is deleted, and nothing is released: that is offered to approvers.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from django.db import DatabaseError, connection, transaction

from sandboxes.audit.services import record
from sandboxes.errors import ConflictError, PetridishError, TemporaryError
from sandboxes.lifecycle import alarms, clock, holds, isolation
from sandboxes.lifecycle.locking import locked
from sandboxes.lifecycle.models import Alarm, Sandbox
from sandboxes.lifecycle.moves import start_ending
from sandboxes.lifecycle.phases import LIVE, Phase
from sandboxes.screening import matching_installs, reactions
from sandboxes.screening.exposure import ALARMING, Action, Kind
from sandboxes.screening.matching_installs import Outcome, Pair
from sandboxes.screening.models import Exposure
from sandboxes.usage.models import Install

EXPOSED: Final = "exposed"  # alarms
UNFOUNDED: Final = "isolation_unfounded"
MOST_NAMED: Final = 50  # sandboxes in one entry of the ledger
PORTION: Final = 100  # exposures that are acted on before something more urgent is looked for
_NAMED_IN_A_REASON: Final = 3  # releases
# Any two constants: they name the locks of the one worker that looks at the live, and the one at the past.
_LIVE_LOCK: Final = 0x6578706F736564
_PAST_LOCK: Final = 0x6578706F736565

logger = logging.getLogger(__name__)


def expose() -> bool:
    """Finds and acts until nothing is left. False: another worker is at it.

    One worker looks at the live, another may look at the past meanwhile: that takes what history takes.
    """
    with _alone(_LIVE_LOCK) as ours:
        if ours:
            look = _Look()
            while look.next():
                pass
            _clear_offers()
    with _alone(_PAST_LOCK) as ours_too:
        while ours_too and _find(matching_installs.next_past):
            pass
    return ours and ours_too


class _Look:
    """One run: a portion of the most urgent work there is, again and again.

    So malware does not wait for the owners of a thousand sandboxes to be told of a hole.
    """

    def __init__(self) -> None:
        self._failed: set[int] = set()  # exposures: tried again by the next run
        self._unsettled = False  # installs are being written by somebody who takes long: left to the next run
        self._lanes: list[Callable[[], bool]] = [
            lambda: self._act([Action.END, Action.ISOLATE]),
            lambda: _find(partial(matching_installs.next_live, malicious=True)),
            self._find_in_installs,
            lambda: self._act([Action.NOTIFY]),
            lambda: _find(partial(matching_installs.next_live, malicious=False)),
        ]

    def next(self) -> bool:
        """False: there is nothing left."""
        return any(lane() for lane in self._lanes)

    def _act(self, actions: list[Action]) -> bool:
        rows = Exposure.objects.filter(acted_at=None, closed_at=None, action__in=actions)
        due = rows.exclude(pk__in=self._failed).order_by("action", "id")
        portion = list(due.values_list("pk", flat=True)[:PORTION])
        self._failed.update(number for number in portion if not _act_on(number))
        return bool(portion)

    def _find_in_installs(self) -> bool:
        try:
            return not self._unsettled and _find(matching_installs.next_installs)
        except TemporaryError as error:
            logger.warning("New installs are not looked at now: %s", error)
            self._unsettled = True
            return False


def _find(batch: Callable[[dict[Kind, Action]], Outcome | None]) -> bool:
    with transaction.atomic():
        outcome = batch(reactions.all_of())
        if outcome is not None:
            _tell(outcome)
    return outcome is not None


def _act_on(exposure_id: int) -> bool:
    """False: it failed."""
    row = Exposure.objects.filter(pk=exposure_id, acted_at=None, closed_at=None)
    try:
        with transaction.atomic():
            exposure = row.select_for_update(no_key=True, of=("self",)).select_related("advisory").first()
            if exposure is None:
                return True
            action = _possible(exposure)
            row.update(acted_at=clock.Now(), action=action, error="")
            _do(exposure, action)
    except ConflictError:  # it is ending or over
        row.update(acted_at=clock.Now(), error="")
    except (PetridishError, DatabaseError) as error:
        logger.exception("Exposure %s is not acted on; it is tried again.", exposure_id)
        row.update(error=str(error)[:1000])
        return False
    return True


def _possible(exposure: Exposure) -> Action:
    """What is under a legal hold is kept: cut off in place of being ended."""
    sandbox = locked(exposure.sandbox_id)
    if sandbox.phase not in LIVE:
        raise ConflictError(f"This sandbox is {sandbox.phase}.")
    if exposure.action == Action.END and holds.held(sandbox):
        return Action.ISOLATE
    return Action(exposure.action)


def _do(exposure: Exposure, action: Action) -> None:
    reason = reason_of(exposure)
    match action:
        case Action.ISOLATE:
            isolation.isolate(exposure.sandbox_id, by=None, reason=reason)
        case Action.END:
            start_ending(locked(exposure.sandbox_id), reason=reason)
        case Action.NOTIFY:
            data = {"advisory": exposure.advisory_id, "kind": exposure.kind, "reason": reason}
            subject = _sandbox(exposure.sandbox_id)
            record(actor=None, action="sandbox.exposed", subject=subject, data=data)


def reason_of(exposure: Exposure) -> str:
    """One line: "MAL-2026-1 says that six 1.0 is malicious"."""
    rows = Install.objects.filter(pk__in=exposure.installs).order_by("project", "version")
    releases = list(dict.fromkeys(f"{row.project} {row.version}" for row in rows))
    what = ", ".join(releases[:_NAMED_IN_A_REASON])
    more = f" and {len(releases) - _NAMED_IN_A_REASON} more" if len(releases) > _NAMED_IN_A_REASON else ""
    verb = "is" if len(releases) == 1 else "are"
    said = "malicious" if exposure.kind == Kind.MALICIOUS else f"vulnerable ({exposure.kind})"
    guess = "" if exposure.confirmed else ", as far as its range tells"
    return f"{exposure.advisory_id} says that {what}{more} {verb} {said}{guess}"


def is_unfounded(sandbox: Sandbox) -> bool:
    """Whether it is isolated for exposures that are all closed by now, and for nothing else: then lifting that is on
    offer. Whatever else it is isolated for (a planted key, a person's reason) is a line of its own."""
    if sandbox.phase != Phase.ISOLATED:
        return False
    rows = Exposure.objects.filter(sandbox=sandbox, action=Action.ISOLATE)
    if rows.filter(closed_at=None).exists():
        return False
    given = sandbox.isolation_reason.splitlines()
    closed = tuple(f"{advisory} says " for advisory in rows.values_list("advisory_id", flat=True))
    return bool(given) and all(line.startswith(closed) for line in given)


def _tell(outcome: Outcome) -> None:
    """Last in the transaction. All that has to be looked up, then the alarms, then the ledger, which holds its lock
    until commit: the other worker would wait with it."""
    found, closed = _by_advisory(outcome.found), _by_advisory(outcome.closed)
    raised = [change for advisory_id, pairs in found.items() for change in _of_found(advisory_id, pairs)]
    cleared = [change for advisory_id, pairs in closed.items() for change in _of_closed(advisory_id, pairs)]
    alarms.change([*raised, *cleared])
    for advisory_id, pairs in found.items():
        _record_found(advisory_id, pairs)
    for advisory_id, pairs in closed.items():
        _record_closed(advisory_id, pairs)


def _of_found(advisory_id: str, pairs: list[Pair]) -> Iterator[alarms.Change]:
    kind = Kind(pairs[0].kind)
    if kind in ALARMING and (kind is Kind.MALICIOUS or any(pair.live for pair in pairs)):
        yield alarms.Change(EXPOSED, _advisory(advisory_id), _summary(advisory_id, kind))


def _record_found(advisory_id: str, pairs: list[Pair]) -> None:
    live = [pair.sandbox for pair in pairs if pair.live]
    past = [pair.sandbox for pair in pairs if not pair.live]
    data = {
        "kind": pairs[0].kind,
        "live": len(live),
        "past": len(past),
        "sandboxes": [*live, *past][:MOST_NAMED],
    }
    record(actor=None, action="exposure.found", subject=_advisory(advisory_id), data=data)


def _summary(advisory_id: str, kind: Kind) -> str:
    rows = Exposure.objects.filter(advisory=advisory_id, closed_at=None)
    live = rows.filter(sandbox__phase__in=LIVE).count()
    past = rows.count() - live
    guess = " Only its range covers what they received: a person has to look." if _is_guess(rows) else ""
    who = f"{live} live and {past} past" if past else f"{live} live"  # these come later: nobody says "0 past"
    return f"{advisory_id} ({kind.value}): {who} sandboxes received it.{guess}"


def _is_guess(rows: Any) -> bool:
    return bool(rows.filter(confirmed=False).exists())


def _of_closed(advisory_id: str, pairs: list[Pair]) -> Iterator[alarms.Change]:
    if not Exposure.objects.filter(advisory=advisory_id, closed_at=None).exists():
        yield alarms.Change(EXPOSED, _advisory(advisory_id), None)
    sandboxes = [pair.sandbox for pair in pairs]
    cut_off = Sandbox.objects.select_related("owner").filter(pk__in=sandboxes, phase=Phase.ISOLATED)
    for sandbox in cut_off.order_by("pk"):
        if is_unfounded(sandbox):
            told = f"{sandbox} of {sandbox.owner.get_username()} is isolated for what does not hold any more:"
            message = f"{told} {pairs[0].why} An approver may release it."
            yield alarms.Change(UNFOUNDED, _sandbox(sandbox.pk), message)


def _record_closed(advisory_id: str, pairs: list[Pair]) -> None:
    data = {
        "why": pairs[0].why,
        "number": len(pairs),
        "sandboxes": [pair.sandbox for pair in pairs][:MOST_NAMED],
    }
    record(actor=None, action="exposure.closed", subject=_advisory(advisory_id), data=data)


def _clear_offers() -> None:
    """Of what was released, ended, or is exposed again."""
    for alarm in Alarm.objects.filter(kind=UNFOUNDED, cleared_at=None).order_by("id"):
        sandbox = Sandbox.objects.filter(pk=int(alarm.subject.partition(":")[2])).first()
        if sandbox is None or not is_unfounded(sandbox):
            alarms.clear(UNFOUNDED, alarm.subject, by=None)


def _by_advisory(pairs: Iterable[Pair]) -> dict[str, list[Pair]]:
    found: dict[str, list[Pair]] = {}
    for pair in pairs:
        found.setdefault(pair.advisory, []).append(pair)
    return found


def _advisory(advisory_id: str) -> str:
    return f"advisory:{advisory_id}"


def _sandbox(sandbox_id: int) -> str:
    return f"sandbox:{sandbox_id}"


@contextmanager
def _alone(lock: int) -> Iterator[bool]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [lock])
        (taken,) = cursor.fetchone()
    try:
        yield taken
    finally:
        if taken:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [lock])
