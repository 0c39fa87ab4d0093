"""Limits by name, as admins set them: only for whom there is, so that a mistyped name does not look like a limit."""

from difflib import get_close_matches
from typing import Final

from portal.accounts.models import User
from portal.accounts.permissions import Permission, refusal
from portal.approvals.profiles import all_profiles
from sandboxes.errors import InvalidInputError, RefusedError
from sandboxes.lifecycle import quota
from sandboxes.lifecycle.amounts import NO_LIMITS, Limits
from sandboxes.lifecycle.models.quota import Scope

_NAMED: Final = 8


def set_limits(scope: Scope, subject: str, limits: Limits, *, by: User) -> None:
    """What one subject may have, "" for everybody not named. Limits of one that is gone can still be removed."""
    if not by.may(Permission.OPERATE):
        raise RefusedError(refusal([Permission.OPERATE]))
    subject = subject.strip()
    if subject and limits != NO_LIMITS and not _is_there(scope, subject):
        raise InvalidInputError(f"There is no {scope} {subject[:60]!r}.{_instead(scope, subject)}")
    quota.set_limits(scope, subject, limits, by=by)


def _is_there(scope: Scope, subject: str) -> bool:
    if scope == Scope.PROFILE:
        return subject in all_profiles()
    field = "username" if scope == Scope.PERSON else "department"
    return User.objects.filter(**{field: subject}).exists()


def _instead(scope: Scope, subject: str) -> str:
    """All there are, when they are few; else those that look like it."""
    known = _known(scope)
    shown = known if len(known) <= _NAMED else get_close_matches(subject, known, n=_NAMED)
    return f" Did you mean {' or '.join(shown)}?" if shown else ""


def _known(scope: Scope) -> list[str]:
    if scope == Scope.PROFILE:
        return sorted(all_profiles())
    field = "username" if scope == Scope.PERSON else "department"
    rows = User.objects.exclude(**{field: ""}).order_by(field).values_list(field, flat=True)
    return list(rows.distinct())
