"""Roles are sets of permissions; every page and endpoint asks for a permission, never for a role."""

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
    MANAGE = "manage"  # rules, people


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
