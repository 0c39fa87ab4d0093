"""What happened in one sandbox while something ran: downloads by no installer, and attempts to get out."""

from dataclasses import dataclass
from typing import Any, Final

from portal.approvals.profiles import own_packages
from sandboxes.lifecycle.models import Sandbox
from sandboxes.usage import run_time
from sandboxes.usage.models import Connection

NEWEST: Final = 10
_WHYS: Final = {
    run_time.Why.NO_INSTALLER: "By no installer",
    run_time.Why.AFTER_SETUP: "After the workspace’s own installs",
}


@dataclass(frozen=True)
class Line:
    """A download at run time, in words."""

    row: run_time.Late
    why: str
    suspicious: bool  # an installer's is the owner's own, as a rule


def shown(sandbox: Sandbox) -> dict[str, Any]:
    """What the two sections on the sandbox's page need."""
    late = run_time.downloads(sandbox, own_packages(sandbox.profile), limit=NEWEST)
    return {
        "late": [Line(one, _WHYS[one.why], one.why == run_time.Why.NO_INSTALLER) for one in late],
        "attempts": run_time.denied(sandbox, limit=NEWEST),
        "minutes": int(run_time.WINDOW.total_seconds() // 60),
    }


def version(sandbox: Sandbox) -> tuple[object, ...]:
    """Changes when the sections do; fetches are looked at by the page itself."""
    refused = Connection.objects.filter(sandbox=sandbox, allowed=False).order_by("-at", "-id")
    dropped = Connection.objects.filter(sandbox=sandbox, source=Connection.POLICY).order_by("-seen_at", "-id")
    rows = (*refused.values_list("pk", "repeats")[:1], *dropped.values_list("pk", "repeats")[:1])
    return tuple(rows)
