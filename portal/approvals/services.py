"""Requests and decisions. Each service writes its rows and ledger entry in one transaction.

Locks are taken in one order everywhere, each only where it is needed: the person
(how many sandboxes they have), the request, the sandbox, and last, inside
`audit.record`, the ledger.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from portal.accounts.models import User
from portal.accounts.permissions import Permission
from portal.approvals.drafts import Draft, DraftError
from portal.approvals.durations import SHORTEST, format_duration, words
from portal.approvals.egress import EgressDraft, Typed, as_json, parse_egress, until_of, way_of
from portal.approvals.models import Decision, Kind, Request, State
from portal.approvals.policy import Facts, Verdict
from portal.approvals.policy import decide as policy_decide
from portal.approvals.profiles import all_profiles
from portal.approvals.queries import may_end_egress, sandbox_for
from portal.approvals.rules import active_rules
from sandboxes.audit.services import record
from sandboxes.errors import ConflictError, InvalidInputError, NotFoundError, RefusedError
from sandboxes.lifecycle import clock, egress, quota
from sandboxes.lifecycle import services as lifecycle
from sandboxes.lifecycle.locking import locked
from sandboxes.lifecycle.models import EgressException, Sandbox
from sandboxes.lifecycle.phases import LIVE, Phase
from sandboxes.lifecycle.queries import live_count
from sandboxes.lifecycle.quota import Arithmetic

_MOST_WAITING = 10  # ways out of one sandbox that wait for a decision


def preview(*, by: User, draft: Draft) -> Verdict:
    """What policy would say to this draft now, and why. Writes nothing."""
    return policy_decide(_facts(by, draft), active_rules())


def room(*, by: User, draft: Draft) -> Arithmetic:
    """Whether there is room now, by every quota that applies. No part of the verdict: full means queued."""
    return quota.arithmetic(by, by.department, draft.profile)


def submit(*, by: User, draft: Draft) -> Request:
    """Writes the request and what policy says to it; an approval opens the sandbox in the same transaction."""
    _require(by, Permission.REQUEST_SANDBOX)
    with transaction.atomic():
        _lock_person(by)
        verdict = preview(by=by, draft=draft)
        request = Request.objects.create(
            kind=Kind.SANDBOX,
            requester=by,
            profile=draft.profile,
            purpose=draft.purpose,
            tools=list(draft.tools),
            duration=draft.duration,
            data_class=draft.data_class,
            answers=draft.answers,
            reasons=list(verdict.reasons),
            rule=verdict.rule,
        )
        _apply(request, verdict)
    return request


def extend(sandbox_id: int, *, by: User, duration: timedelta, reason: str) -> Request:
    """Asks for more time: a request of its own, decided like any other."""
    _require(by, Permission.REQUEST_SANDBOX)
    if not reason.strip():
        raise InvalidInputError("Say why more time is needed.")
    with transaction.atomic():
        _lock_person(by)
        sandbox = Sandbox.objects.select_for_update(no_key=True).filter(pk=sandbox_id, owner=by).first()
        if sandbox is None:
            raise NotFoundError("You have no such sandbox.")
        _check_extension(sandbox, duration)
        verdict = policy_decide(_extension_facts(sandbox, duration), active_rules())
        request = Request.objects.create(
            kind=Kind.EXTENSION,
            requester=by,
            profile=sandbox.profile,
            purpose=reason.strip(),
            tools=sandbox.tools,
            duration=duration,
            data_class=sandbox.data_class,
            sandbox=sandbox,
            reasons=list(verdict.reasons),
            rule=verdict.rule,
        )
        _apply(request, verdict)
    return request


def ask_egress(sandbox_id: int, *, by: User, typed: Typed) -> Request:
    """Asks for a way out of one's own sandbox, which holds until a date within its lease."""
    _require(by, Permission.REQUEST_SANDBOX)
    with transaction.atomic():
        _lock_person(by)
        sandbox = Sandbox.objects.select_for_update(no_key=True).filter(pk=sandbox_id, owner=by).first()
        if sandbox is None:
            raise NotFoundError("You have no such sandbox.")
        now = clock.now()
        draft = parse_egress(
            typed,
            now=now,
            lease_end=egress.check_open_to(sandbox),
            proxied=bool(settings.EGRESS_PROXY_URL),
        )
        _check_egress(sandbox, draft)
        verdict = policy_decide(_egress_facts(sandbox, draft, now), active_rules())
        request = Request.objects.create(
            kind=Kind.EGRESS,
            requester=by,
            profile=sandbox.profile,
            purpose=draft.reason,
            tools=sandbox.tools,
            duration=_whole(draft.until - now),
            data_class=sandbox.data_class,
            sandbox=sandbox,
            egress=as_json(draft),
            reasons=list(verdict.reasons),
            rule=verdict.rule,
        )
        _apply(request, verdict)
    return request


