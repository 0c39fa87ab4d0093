"""Whether a sandbox is still where it was made."""

from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.spec import NamespaceState
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.moves import start_ending


def home(sandbox: Sandbox, cluster: Cluster) -> NamespaceState | None:
    """Its namespace, by name and UID, whatever its labels say. None: somebody else deleted it, and that ends it."""
    state = cluster.namespace(sandbox.namespace or "")
    if state is not None and state.uid == sandbox.namespace_uid and state.phase == "Active":
        return state
    start_ending(sandbox, reason="its namespace was deleted by somebody else")
    return None


def is_gone(sandbox: Sandbox, cluster: Cluster) -> bool:
    """Ends a sandbox whose namespace somebody else deleted, hold or not; whether this one did."""
    return home(sandbox, cluster) is None
