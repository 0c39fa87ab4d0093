"""Whether an admin has paused the engine, and whom that concerns: whoever waits for it, and admins."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from portal.accounts.models import User
from portal.accounts.permissions import Permission
from sandboxes.lifecycle.models import EngineState, Sandbox
from sandboxes.lifecycle.phases import GOING, Phase

# Something has to be done for these before they are where their phase says, or go on.
_WAITS = (
    Q(phase__in=GOING | {Phase.QUEUED, Phase.PENDING, Phase.PROVISIONING, Phase.PROBING})
    | Q(phase=Phase.HIBERNATED, hibernated_at=None)
    | Q(phase=Phase.ISOLATED, cut_at=None)
)


@dataclass(frozen=True)
class Pause:
    """Since when and why. `waits`: a sandbox that the reader looks at, or that is theirs, waits for the end of it."""

    since: datetime | None
    reason: str
    waits: bool
    resumes: bool  # the reader may end it


def for_person(me: User) -> Pause | None:
    """For pages about nothing in particular. None: it runs, or none of theirs waits and they are no admin."""
    return _pause(me, Q(owner=me))


def for_sandbox(me: User, sandbox: Sandbox) -> Pause | None:
    """For the page of one sandbox."""
    return _pause(me, Q(pk=sandbox.pk))


def _pause(me: User, looked_at: Q) -> Pause | None:
    """One query while it runs, as it nearly always does."""
    state = EngineState.objects.filter(pk=1, paused=True).first()
    if state is None:
        return None
    waits = Sandbox.objects.filter(looked_at & _WAITS).exists()
    resumes = me.may(Permission.OPERATE)
    return Pause(state.paused_at, state.paused_reason, waits, resumes) if waits or resumes else None
