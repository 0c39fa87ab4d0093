"""Sleep: a sandbox in which nothing runs, while its lease goes on.

By click, or by itself when it is idle (`sleeping`). Asleep means that no pod is left, seen
and not assumed: `hibernated_at` is set then. Waking is one click and leads through the proof
of the seal; name, lease and token are the same as before. **The files are not**: a workspace
keeps them beside its pod, and there is no disk that outlives it. That is said before the
click, and nothing falls asleep by itself unless its profile says so (`hibernateAfter`). A
sandbox under a legal hold does not sleep at all, for its files are what is held.
"""

from django.db import transaction

from sandboxes.audit.services import Actor
from sandboxes.errors import ConflictError, RefusedError
from sandboxes.lifecycle import clock, holds
from sandboxes.lifecycle.locking import locked
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.moves import move
from sandboxes.lifecycle.phases import Phase


def hibernate(sandbox_id: int, *, by: Actor | None, reason: str = "asked for") -> Sandbox:
    """Puts a ready sandbox to sleep, files and all. Again on one that sleeps: nothing changes."""
    with transaction.atomic():
        sandbox = locked(sandbox_id)
        if sandbox.phase == Phase.HIBERNATED:
            return sandbox
        if sandbox.phase != Phase.READY:
            raise ConflictError(
                f"Only a sandbox that is ready can be put to sleep; this one is {sandbox.phase}."
            )
        if holds.held(sandbox):
            raise RefusedError(f"{holds.sentence(sandbox)} Its files would be lost, so it stays awake.")
        move(sandbox, Phase.HIBERNATED, actor=by, data={"reason": reason}, hibernated_at=None)
    return sandbox


def wake(sandbox_id: int, *, by: Actor) -> Sandbox:
    """Begins to open a sleeping sandbox again. Again on one that is awake: nothing changes."""
    with transaction.atomic():
        sandbox = locked(sandbox_id)
        awake = sandbox.phase == Phase.READY or (sandbox.phase == Phase.PROBING and sandbox.ready_at)
        if awake:
            return sandbox
        if sandbox.phase != Phase.HIBERNATED:
            raise ConflictError(f"This sandbox is {sandbox.phase}, not asleep.")
        move(
            sandbox, Phase.PROBING, actor=by, hibernated_at=None, inspect_due=True, last_active_at=clock.Now()
        )
    return sandbox
