"""Sleep: a sandbox in which nothing runs, while its lease goes on."""

from datetime import timedelta

from sandboxes.lifecycle.models import Sandbox


def take(sandbox: Sandbox) -> timedelta | None:
    """One step of a sandbox that is hibernated."""
    raise NotImplementedError
