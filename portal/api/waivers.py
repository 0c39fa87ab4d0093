"""/waivers: dated exceptions from package policy, and /waivers/why, what is refused and by which rule."""

from datetime import datetime
from enum import StrEnum

from django.http import HttpResponse
from ninja import Query, Router, Status
from ninja import Schema as Output
from pydantic import Field

from portal.accounts.permissions import Permission
from portal.api.auth import ApiRequest, Bearer
from portal.api.fields import Input, NewestFirst, RowId, Text, newest
from portal.approvals import queries, waivers, why
from portal.approvals.waiver_queries import needs_admin, waiver_for, waivers_visible
from sandboxes.index.models import Waiver
from sandboxes.index.policy.decide import Verdict
from sandboxes.index.policy.facts import Ecosystem
from sandboxes.index.policy.rules import Rule
from sandboxes.index.policy.waivers import Scope, Subject
from sandboxes.lifecycle import clock

router = Router(tags=["waivers"])
ask = Bearer(Permission.REQUEST_SANDBOX)
see = Bearer(Permission.REQUEST_SANDBOX, Permission.DECIDE_REQUESTS, Permission.READ_LEDGER)
decide = Bearer(Permission.DECIDE_REQUESTS)
smash = Bearer(Permission.BREAK_GLASS)


class What(Input):
    """`version` "" is every version. `until` is ISO 8601: a moment, a day or a duration from now."""

    ecosystem: Ecosystem = Ecosystem.PYPI
    project: Text
    version: Text = ""
    scope: Scope = Scope.SANDBOX
    sandbox: RowId | None = None
    until: Text = ""
    reason: Text


class NewWaiver(What):
    """`sandbox` is where it is needed, one of one's own; scopes "sandbox" and "department" need it.

    30 days, if `until` is empty.
    """

    rule: Rule


class NewBreakGlass(What):
    """Four hours, if `until` is empty, and a day at most."""


class Decider(StrEnum):
    """Who grants waivers from a rule: an approver (or an admin), or only an admin."""

    APPROVER = "approver"
    ADMIN = "admin"


class WaiverState(StrEnum):
    """A granted one holds until its date."""

    ASKED = "asked"
    GRANTED = "granted"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    ENDED = "ended"


class WaiverChoice(StrEnum):
    GRANT = "grant"
    REFUSE = "refuse"


class NewWaiverDecision(Input):
    """`until` and `scope`, when given, grant less than what was asked for. Refusing needs a reason."""

    decision: WaiverChoice
    reason: Text = ""
    until: Text = ""
    scope: Scope | None = None


class EndReason(Input):
    """Why it ends before its date; whoever asked for it reads it."""

    reason: Text


class WaiverOut(Output):
    """`rule` "" is every rule, `version` "" every version.

    `subject` is the sandbox's number, the person's, or the department. `granted_by` is the role that it takes.
    """

    id: int
    ecosystem: Ecosystem
    project: str
    version: str
    rule: str
    scope: Scope
    subject: str
    sandbox: int | None
    state: WaiverState
    break_glass: bool
    granted_by: Decider
    reason: str
    asked_by: str
    asked_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    note: str
    until: datetime


class WaiverFilter(NewestFirst):
    """`holding`: only those that hold now."""

    state: WaiverState | None = None
    project: Text = ""
    holding: bool = False


class WhyQuery(Input):
    """Without a sandbox: by the policy that everybody has."""

    ecosystem: Ecosystem = Ecosystem.PYPI
    project: Text
    version: Text = Field(min_length=1)
    sandbox: RowId | None = None


class FindingOut(Output):
    """`until`: when the rule stops speaking against it by itself; null: it does not."""

    rule: str
    reason: str
    until: datetime | None


class FileOut(Output):
    filename: str
    verdict: Verdict
    findings: list[FindingOut]
    waivers: list[int]


class WhyOut(Output):
    """`opens`: when the first file is given by itself. `instead`: the newest version that is given.

    `needed`: the rules of which each takes a waiver; `granted_by`: the role that can grant all of these, null when
    waivers do not open it.
    """

    ecosystem: Ecosystem
    project: str
    version: str
    listed: bool
    given: bool
    waivable: bool
    needed: list[Rule]
    granted_by: Decider | None
    opens: datetime | None
    instead: str
    files: list[FileOut]


@router.get("", auth=see, response=list[WaiverOut])
def list_waivers(request: ApiRequest, page: Query[WaiverFilter], response: HttpResponse) -> list[WaiverOut]:
    """One's own, or everybody's for approvers and auditors; the newest first."""
    rows = waivers_visible(request.auth)
    if page.state is not None:
        rows = rows.filter(state=page.state)
    if page.project:
        rows = rows.filter(project=page.project)
    if page.holding:
        rows = rows.filter(state=WaiverState.GRANTED, until__gt=clock.Now())
    return [shown(row) for row in newest(rows, page, request, response)]


