"""How long a provision may take."""

from django.conf import settings

from sandboxes.errors import PermanentError
from sandboxes.lifecycle import clock, clusters
from sandboxes.lifecycle.models import Sandbox


def check_deadline(sandbox: Sandbox) -> None:
    """Only a cluster that answers uses up the deadline, so it is asked before the sandbox fails."""
    if clock.now() - sandbox.phase_at <= settings.PROVISION_DEADLINE:
        return
    clusters.get(sandbox.cluster).info()
    minutes = int(settings.PROVISION_DEADLINE.total_seconds() // 60)
    raise PermanentError(f"It was not ready after {minutes} minutes. {sandbox.last_error}".strip())
