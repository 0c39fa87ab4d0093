"""What every page knows: where one may go, and whether the cluster is simulated."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from portal.accounts.models import User
from portal.accounts.permissions import Permission
from portal.approvals import queries
from portal.web import pausing
from sandboxes.lifecycle import alarms

_OPERATE = frozenset(
    {
        *("engine_act", "clusters", "cluster_add", "cluster", "cluster_act", "quotas", "quota_change"),
        *("package_policy", "profile_policy", "policy_change", "policy_reset", "policy_list"),
    }
)
_SCREENING = frozenset(
    {
        *(
            "advisory",
            "advisory_withdraw",
            "declare",
            "declare_preview",
            "held",
            "held_file",
            "held_file_decide",
        ),
        *("scale", "scale_preview", "scale_change", "scale_restore"),
        *("exposures", "exposed", "reactions", "reactions_change"),
    }
)
# Label, URL name, permission, and the screens below it; a screen below several belongs to the last that is open.
_NAV: tuple[tuple[str, str, Permission, frozenset[str]], ...] = (
    ("Home", "home", Permission.REQUEST_SANDBOX, frozenset({"sandbox", "sandboxes", "request"})),
    ("New request", "new_request", Permission.REQUEST_SANDBOX, frozenset()),
    (
        "Queue",
        "queue",
        Permission.DECIDE_REQUESTS,
        frozenset({"request", "waiver", "waivers", "break_glass"}),
    ),
    ("Sandboxes", "sandboxes", Permission.SEE_ALL_SANDBOXES, frozenset({"sandbox"})),
    ("Report", "report", Permission.READ_REPORTS, frozenset()),
    ("Screening", "advisories", Permission.SEE_ALARMS, _SCREENING),
    ("Alarms", "alarms", Permission.SEE_ALARMS, frozenset()),
    ("Ledger", "ledger", Permission.READ_LEDGER, frozenset({"ledger_verify"})),
    ("Operate", "engine", Permission.OPERATE, _OPERATE),
)

# What waits on a screen, counted only when its link is drawn.
_COUNTS: dict[str, Callable[[], int]] = {"queue": queries.queue_count, "alarms": alarms.open_count}


@dataclass(frozen=True)
class NavItem:
    """`current` is the value of aria-current: "page", "true" for a page below it, or ""."""

    label: str
    url: str
    current: str
    count: int


def portal(request: HttpRequest) -> dict[str, Any]:
    """Lazy, and once for each page: the queue is counted only where the navigation is drawn, not in every part."""
    user = getattr(request, "user", None)
    me = user if isinstance(user, User) else None
    permissions = me.permissions if me else frozenset()
    return {
        "may": {permission.value: permission in permissions for permission in Permission},
        "nav": cache(lambda: list(_navigation(request, permissions))),
        "paused": cache(lambda: pausing.for_person(me) if me else None),
        "simulated": not settings.KUBE_CONTEXT,
    }


def _navigation(request: HttpRequest, permissions: frozenset[Permission]) -> Iterator[NavItem]:
    open_to = [item for item in _NAV if item[2] in permissions]
    shown = request.resolver_match.url_name if request.resolver_match else None
    holders = [name for _, name, _, below in open_to if shown == name or shown in below]
    for label, name, _, _ in open_to:
        current = "" if name not in holders[-1:] else "page" if shown == name else "true"
        yield NavItem(label, reverse(name), current, _COUNTS[name]() if name in _COUNTS else 0)
