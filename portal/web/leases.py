"""What a page says of a sandbox's time: how much is left, or what that depends on. Pure."""

from dataclasses import dataclass
from datetime import datetime

from portal.approvals.durations import words
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import LIVE, Phase


@dataclass(frozen=True)
class Left:
    """`until` counts down; without it `text` stands there. `said` is what the one or the other means."""

    until: datetime | None
    text: str
    said: str


def left(sandbox: Sandbox, now: datetime) -> Left | None:
    """None where nothing is left of it, or nothing is known: it ends, or is over."""
    if sandbox.phase not in LIVE:
        return None
    if sandbox.ready_at is None or sandbox.expires_at is None:
        when = "once there is room" if sandbox.phase == Phase.QUEUED else "once it is ready"
        return Left(None, words(sandbox.lease), when)
    if sandbox.hold_until and sandbox.hold_until > max(now, sandbox.expires_at):
        return Left(sandbox.hold_until, "", "left, by a legal hold")
    if sandbox.expires_at <= now:
        return Left(None, "Over", "it ends now")
    return Left(sandbox.expires_at, "", f"left of {words(sandbox.lease)}")
