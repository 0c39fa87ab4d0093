"""Sandbox rows as the database holds them, for tests that need many and no cluster."""

from datetime import timedelta
from typing import Any

from portal.accounts.models import User
from sandboxes.lifecycle import clock
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import Phase

HOUR = timedelta(hours=1)


def ready(owner: User, **changes: Any) -> Sandbox:
    """One whose lease began an hour ago and has an hour to go."""
    now = clock.now()
    given = {
        "owner": owner,
        "profile": "python",
        "data_class": "public",
        "lease": 2 * HOUR,
        "phase": Phase.READY,
        "cluster": "simulated",
        "ready_at": now - HOUR,
        "expires_at": now + HOUR,
        "index_token_digest": "0" * 64,
        "next_check_at": now + HOUR,
    }
    return Sandbox.objects.create(**(given | changes))


def due(owner: User, **changes: Any) -> Sandbox:
    """One that somebody has to look at now."""
    return ready(owner, **({"next_check_at": clock.now()} | changes))
