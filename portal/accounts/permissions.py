"""Roles are sets of permissions; every page and endpoint asks for a permission, never for a role."""

from collections.abc import Iterable
from enum import StrEnum


class Permission(StrEnum):
    REQUEST_SANDBOX = "request_sandbox"  # ask, withdraw, extend and end one's own
    DECIDE_REQUESTS = "decide_requests"  # see the queue and all requests, approve, deny
    SEE_ALL_SANDBOXES = "see_all_sandboxes"
    END_ANY_SANDBOX = "end_any_sandbox"
    READ_REPORTS = "read_reports"
    READ_LEDGER = "read_ledger"
    ISOLATE_SANDBOX = "isolate_sandbox"  # cut one off, and release it
    SEE_ALARMS = "see_alarms"
    HOLD_SANDBOX = "hold_sandbox"  # legal hold
    OPERATE = "operate"  # clusters, quotas, pause, orphans, clearing alarms
    MANAGE = "manage"  # rules, package policy, people
    GRANT_ANY_WAIVER = "grant_any_waiver"  # also from rules that are an admin's alone
    BREAK_GLASS = "break_glass"  # open a package against policy, at once and loudly


class Role(StrEnum):
    EMPLOYEE = "employee"
    APPROVER = "approver"
    AUDITOR = "auditor"
    ADMIN = "admin"


_OWN = frozenset({Permission.REQUEST_SANDBOX})
ROLE_PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.EMPLOYEE: _OWN,
    Role.APPROVER: _OWN
    | {
        Permission.DECIDE_REQUESTS,
        Permission.SEE_ALL_SANDBOXES,
        Permission.END_ANY_SANDBOX,
        Permission.ISOLATE_SANDBOX,
        Permission.SEE_ALARMS,
    },
    Role.AUDITOR: _OWN
    | {
        Permission.SEE_ALL_SANDBOXES,
        Permission.READ_REPORTS,
        Permission.READ_LEDGER,
        Permission.SEE_ALARMS,
    },
    Role.ADMIN: frozenset(Permission),
}

_SAID: dict[Permission, str] = {
    Permission.REQUEST_SANDBOX: "ask for sandboxes",
    Permission.DECIDE_REQUESTS: "decide on requests",
    Permission.SEE_ALL_SANDBOXES: "see everybody’s sandboxes",
    Permission.END_ANY_SANDBOX: "end other people’s sandboxes",
    Permission.READ_REPORTS: "read reports",
    Permission.READ_LEDGER: "read the ledger",
    Permission.ISOLATE_SANDBOX: "isolate and release sandboxes",
    Permission.SEE_ALARMS: "see alarms",
    Permission.HOLD_SANDBOX: "put sandboxes under legal hold",
    Permission.OPERATE: "operate clusters, quotas and the engine",
    Permission.MANAGE: "manage rules, package policy and people",
    Permission.GRANT_ANY_WAIVER: "grant waivers from every rule",
    Permission.BREAK_GLASS: "break the glass",
}


def refusal(permissions: Iterable[Permission]) -> str:
    """For a person who has none of them: what they may not do, and who may."""
    wanted = list(permissions)
    what = " or ".join(_SAID[one] for one in wanted)
    roles = [f"{role}s" for role in Role if not ROLE_PERMISSIONS[role].isdisjoint(wanted)]
    who = " and ".join([", ".join(roles[:-1]), roles[-1]] if len(roles) > 1 else roles)
    return f"Your role does not let you {what}; {who} may."