def end_egress(exception_id: int, *, sandbox_id: int, by: User) -> EgressException:
    """Ends a way out: the sandbox's owner, an approver or an admin may, at any time."""
    sandbox = sandbox_for(by, sandbox_id)
    if not may_end_egress(by, sandbox):
        raise RefusedError("This sandbox’s ways out are not yours to end.")
    if not EgressException.objects.filter(pk=exception_id, sandbox=sandbox).exists():
        raise NotFoundError("This sandbox has no such way out.")
    return egress.end(exception_id, by)


def decide(
    request_id: int, *, by: User, approve: bool, reason: str, duration: timedelta | None = None
) -> Request:
    """An approver's decision. Of two at once one wins, and ConflictError tells the other who did."""
    _require(by, Permission.DECIDE_REQUESTS)
    reason = reason.strip()
    if not approve and not reason:
        raise InvalidInputError("Say why it is denied: the person who asked will read it.")
    with transaction.atomic():
        request = _locked(request_id)
        if request.requester_id == by.pk:
            raise RefusedError("Nobody decides on their own request; another approver has to.")
        if request.state != State.PENDING:
            raise ConflictError(_already(request))
        reasons = [reason] if reason else ["Approved without a remark."]
        _close(request, approve=approve, by=by, reasons=reasons, granted=_granted(request, duration))
    return request


def withdraw(request_id: int, *, by: User) -> Request:
    """The requester takes a pending request back."""
    with transaction.atomic():
        request = _locked(request_id)
        if request.requester_id != by.pk:
            raise RefusedError("Only the person who asked can withdraw a request.")
        if request.state != State.PENDING:
            raise ConflictError(_already(request))
        request.state = State.WITHDRAWN
        request.save(update_fields=["state"])
        record(actor=by, action="request.withdrawn", subject=f"request:{request.pk}")
    return request


def end(sandbox_id: int, *, by: User) -> Sandbox:
    """Ends one's own sandbox, or anybody's with the permission. Asking again while it ends changes nothing.

    What is isolated may be evidence against its owner, who does not end it, whatever their role.
    """
    sandbox = sandbox_for(by, sandbox_id)
    own = sandbox.owner_id == by.pk
    if not by.may(Permission.END_ANY_SANDBOX) and not (own and by.may(Permission.REQUEST_SANDBOX)):
        raise RefusedError("This sandbox is not yours to end.")
    with transaction.atomic():  # with its row locked, lest it is isolated meanwhile
        if own and locked(sandbox_id).phase == Phase.ISOLATED:
            raise RefusedError(
                "This sandbox is isolated and kept as it is; an approver can end it, but never its owner."
            )
        return lifecycle.end(sandbox_id, by=by)


def _require(by: User, permission: Permission) -> None:
    if not by.may(permission):
        raise RefusedError(f"Your role ({by.role}) does not allow this.")


def _lock_person(person: User) -> None:
    """Two requests of one person are counted one after the other, never both as the last free one."""
    User.objects.select_for_update(no_key=True).get(pk=person.pk)


def _locked(request_id: int) -> Request:
    rows = Request.objects.select_for_update(no_key=True, of=("self",)).select_related("requester", "sandbox")
    request = rows.filter(pk=request_id).first()
    if request is None:
        raise NotFoundError("There is no such request.")
    return request


def _facts(person: User, draft: Draft) -> Facts:
    profile = all_profiles()[draft.profile]
    return Facts(
        kind=Kind.SANDBOX,
        profile=profile.name,
        risk=profile.risk,
        gpu=profile.gpu > 0,
        data_class=draft.data_class,
        duration=draft.duration,
        live=live_count(person.pk) + 1,
    )


def _extension_facts(sandbox: Sandbox, add: timedelta) -> Facts:
    profile = all_profiles().get(sandbox.profile)
    return Facts(
        kind=Kind.EXTENSION,
        profile=sandbox.profile,
        risk=profile.risk if profile else "unknown",  # a profile no longer offered matches no rule: ask
        gpu=bool(profile and profile.gpu),
        data_class=sandbox.data_class,
        duration=sandbox.lease + add,
        live=live_count(sandbox.owner_id),
    )


def _egress_facts(sandbox: Sandbox, draft: EgressDraft, now: datetime) -> Facts:
    profile = all_profiles().get(sandbox.profile)
    return Facts(
        kind=Kind.EGRESS,
        profile=sandbox.profile,
        risk=profile.risk if profile else "unknown",
        gpu=bool(profile and profile.gpu),
        data_class=sandbox.data_class,
        duration=_whole(draft.until - now),
        live=live_count(sandbox.owner_id),
        way=draft.way,
    )


def _check_egress(sandbox: Sandbox, draft: EgressDraft) -> None:
    try:
        egress.check_way(sandbox, draft.way)
    except InvalidInputError as error:
        raise DraftError({"cidr": str(error)}) from error
    waiting = sandbox.requests.filter(kind=Kind.EGRESS, state=State.PENDING)
    if any(way_of(kept) == draft.way for kept in waiting.values_list("egress", flat=True)):
        raise ConflictError(f"{draft.way} waits for a decision already.")
    if waiting.count() >= _MOST_WAITING:
        raise ConflictError(f"{_MOST_WAITING} ways out of this sandbox wait for a decision already.")