@router.post("", auth=ask, response={201: WaiverOut})
def ask_waiver(request: ApiRequest, payload: NewWaiver, response: HttpResponse) -> Status[WaiverOut]:
    """Ask for a waiver. An approver decides, or an admin: `granted_by` says who."""
    [waiver] = waivers.ask(by=request.auth, typed=_typed(payload), rules=[payload.rule])
    response["Location"] = f"{request.path}/{waiver.pk}"
    return Status(201, shown(waiver_for(request.auth, waiver.pk)))


@router.post("/break-glass", auth=smash, response={201: WaiverOut})
def break_glass(request: ApiRequest, payload: NewBreakGlass) -> Status[WaiverOut]:
    """Open it at once against every rule but `internal-name`. **Loud**: an alarm stays open until it is over."""
    waiver = waivers.break_glass(by=request.auth, typed=_typed(payload))
    return Status(201, shown(waiver_for(request.auth, waiver.pk)))


@router.get("/why", auth=see, response=WhyOut)
def explain(request: ApiRequest, what: Query[WhyQuery]) -> WhyOut:
    """What speaks against each file of a version in a sandbox, by the same decision that the index makes."""
    me = request.auth
    sandbox = queries.sandbox_for(me, what.sandbox) if what.sandbox is not None else None
    subject = why.subject_of(sandbox) if sandbox else Subject(0, me.pk, me.department, "")
    about = waivers.about(what.ecosystem, what.project, what.version)
    found = why.Reader(clock.now()).explain(about, subject)
    return WhyOut(
        ecosystem=about.ecosystem,
        project=about.project,
        version=about.version,
        listed=found.listed,
        given=found.given,
        waivable=found.waivable,
        needed=[] if found.given else found.needed,
        granted_by=_decider(found),
        opens=None if found.given else found.opens,
        instead=found.instead,
        files=[_file(one) for one in found.files],
    )


@router.get("/{int:waiver_id}", auth=see, response=WaiverOut)
def read_waiver(request: ApiRequest, waiver_id: int) -> WaiverOut:
    return shown(waiver_for(request.auth, waiver_id))


@router.post("/{int:waiver_id}/decision", auth=decide, response=WaiverOut)
def decide_waiver(request: ApiRequest, waiver_id: int, payload: NewWaiverDecision) -> WaiverOut:
    """Grant or refuse. Nobody decides their own; of two decisions at once the second is refused with 409.

    What takes an admin (`granted_by`) an approver can but refuse.
    """
    waivers.decide(
        waiver_id,
        by=request.auth,
        grant=payload.decision is WaiverChoice.GRANT,
        reason=payload.reason,
        until=payload.until,
        scope=payload.scope or "",
    )
    return shown(waiver_for(request.auth, waiver_id))


@router.post("/{int:waiver_id}/withdraw", auth=ask, response=WaiverOut)
def withdraw_waiver(request: ApiRequest, waiver_id: int) -> WaiverOut:
    """Take back what nobody has decided."""
    waivers.withdraw(waiver_id, by=request.auth)
    return shown(waiver_for(request.auth, waiver_id))


@router.post("/{int:waiver_id}/end", auth=see, response=WaiverOut)
def end_waiver(request: ApiRequest, waiver_id: int, payload: EndReason) -> WaiverOut:
    """End it before its date: whoever asked for it, and approvers."""
    waivers.end(waiver_id, by=request.auth, reason=payload.reason)
    return shown(waiver_for(request.auth, waiver_id))


def shown(row: Waiver) -> WaiverOut:
    return WaiverOut(
        id=row.pk,
        ecosystem=Ecosystem(row.ecosystem),
        project=row.project,
        version=row.version,
        rule=row.rule,
        scope=Scope(row.scope),
        subject=row.subject,
        sandbox=row.sandbox_id,
        state=WaiverState(row.state),
        break_glass=row.break_glass,
        granted_by=Decider.ADMIN if row.break_glass or needs_admin(row) else Decider.APPROVER,
        reason=row.reason,
        asked_by=row.asked_by.username,
        asked_at=row.asked_at,
        decided_by=row.decided_by.username if row.decided_by else None,
        decided_at=row.decided_at,
        note=row.note,
        until=row.until,
    )


def _decider(found: why.Explanation) -> Decider | None:
    if found.given or not found.waivable:
        return None
    return Decider.ADMIN if found.needs_admin else Decider.APPROVER


def _typed(payload: What) -> waivers.Typed:
    return waivers.Typed(
        ecosystem=payload.ecosystem,
        project=payload.project.strip(),
        version=payload.version,
        scope=payload.scope,
        reason=payload.reason,
        until=payload.until,
        sandbox=payload.sandbox,
    )


def _file(one: why.FileAnswer) -> FileOut:
    return FileOut(
        filename=one.file.filename,
        verdict=one.decision.verdict,
        findings=[
            FindingOut(rule=finding.rule, reason=finding.reason, until=finding.until)
            for finding in one.decision.findings
        ],
        waivers=sorted({waiver.id for _, waiver in one.decision.waived}),
    )
