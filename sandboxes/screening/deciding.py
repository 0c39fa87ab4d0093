"""What a person decides about a held file: released, blocked, or to be looked at again.

A decision is remembered with the bytes (their sha256), and a later scan does not change it. "No" is about the bytes:
they are blocked under every name. "Yes" is about what was looked at, so it releases the one name: the same
bytes under a name that resembles somebody else's are looked at by themselves. The index learns of it by the table's
trigger. Who may decide is the portal's to say. A verdict is meant by its id.

Whoever decides says which state they saw, by what they call: of two decisions at once the second finds the
file decided, and is refused.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, Final

from django.db import transaction

from sandboxes.audit.services import Actor, record
from sandboxes.errors import ConflictError, InvalidInputError, NotFoundError
from sandboxes.lifecycle import clock
from sandboxes.screening.models import Verdict
from sandboxes.screening.words import Screening

LONGEST_REASON: Final = 1000  # characters
_UNDECIDED: Final = ""


class Decision(StrEnum):
    """`Verdict.decision`."""

    RELEASED = "released"
    BLOCKED = "blocked"


_STATES: Final = {Decision.RELEASED: Screening.PASSED, Decision.BLOCKED: Screening.BLOCKED}


def release(verdict: str, by: Actor, reason: str) -> Verdict:
    """It is given under its name from now on, whatever screening finds in it. Raises `PetridishError`."""
    return _decide(verdict, Decision.RELEASED, by, reason)


def block(verdict: str, by: Actor, reason: str) -> Verdict:
    """It is given to nobody any more, whatever it is called."""
    return _decide(verdict, Decision.BLOCKED, by, reason)


@transaction.atomic
def reopen(verdict: str, by: Actor, reason: str, *, was: str = "") -> Verdict:
    """Takes the decision back: the file is held again, until somebody decides anew, whatever the scale says then.

    `was`: the decision that is meant; another one, made meanwhile, is left alone. That the bytes were blocked is taken
    back under every name.
    """
    reason = _reason(reason)
    row, others = _locked(verdict)
    if was and row.decision and row.decision != was:
        raise ConflictError(
            f"{row.decided_by or 'Somebody'} has {row.decision} it meanwhile. Look at it again."
        )
    if row.decision == _UNDECIDED:
        raise ConflictError(
            f"Nobody has decided about {row.filename or 'this file'}, so nothing is taken back."
        )
    before = {"decision": row.decision, "decided_by": str(row.decided_by or ""), "was": row.decision_reason}
    along = [each for each in others if row.decision == each.decision == Decision.BLOCKED]
    for each in (row, *along):
        each.state, each.decision, each.decision_reason = Screening.HELD, _UNDECIDED, ""
        each.decided_by_id, each.decided_at, each.reopened = None, None, True
    return _written(row, along, "file.reopened", by, {"reason": reason, **before})


def _decide(verdict: str, decision: Decision, by: Actor, reason: str) -> Verdict:
    reason = _reason(reason)
    with transaction.atomic():
        row, others = _locked(verdict)
        if row.decision != _UNDECIDED:
            raise ConflictError(
                f"{row.decided_by or 'Somebody'} has {row.decision} it already. Look at it again."
            )
        if row.state != Screening.HELD:
            raise ConflictError("It is not held any more. Look at it again.")
        blocked = [each for each in others if each.state == Screening.BLOCKED]
        if decision is Decision.RELEASED and blocked:
            raise ConflictError(
                f"The same bytes are blocked as {blocked[0].filename or 'such'}: take that back first."
            )
        along = [each for each in others if decision is Decision.BLOCKED and each not in blocked]
        for each in (row, *along):
            each.state, each.decision, each.decision_reason = _STATES[decision], decision, reason
            each.decided_by_id, each.decided_at, each.reopened = by.pk, clock.now(), False
        told = {"reason": reason, "level": row.level, "score": row.score, "rules": rules(row.findings)}
        return _written(row, along, f"file.{decision}", by, told)


def rules(findings: Iterable[dict[str, Any]]) -> list[str]:
    """Which rules found something, each once: evidence that the ledger keeps when a verdict is written anew."""
    return sorted({str(found.get("rule", "")) for found in findings})


def _locked(verdict: str) -> tuple[Verdict, list[Verdict]]:
    """It, and those of the same bytes under other names."""
    rows = Verdict.objects.select_for_update(of=("self",)).select_related("decided_by").order_by("pk")
    same = rows.filter(sha256__in=Verdict.objects.filter(pk=verdict).values("sha256"))
    found = {row.pk: row for row in same}
    row = found.pop(verdict, None)
    if row is None:
        raise NotFoundError("Screening knows no such file.")
    return row, list(found.values())


def _written(row: Verdict, along: Sequence[Verdict], action: str, by: Actor, data: dict[str, Any]) -> Verdict:
    """`along`: what the same was decided about, since it is the same bytes."""
    fields = ["state", "decision", "decision_reason", "decided_by", "decided_at", "reopened"]
    for each in (row, *along):
        each.save(update_fields=fields)
    named = {name: getattr(row, name) for name in ("ecosystem", "project", "version", "filename")}
    also = {"also": [f"{each.ecosystem}:{each.project}:{each.filename}" for each in along]} if along else {}
    record(actor=by, action=action, subject=f"file:{row.sha256}", data=named | data | also)
    return row


def _reason(text: str) -> str:
    reason = text.replace("\0", "").strip()
    if not reason:
        raise InvalidInputError("Say why: the other approvers and auditors read it.")
    if len(reason) > LONGEST_REASON:
        raise InvalidInputError(f"The reason is longer than {LONGEST_REASON} characters.")
    return reason