def _whole(length: timedelta) -> timedelta:
    """In whole seconds: nobody reads the rest."""
    return timedelta(seconds=round(length.total_seconds()))


def _check_extension(sandbox: Sandbox, add: timedelta) -> None:
    if sandbox.phase not in LIVE:
        raise ConflictError(f"This sandbox is {sandbox.phase}; only a live one can be extended.")
    if sandbox.requests.filter(kind=Kind.EXTENSION, state=State.PENDING).exists():
        raise ConflictError("An extension of this sandbox waits for a decision already.")
    if add > lifecycle.LONGEST - sandbox.lease:
        raise InvalidInputError(lifecycle.TOO_LONG)
    profile = all_profiles().get(sandbox.profile)
    if profile and sandbox.lease + add > profile.max_duration:
        left = max(profile.max_duration - sandbox.lease, timedelta())
        hint = f"at most {words(left)} can be added" if left >= SHORTEST else "nothing can be added"
        raise InvalidInputError(
            f"{profile.title} is offered for at most {words(profile.max_duration)} in all, so {hint}."
        )


def _apply(request: Request, verdict: Verdict) -> None:
    """Policy's verdict: approved or denied at once, or left for an approver."""
    if verdict.outcome == "ask":
        record(
            actor=request.requester,
            action="request.submitted",
            subject=f"request:{request.pk}",
            data=_told(request),
        )
        return
    _close(
        request,
        approve=verdict.outcome == "approve",
        by=None,
        reasons=list(verdict.reasons),
        granted=request.duration,
        submitted=True,
    )


def _granted(request: Request, duration: timedelta | None) -> timedelta:
    """An approver may shorten what was asked, never lengthen it."""
    if duration is None:
        return request.duration
    if not SHORTEST <= duration <= request.duration:
        raise InvalidInputError(
            f"Grant between one minute and the {words(request.duration)} that were asked for."
        )
    return duration


def _close(
    request: Request,
    *,
    approve: bool,
    by: User | None,
    reasons: Sequence[str],
    granted: timedelta,
    submitted: bool = False,
) -> None:
    """State, decision, effect and ledger entries, with the request's row locked or new."""
    request.state = State.APPROVED if approve else State.DENIED
    decision = Decision.objects.create(
        request=request, by=by, approved=approve, reasons=list(reasons), duration=granted
    )
    if submitted:
        record(
            actor=request.requester,
            action="request.submitted",
            subject=f"request:{request.pk}",
            data=_told(request),
        )
    if approve:
        request.sandbox = _effect(request, granted, by)
    request.save(update_fields=["state", "sandbox"])
    data = {
        "reasons": decision.reasons,
        "duration": format_duration(granted),
        "rule": request.rule if by is None else None,
    }
    record(actor=by, action=f"request.{request.state}", subject=f"request:{request.pk}", data=data)


def _effect(request: Request, granted: timedelta, by: User | None) -> Sandbox:
    if request.kind == Kind.EXTENSION:
        assert request.sandbox_id is not None  # noqa: S101 -- an extension is always of a sandbox
        return lifecycle.extend(sandbox_id=request.sandbox_id, add=granted, by=by)
    if request.kind == Kind.EGRESS:
        return _open_way(request, granted, by)
    return lifecycle.open_sandbox(
        owner=request.requester,
        department=request.requester.department,
        profile=request.profile,
        lease=granted,
        data_class=request.data_class,
        tools=request.tools,
        by=by,
    )


def _open_way(request: Request, granted: timedelta, by: User | None) -> Sandbox:
    """Until the date asked for; shortened, for that long from now."""
    assert request.sandbox_id is not None  # noqa: S101 -- a way out is always of a sandbox
    until = until_of(request.egress)
    if granted < request.duration:
        until = min(until, clock.now() + granted)
    row = egress.grant(
        sandbox_id=request.sandbox_id, way=way_of(request.egress), reason=request.purpose, until=until, by=by
    )
    return row.sandbox


def _told(request: Request) -> dict[str, Any]:
    return {
        "kind": request.kind,
        "profile": request.profile,
        "purpose": request.purpose,
        "tools": request.tools,
        "duration": format_duration(request.duration),
        "data_class": request.data_class,
        "answers": request.answers,
        "reasons": request.reasons,
        "rule": request.rule,
        "sandbox": request.sandbox_id,
        **({"egress": request.egress} if request.egress else {}),
    }


def _already(request: Request) -> str:
    decision = Decision.objects.filter(request=request).select_related("by").first()
    if decision is None:
        return f"This request was {request.state} already."
    return f"This request was {request.state} already, by {decision.by or 'policy'}: {' '.join(decision.reasons)}"
