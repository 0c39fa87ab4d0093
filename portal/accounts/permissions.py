"""Roles are sets of permissions; every page and endpoint asks for a permission, never for a role."""

from enum import StrEnum


class Permission(StrEnum):
    REQUEST_SANDBOX = "request_sandbox"  # ask, withdraw, extend and end one's own
    DECIDE_REQUESTS = "decide_requests"  # see the queue and all requests, approve, deny
    SEE_ALL_SANDBOXES = "see_all_sandboxes"
    END_ANY_SANDBOX = "end_any_sandbox"
    READ_REPORTS = "read_reports"
    READ_LEDGER = "read_ledger"
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
    | {Permission.DECIDE_REQUESTS, Permission.SEE_ALL_SANDBOXES, Permission.END_ANY_SANDBOX},
    Role.AUDITOR: _OWN | {Permission.SEE_ALL_SANDBOXES, Permission.READ_REPORTS, Permission.READ_LEDGER},
    Role.ADMIN: frozenset(Permission),
}
