"""What admins set about quotas, and what they see of them. Part of `quota`, which is what others import."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from django.db import transaction

from sandboxes.audit.services import Actor, record
from sandboxes.errors import InvalidInputError
from sandboxes.lifecycle import counting, room
from sandboxes.lifecycle.amounts import NO_LIMITS, Amount, Limits, Resource
from sandboxes.lifecycle.models import Quota, Sandbox
from sandboxes.lifecycle.models.quota import Scope
from sandboxes.lifecycle.queueing import Key, settle

_MOST: Final = 2_000_000_000  # what the columns hold
_SHOWN: Final = 50  # of each scope, those who have most


@dataclass(frozen=True)
class Use:
    """One subject: what is set for it by name, what holds for it, and what it has. "" is the scope's default."""

    scope: Scope
    subject: str
    own: Limits
    limits: Limits
    used: Amount


@dataclass(frozen=True)
class Waiting:
    """One place of the queue."""

    position: int
    sandbox: Sandbox
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Overview:
    """Defaults, named subjects, and who else has most; and the queue in its order."""

    uses: tuple[Use, ...]
    queue: tuple[Waiting, ...]


def set_limits(scope: Scope, subject: str, limits: Limits, *, by: Actor) -> None:
    """What one subject may have; "" is everybody in the scope who is not named. No limits at all removes the row.

    Whoever has more than a lowered limit keeps it; they get nothing new until they fit again.
    """
    subject = subject.strip()
    given = {each.value: limits.of(each) for each in Resource}
    if any(value is not None and not 0 <= value <= _MOST for value in given.values()):
        raise InvalidInputError("A limit must be a whole number, from 0 on; leave it empty for none.")
    if len(subject) > 200:
        raise InvalidInputError("That is no name: it is longer than 200 characters.")
    with transaction.atomic():
        rows = Quota.objects.select_for_update(no_key=True).filter(scope=scope, subject=subject)
        old = rows.first()
        if limits == NO_LIMITS:
            rows.delete()
        else:
            Quota.objects.update_or_create(scope=scope, subject=subject, defaults=given)
        data: dict[str, Any] = {
            "before": {each.value: Limits.from_row(old).of(each) for each in Resource} if old else None,
            "after": given if limits != NO_LIMITS else None,
        }
        record(actor=by, action="quota.changed", subject=f"quota:{scope}:{subject}", data=data)
        room.look()


def overview() -> Overview:
    """For a page of admins."""
    now = counting.room()
    rows = counting.waiting()
    outcomes = {outcome.sandbox_id: outcome for outcome in settle(counting.queue(rows), now)}
    places = tuple(
        Waiting(number, row, outcomes[row.pk].reasons() if row.pk in outcomes else ())
        for number, row in enumerate(rows, start=1)
    )
    uses = [
        Use(
            Scope(key[0]),
            key[1],
            now.limits.get(key, NO_LIMITS),
            now.limits_of(key),
            now.used.get(key, Amount()),
        )
        for key in _subjects(now.limits, now.used)
    ]
    return Overview(tuple(uses), places)


def _subjects(limits: Iterable[Key], used: Any) -> list[Key]:
    """Of each scope the default, the named, and those who have most."""
    found: list[Key] = []
    for scope in Scope:
        named = sorted({key for key in limits if key[0] == scope} | {(scope.value, "")})
        most = sorted(
            (key for key in used if key[0] == scope and key not in named),
            key=lambda key: (-used[key].sandboxes, key),
        )
        found += [*named, *most[:_SHOWN]]
    return found
