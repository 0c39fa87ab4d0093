"""Isolation: a live sandbox cut off from network, access and packages, and kept as it is.

What is here takes a moment and needs no cluster: in one commit the phase changes and the index
token is revoked. That is for good: released, the sandbox gets another. A worker then cuts the
sandbox off where it runs (`cutting`): the network, the owner's access, the secrets, and all
that runs in its pods, which are frozen.

Why frozen: connections that were open go on without the policy that allowed them, and an
open shell goes on without its binding (both seen on a real cluster, see
`cluster.freezing`). Restarting the pods would end both, and delete the evidence with them.
A frozen pod runs nothing and keeps its files.

What remains: the files in the pod's volumes, on its node, for whoever may go there; the
logs of what ran, which are read at once and kept, as the network policies are that were
there (`securing`); the lease, which goes on and ends the sandbox as any other, unless a
legal hold stops it. What is lost: the memory of what ran. What this cannot reach: a packet
sent before the cut, a container that a cluster's admin attached by hand (it is named as
still running, and the cut is not called done), and a node that is not there to obey.

`release` opens it again by the way everything is opened: rendered anew, applied, proven.
Nothing is released by itself, not by enabling its owner again either.
"""

from typing import Final

from django.db import transaction

from sandboxes.audit.services import Actor, record
from sandboxes.errors import ConflictError, RefusedError
from sandboxes.lifecycle import alarms, clock, late, tokens
from sandboxes.lifecycle.locking import locked
from sandboxes.lifecycle.models import Isolation, Sandbox
from sandboxes.lifecycle.moves import move, start_ending
from sandboxes.lifecycle.phases import LIVE, Phase

ALARM: Final = "isolated"
OWNER_DISABLED: Final = "its owner was disabled"


def isolate(sandbox_id: int, *, by: Actor | None, reason: str) -> Sandbox:
    """Cuts a sandbox off; one that never opened is ended instead, there is nothing in it to keep.

    Again on one that is isolated: the reason is added. ConflictError when it is ending or over.
    """
    with transaction.atomic():
        sandbox = locked(sandbox_id)
        if sandbox.phase not in LIVE:
            raise ConflictError(f"This sandbox is {sandbox.phase}: it cannot be isolated any more.")
        if sandbox.phase == Phase.ISOLATED:
            _add_reason(sandbox, reason, by)
        elif sandbox.ready_at is None:
            start_ending(sandbox, reason=f"isolated before it opened: {reason}", actor=by)
        else:
            _cut_in_the_row(sandbox, reason, by)
    return sandbox


def isolate_all_of(owner_id: int, *, by: Actor | None, reason: str = OWNER_DISABLED) -> int:
    """Everything this person has live, in the caller's transaction; returns how many that was."""
    live = Sandbox.objects.filter(owner_id=owner_id, phase__in=LIVE).order_by("pk")
    ids = list(live.select_for_update(no_key=True).values_list("pk", flat=True))
    for sandbox_id in ids:
        isolate(sandbox_id, by=by, reason=reason)
    return len(ids)


def release(sandbox_id: int, *, by: Actor, reason: str) -> Sandbox:
    """Opens an isolated sandbox again, by proving its seal anew. ConflictError for any other phase."""
    with transaction.atomic():
        sandbox = locked(sandbox_id)
        if sandbox.phase != Phase.ISOLATED:
            raise ConflictError(f"This sandbox is {sandbox.phase}, not isolated.")
        if not sandbox.owner.is_active:
            raise RefusedError("Its owner is disabled; enable the person first.")
        alarms.clear(ALARM, _subject(sandbox), by=by)
        late.over(sandbox)
        data = {"reason": reason, "isolated_for": sandbox.isolation_reason}
        # The page of a sandbox that is open says nothing of an isolation; the ledger does.
        move(
            sandbox,
            Phase.PROBING,
            actor=by,
            data=data,
            inspect_due=True,
            isolated_at=None,
            isolation_reason="",
            cut_at=None,
            hibernated_at=None,
        )
    return sandbox


def _cut_in_the_row(sandbox: Sandbox, reason: str, by: Actor | None) -> None:
    alarms.alarm(ALARM, _subject(sandbox), _told(sandbox, reason))
    move(
        sandbox,
        Phase.ISOLATED,
        actor=by,
        data={"reason": reason, "from": sandbox.phase},
        isolated_at=clock.Now(),
        isolation_reason=reason,
        cut_at=None,
        **tokens.revocation(),
    )
    Isolation.objects.create(sandbox=sandbox)


def _add_reason(sandbox: Sandbox, reason: str, by: Actor | None) -> None:
    if reason in sandbox.isolation_reason.splitlines():
        return
    sandbox.isolation_reason = f"{sandbox.isolation_reason}\n{reason}"
    sandbox.save(update_fields=["isolation_reason"])
    alarms.alarm(ALARM, _subject(sandbox), _told(sandbox, sandbox.isolation_reason))
    record(actor=by, action="sandbox.isolation_noted", subject=_subject(sandbox), data={"reason": reason})


def _told(sandbox: Sandbox, reason: str) -> str:
    return f"{sandbox} of {sandbox.owner.get_username()} is isolated: {reason}"


def _subject(sandbox: Sandbox) -> str:
    return f"sandbox:{sandbox.pk}"
