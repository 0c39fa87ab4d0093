"""Isolation: a live sandbox cut off from network, access and packages."""

from datetime import timedelta

from sandboxes.lifecycle.models import Sandbox


def take(sandbox: Sandbox) -> timedelta | None:
    """One step of a sandbox that is isolated."""
    raise NotImplementedError
