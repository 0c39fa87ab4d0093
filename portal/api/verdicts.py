"""/verdicts: what screening thinks of files, by the sha256 of their bytes, and what people decided about them."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from django.http import HttpResponse
from ninja import Query, Router
from ninja import Schema as Output

from portal.accounts.permissions import Permission
from portal.api.auth import ApiRequest, Bearer
from portal.api.fields import Input, Page, Text, link_next
from portal.approvals import held as approvals
from sandboxes.screening import held, scale
from sandboxes.screening.findings import Ability, Found, Level, Threat
from sandboxes.screening.models import Verdict
from sandboxes.screening.words import Screening

router = Router(tags=["verdicts"])
see = Bearer(Permission.DECIDE_REQUESTS, Permission.READ_LEDGER)
decide = Bearer(Permission.DECIDE_REQUESTS)


class VerdictState(StrEnum):
    """`passed` is given, also when it was warned of; `held` waits for a person; `blocked` is given to nobody."""

    UNKNOWN = "unknown"
    RUNNING = "running"
    PASSED = "passed"
    HELD = "held"
    BLOCKED = "blocked"


class VerdictDecision(StrEnum):
    RELEASED = "released"
    BLOCKED = "blocked"


class VerdictFilter(Page):
    """`after`: the sha256 that the page before ended with."""

    state: VerdictState = VerdictState.HELD
    after: Text = ""


class Evidence(Output):
    """One thing that was found: `path` and `line` inside the archive; 0 and "" stand for the whole."""

    rule: str
    ability: Ability
    threat: Threat
    why: str
    path: str
    line: int
    excerpt: str


class VerdictOut(Output):
    """`id`: the sha256, unless the same bytes were asked for under another name before; paths take it.

    `waits`: the live sandboxes that asked for it of late and did not get it."""

    id: str
    sha256: str
    state: VerdictState
    ecosystem: str
    project: str
    version: str
    filename: str
    level: Level | None
    score: int
    reason: str
    broken: str
    findings: list[Evidence]
    former_sha256: str
    screened_at: datetime
    waits: list[int]
    decision: VerdictDecision | None
    decision_reason: str
    decided_by: str | None
    decided_at: datetime | None


class Because(Input):
    """Why: the other approvers and auditors read it."""

    reason: Text


@router.get("", auth=see, response=list[VerdictOut])
def list_verdicts(
    request: ApiRequest, page: Query[VerdictFilter], response: HttpResponse
) -> list[VerdictOut]:
    """Those of a state, the newest first."""
    after = held.get(page.after) if page.after else None
    rows = list(held.in_state(Screening(page.state), after)[: page.limit + 1])
    if len(rows) > page.limit:
        rows.pop()
        link_next(request, response, after=rows[-1].pk)
    waits = held.who_waits(row for row in rows if approvals.is_waiting(row))
    return [_shown(row, [box.pk for box in waits.get(row.pk, [])]) for row in rows]


@router.get("/{str:sha256}", auth=see, response=VerdictOut)
def read_verdict(request: ApiRequest, sha256: str) -> VerdictOut:
    return _of(held.get(sha256))


@router.post("/{str:sha256}/release", auth=decide, response=VerdictOut)
def release_file(request: ApiRequest, sha256: str, payload: Because) -> VerdictOut:
    """It is given from now on. Of two decisions at once the second is refused with 409.

    Nobody releases what their own sandbox waits for.
    """
    return _of(approvals.release(sha256, by=request.auth, reason=payload.reason))


@router.post("/{str:sha256}/block", auth=decide, response=VerdictOut)
def block_file(request: ApiRequest, sha256: str, payload: Because) -> VerdictOut:
    """It is given to nobody any more."""
    return _of(approvals.block(sha256, by=request.auth, reason=payload.reason))


@router.post("/{str:sha256}/reopen", auth=decide, response=VerdictOut)
def reopen_file(request: ApiRequest, sha256: str, payload: Because) -> VerdictOut:
    """Take a decision back: the file is held again. Only an admin takes back that it was blocked."""
    return _of(approvals.reopen(sha256, by=request.auth, reason=payload.reason))


def _of(row: Verdict) -> VerdictOut:
    row = held.get(row.pk)  # with the name of whoever decided
    waits = held.who_waits([row]).get(row.pk, []) if approvals.is_waiting(row) else []
    return _shown(row, [box.pk for box in waits])


def _shown(row: Verdict, waits: list[int]) -> VerdictOut:
    return VerdictOut(
        id=row.pk,
        sha256=row.sha256,
        state=VerdictState(row.state),
        level=Level(row.level) if row.level else None,
        findings=[_evidence(found) for found in scale.found_in(row.findings)],
        screened_at=row.at,
        waits=waits,
        decision=VerdictDecision(row.decision) if row.decision else None,
        decided_by=row.decided_by.username if row.decided_by else None,
        **{name: getattr(row, name) for name in _PLAIN},
    )


_PLAIN = (
    *("ecosystem", "project", "version", "filename", "score", "reason", "broken", "former_sha256"),
    *("decision_reason", "decided_at"),
)


def _evidence(found: Found) -> Evidence:
    values: dict[str, Any] = {name: getattr(found, name) for name in Found.__struct_fields__}
    return Evidence(**values)
