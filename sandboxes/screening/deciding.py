"""What a person decides about a held file: released, blocked, or to be looked at again.

A decision is about bytes (their sha256), whatever they are called and wherever they come from, and a later
scan does not change it. The index learns of it by the table's trigger. Who may decide is the portal's to say.

Whoever decides says which state they saw, by what they call: of two decisions at once the second finds the
file decided, and is refused.
"""

from collections.abc import Iterable
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


def release(sha256: str, by: Actor, reason: str) -> Verdict:
    """It is given from now on, whatever screening finds in it. Raises `PetridishError`."""
    return _decide(sha256, Decision.RELEASED, by, reason)


def block(sha256: str, by: Actor, reason: str) -> Verdict:
    """It is given to nobody any more."""
    return _decide(sha256, Decision.BLOCKED, by, reason)


@transaction.atomic
def reopen(sha256: str, by: Actor, reason: str, *, was: str = "") -> Verdict:
    """Takes the decision back: the file is held again, until somebody decides anew.

    `was`: the decision that is meant; another one, made meanwhile, is left alone.
    """
    reason = _reason(reason)
    row = _locked(sha256)
    if was and row.decision and row.decision != was:
        raise ConflictError(
            f"{row.decided_by or 'Somebody'} has {row.decision} it meanwhile. Look at it again."
        )
    if row.decision == _UNDECIDED:
        raise ConflictError(
            f"Nobody has decided about {row.filename or 'this file'}, so nothing is taken back."
        )
    before = {"decision": row.decision, "decided_by": str(row.decided_by or ""), "was": row.decision_reason}
    row.state, row.decision, row.decision_reason = Screening.HELD, _UNDECIDED, ""
    row.decided_by_id = row.decided_at = None
    return _written(row, "file.reopened", by, {"reason": reason, **before})


def _decide(sha256: str, decision: Decision, by: Actor, reason: str) -> Verdict:
    reason = _reason(reason)
    with transaction.atomic():
        row = _locked(sha256)
        if row.decision != _UNDECIDED:
            raise ConflictError(
                f"{row.decided_by or 'Somebody'} has {row.decision} it already. Look at it again."
            )
        if row.state != Screening.HELD:
            raise ConflictError("It is not held any more. Look at it again.")
        row.state, row.decision, row.decision_reason = _STATES[decision], decision, reason
        row.decided_by_id, row.decided_at = by.pk, clock.now()
        told = {"reason": reason, "level": row.level, "score": row.score, "rules": rules(row.findings)}
        return _written(row, f"file.{decision}", by, told)


def rules(findings: Iterable[dict[str, Any]]) -> list[str]:
    """Which rules found something, each once: evidence that the ledger keeps when a verdict is written anew."""
    return sorted({str(found.get("rule", "")) for found in findings})


def _locked(sha256: str) -> Verdict:
    rows = Verdict.objects.select_for_update(of=("self",)).select_related("decided_by")
    row = rows.filter(pk=sha256).first()
    if row is None:
        raise NotFoundError("Screening knows no such file.")
    return row


def _written(row: Verdict, action: str, by: Actor, data: dict[str, Any]) -> Verdict:
    row.save(update_fields=["state", "decision", "decision_reason", "decided_by", "decided_at"])
    named = {name: getattr(row, name) for name in ("ecosystem", "project", "version", "filename")}
    record(actor=by, action=action, subject=f"file:{row.sha256}", data=named | data)
    return row


def _reason(text: str) -> str:
    reason = text.replace("\0", "").strip()
    if not reason:
        raise InvalidInputError("Say why: the other approvers and auditors read it.")
    if len(reason) > LONGEST_REASON:
        raise InvalidInputError(f"The reason is longer than {LONGEST_REASON} characters.")
    return reason
