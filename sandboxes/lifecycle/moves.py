"""The one place where a sandbox's phase changes."""

from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Case, Q, When

from sandboxes.audit.services import Actor, record
from sandboxes.errors import ConflictError
from sandboxes.lifecycle import clock, hints, tokens
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import MOVES, Phase


def move(
    sandbox: Sandbox,
    to: Phase,
    *,
    actor: Actor | None = None,
    data: dict[str, Any] | None = None,
    next_check_at: datetime | None = None,
    only_if: dict[str, Any] | Q | None = None,
    **changes: Any,
) -> bool:
    """Compare-and-set from the phase `sandbox` was read in; True if this call won.

    `only_if` are further conditions on the row, as `filter` takes them. Times are the database's.

    The ledger entry is in the same transaction; the hint to a worker follows the
    commit. `next_check_at` None means at once, except in a phase that is over.
    """
    if to not in MOVES[Phase(sandbox.phase)]:
        raise ConflictError(f"A sandbox that is {sandbox.phase} cannot become {to}.")
    over = not MOVES[to]
    further = only_if if isinstance(only_if, Q) else Q(**(only_if or {}))
    with transaction.atomic():
        won = Sandbox.objects.filter(further, pk=sandbox.pk, phase=sandbox.phase).update(
            phase=to,
            phase_at=clock.Now(),
            attempts=0,
            last_error="",
            next_check_at=None if over else next_check_at or clock.Now(),
            **changes,
        )
        if not won:
            return False
        record(actor=actor, action=f"sandbox.{to}", subject=f"sandbox:{sandbox.pk}", data=data)
        if not over:
            hints.look_at(sandbox.pk)
    sandbox.refresh_from_db()
    return True


def start_ending(
    sandbox: Sandbox,
    *,
    reason: str,
    actor: Actor | None = None,
    failure: str = "",
    only_if: dict[str, Any] | Q | None = None,
) -> bool:
    """Into `ending`, from any live phase. The index token stops working with this very commit.

    With time left on its lease, and asked for by nobody (`actor` None), it counts for the
    breaker that stops mass deletions: see `switch`.
    """
    early = None if actor else Case(When(expires_at__gt=clock.Now(), then=clock.Now()))
    return move(
        sandbox,
        Phase.ENDING,
        actor=actor,
        only_if=only_if,
        data={"reason": reason, **({"failure": failure} if failure else {})},
        end_reason=reason,
        failure=failure,
        **tokens.revocation(),
        revoked_at=clock.Now(),
        early_end_at=early,
    )
