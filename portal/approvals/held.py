"""Held files: who may see them, and who decides about them.

An approver decides by the evidence; what they release, their own sandbox must not be what waits for it.
Taking back that somebody blocked a file is an admin's, as a waiver from it would be.
"""

from collections.abc import Sequence

from portal.accounts.models import User
from portal.accounts.permissions import Permission, refusal
from sandboxes.errors import RefusedError
from sandboxes.lifecycle.models import Sandbox
from sandboxes.screening import deciding, held
from sandboxes.screening.deciding import Decision
from sandboxes.screening.models import Verdict
from sandboxes.screening.words import Screening


def is_waiting(row: Verdict) -> bool:
    return row.state == Screening.HELD and not row.decision


def may_decide(viewer: User, row: Verdict) -> bool:
    return is_waiting(row) and viewer.may(Permission.DECIDE_REQUESTS)


def may_release(viewer: User, row: Verdict, waits: Sequence[Sandbox]) -> bool:
    return may_decide(viewer, row) and all(box.owner_id != viewer.pk for box in waits)


def may_reopen(viewer: User, row: Verdict) -> bool:
    needed = Permission.GRANT_ANY_WAIVER if row.decision == Decision.BLOCKED else Permission.DECIDE_REQUESTS
    return bool(row.decision) and viewer.may(needed)


def release(sha256: str, *, by: User, reason: str) -> Verdict:
    row = _file(sha256, by)
    if is_waiting(row) and not may_release(by, row, held.who_waits([row])[row.pk]):
        raise RefusedError("Your own sandbox waits for this file, so another approver has to release it.")
    return deciding.release(sha256, by, reason)


def block(sha256: str, *, by: User, reason: str) -> Verdict:
    return deciding.block(_file(sha256, by).pk, by, reason)


def reopen(sha256: str, *, by: User, reason: str) -> Verdict:
    row = _file(sha256, by)
    if row.decision and not may_reopen(by, row):
        raise RefusedError(refusal([Permission.GRANT_ANY_WAIVER]))
    return deciding.reopen(sha256, by, reason, was=row.decision)


def _file(sha256: str, by: User) -> Verdict:
    if not by.may(Permission.DECIDE_REQUESTS):
        raise RefusedError(refusal([Permission.DECIDE_REQUESTS]))
    return held.get(sha256)
