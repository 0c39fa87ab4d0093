"""/requests: ask for a sandbox, see what came of it, decide, withdraw."""

from datetime import datetime, timedelta
from enum import StrEnum

from django.http import HttpResponse
from ninja import Query, Router, Status
from ninja import Schema as Output

from portal.accounts.permissions import Permission
from portal.api.auth import ApiRequest, Bearer
from portal.api.fields import Input, NewestFirst, Text, duration, newest
from portal.approvals import services
from portal.approvals.drafts import format_duration, parse_draft
from portal.approvals.models import Decision, Request, State
from portal.approvals.queries import request_for, requests_visible

router = Router(tags=["requests"])
ask = Bearer(Permission.REQUEST_SANDBOX)
see = Bearer(Permission.REQUEST_SANDBOX, Permission.DECIDE_REQUESTS, Permission.READ_LEDGER)
decide = Bearer(Permission.DECIDE_REQUESTS)


class NewRequest(Input):
    """`duration` is ISO 8601, such as "PT4H" or "P7D", counted from when the sandbox is ready."""

    profile: Text
    purpose: Text
    tools: list[Text] = []
    duration: Text
    data_class: Text
    answers: dict[Text, Text] = {}


class Choice(StrEnum):
    APPROVE = "approve"
    DENY = "deny"


class NewDecision(Input):
    """`duration`, when given, shortens what was asked for. A denial needs a reason."""

    decision: Choice
    reason: Text = ""
    duration: Text | None = None


class DecisionOut(Output):
    """`by` is null when policy decided; `duration` is what was granted."""

    by: str | None
    approved: bool
    reasons: list[str]
    duration: str
    at: datetime


class EgressAskedOut(Output):
    """The way out that was asked for: one of `host` and `cidr` is empty."""

    host: str
    cidr: str
    port: int
    until: datetime


class RequestOut(Output):
    """`reasons` is what policy said; `sandbox` is the sandbox's id once there is one.

    `egress` is null but for a request of kind "egress".
    """

    id: int
    kind: str
    state: State
    requester: str
    profile: str
    purpose: str
    tools: list[str]
    duration: str
    data_class: str
    answers: dict[str, str]
    reasons: list[str]
    decision: DecisionOut | None
    sandbox: int | None
    egress: EgressAskedOut | None
    created_at: datetime


class QuotaLineOut(Output):
    """One limit that applies, in words; `remedy` says what would have to end where it does not fit."""

    text: str
    fits: bool
    remedy: str


class QuotaOut(Output):
    """Whether there is room at this moment. If not, an approved request waits in the queue at `position`."""

    fits: bool
    position: int | None
    lines: list[QuotaLineOut]


class PreviewOut(Output):
    """What policy would say now ("approve", "deny" or "ask"), and what the quotas do."""

    outcome: str
    reasons: list[str]
    quota: QuotaOut


class RequestFilter(NewestFirst):
    state: State | None = None


@router.post("", auth=ask, response={201: RequestOut})
def create_request(request: ApiRequest, payload: NewRequest, response: HttpResponse) -> Status[RequestOut]:
    """Ask for a sandbox. Policy answers at once: approved, denied, or pending until an approver decides."""
    asked = services.submit(by=request.auth, draft=parse_draft(**payload.model_dump()))
    response["Location"] = f"{request.path}/{asked.pk}"
    return Status(201, shown(request_for(request.auth, asked.pk)))


@router.post("/preview", auth=ask, response=PreviewOut)
def preview_request(request: ApiRequest, payload: NewRequest) -> PreviewOut:
    """What would come of asking now: policy's verdict, and the arithmetic of the quotas. Nothing is written."""
    draft = parse_draft(**payload.model_dump())
    verdict = services.preview(by=request.auth, draft=draft)
    room = services.room(by=request.auth, draft=draft)
    quota = QuotaOut(
        fits=room.fits,
        position=room.position,
        lines=[QuotaLineOut(text=line.text, fits=line.fits, remedy=line.remedy) for line in room.lines],
    )
    return PreviewOut(outcome=verdict.outcome, reasons=list(verdict.reasons), quota=quota)


@router.get("", auth=see, response=list[RequestOut])
def list_requests(
    request: ApiRequest, page: Query[RequestFilter], response: HttpResponse
) -> list[RequestOut]:
    """One's own requests, or everybody's for approvers and auditors; the newest first."""
    rows = requests_visible(request.auth)
    if page.state is not None:
        rows = rows.filter(state=page.state)
    return [shown(row) for row in newest(rows, page, request, response)]


@router.get("/{int:request_id}", auth=see, response=RequestOut)
def read_request(request: ApiRequest, request_id: int) -> RequestOut:
    return shown(request_for(request.auth, request_id))


@router.post("/{int:request_id}/decision", auth=decide, response=RequestOut)
def decide_request(request: ApiRequest, request_id: int, payload: NewDecision) -> RequestOut:
    """Approve or deny. Of two decisions at once the second is refused with 409."""
    asked = request_for(request.auth, request_id)
    granted = _granted(payload)
    approve = payload.decision is Choice.APPROVE
    services.decide(asked.pk, by=request.auth, approve=approve, reason=payload.reason, duration=granted)
    return shown(request_for(request.auth, asked.pk))


@router.post("/{int:request_id}/withdraw", auth=ask, response=RequestOut)
def withdraw_request(request: ApiRequest, request_id: int) -> RequestOut:
    """Take back one's own request while it is pending."""
    asked = request_for(request.auth, request_id)
    services.withdraw(asked.pk, by=request.auth)
    return shown(request_for(request.auth, asked.pk))


def shown(asked: Request) -> RequestOut:
    """A request, as `requests_visible` loads it, for the one who may see it."""
    decision: Decision | None = getattr(asked, "decision", None)
    return RequestOut(
        id=asked.pk,
        kind=asked.kind,
        state=State(asked.state),
        requester=asked.requester.username,
        profile=asked.profile,
        purpose=asked.purpose,
        tools=asked.tools,
        duration=format_duration(asked.duration),
        data_class=asked.data_class,
        answers=asked.answers,
        reasons=asked.reasons,
        decision=_decision(decision) if decision else None,
        sandbox=asked.sandbox_id,
        egress=EgressAskedOut(**asked.egress) if asked.egress else None,
        created_at=asked.created_at,
    )


def _decision(decision: Decision) -> DecisionOut:
    return DecisionOut(
        by=decision.by.username if decision.by else None,
        approved=decision.approved,
        reasons=decision.reasons,
        duration=format_duration(decision.duration),
        at=decision.at,
    )


def _granted(payload: NewDecision) -> timedelta | None:
    return None if payload.duration is None else duration(payload.duration)
