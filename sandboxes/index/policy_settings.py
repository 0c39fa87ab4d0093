"""Changing policy: the settings of the floor or a profile, and the lists. Each with its ledger entry.

Who may is the portal's to say. Index processes learn of it by the tables' triggers.
"""

from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from sandboxes.audit.services import Actor, record
from sandboxes.errors import ConflictError, InvalidInputError, NotFoundError
from sandboxes.index.models import ListEntry, PolicySetting
from sandboxes.index.policy.facts import Ecosystem, Severity
from sandboxes.index.policy.patterns import parse
from sandboxes.index.policy.policy import LONGEST_COOLDOWN, NEUTRAL, SHIPPED, Policy

LONGEST_REASON: Final = 500  # characters; it goes into status lines and pages


class Kind(StrEnum):
    """Which list an entry is of."""

    ALLOW = "allow"
    DENY = "deny"
    INTERNAL = "internal"


@dataclass(frozen=True)
class Settings:
    """What one profile says, or the floor ("")."""

    cooldown: timedelta
    freeze_at: datetime | None
    sdists: bool
    yanked: bool
    most_bytes: int | None
    refuse_from: Severity | None
    screened: bool
    only_allowed: bool


def settings_of(profile: str) -> Settings:
    """As they are now; of a profile without any: what adds nothing to the floor."""
    row = PolicySetting.objects.filter(pk=profile).first()
    return _settings(row) if row is not None else _plain(NEUTRAL if profile else SHIPPED)


@transaction.atomic
def change(*, profile: str, settings: Settings, by: Actor, reason: str) -> bool:
    """Whether it changed anything. Raises `InvalidInputError`."""
    _check(settings)
    reason = _reason(reason, needed=True)
    row = PolicySetting.objects.select_for_update().filter(pk=profile).first()
    before = _settings(row) if row is not None else _plain(NEUTRAL if profile else SHIPPED)
    if row is not None and before == settings:
        return False
    PolicySetting.objects.update_or_create(profile=profile, defaults=asdict(settings))
    told = {"reason": reason, "changed": _differences(before, settings)}
    record(actor=by, action="policy.changed", subject=_subject(profile), data=told)
    return True


@transaction.atomic
def reset(*, profile: str, by: Actor, reason: str) -> None:
    """The profile says nothing of its own any more. The floor always says something."""
    if not profile:
        raise InvalidInputError("The floor cannot be taken away; change it.")
    reason = _reason(reason, needed=True)
    deleted, _ = PolicySetting.objects.filter(pk=profile).delete()
    if not deleted:
        raise NotFoundError("This profile has no policy of its own.")
    record(actor=by, action="policy.reset", subject=_subject(profile), data={"reason": reason})


@transaction.atomic
def add_entry(
    *,
    profile: str,
    ecosystem: Ecosystem,
    kind: Kind,
    pattern: str,
    reason: str,
    by: Actor,
    source: str = "",
) -> ListEntry:
    """`source`, of an internal name: the one upstream that may have it. People who are refused read `reason`."""
    written = str(parse(pattern, ecosystem))
    if source and kind is not Kind.INTERNAL:
        raise InvalidInputError("Only a name of the company's own can be tied to an upstream.")
    entry = ListEntry(
        profile=profile,
        ecosystem=ecosystem.value,
        kind=kind.value,
        pattern=written,
        reason=_reason(reason, needed=kind is not Kind.INTERNAL),
        source=source,
        by_id=by.pk,
    )
    try:
        with transaction.atomic():
            entry.save()
    except IntegrityError as error:
        raise ConflictError(f"{written} is on this list already.") from error
    record(actor=by, action="policy.listed", subject=_subject(profile), data=_told(entry))
    return entry


@transaction.atomic
def end_entry(entry_id: int, *, by: Actor, reason: str) -> None:
    reason = _reason(reason, needed=True)
    ended = ListEntry.objects.filter(pk=entry_id, ended_at=None).update(ended_at=Now())
    entry = ListEntry.objects.filter(pk=entry_id).first()
    if entry is None:
        raise NotFoundError("There is no such entry.")
    if not ended:
        raise ConflictError("This entry was ended already.")
    told = _told(entry) | {"reason": reason}
    record(actor=by, action="policy.unlisted", subject=_subject(entry.profile), data=told)


def _check(settings: Settings) -> None:
    if not timedelta() <= settings.cooldown <= LONGEST_COOLDOWN:
        raise InvalidInputError(f"A cooldown is between 0 and {LONGEST_COOLDOWN.days} days.")
    if settings.most_bytes is not None and not 0 < settings.most_bytes < 1 << 62:
        raise InvalidInputError("The size limit is a positive number of bytes, or none.")
    if settings.freeze_at is not None and settings.freeze_at.tzinfo is None:
        raise InvalidInputError("A freeze date needs its time zone.")


def _reason(text: str, *, needed: bool) -> str:
    text = " ".join(text.split())
    if needed and not text:
        raise InvalidInputError("Say why: people who are refused read it, and the ledger keeps it.")
    if len(text) > LONGEST_REASON:
        raise InvalidInputError(f"A reason has at most {LONGEST_REASON} characters.")
    return text


def _settings(row: PolicySetting) -> Settings:
    values = {field.name: getattr(row, field.name) for field in fields(Settings)}
    return Settings(**values | {"refuse_from": _severity(row.refuse_from)})


def _plain(policy: Policy) -> Settings:
    values = {
        field.name: getattr(policy, field.name) for field in fields(Settings) if field.name != "only_allowed"
    }
    return Settings(**values, only_allowed=False)


def _severity(number: int | None) -> Severity | None:
    return None if number is None else Severity(number)


def _differences(before: Settings, after: Settings) -> dict[str, Any]:
    """Field → [before, after], for those that differ."""
    was, becomes = asdict(before), asdict(after)
    return {name: [was[name], becomes[name]] for name in becomes if was[name] != becomes[name]}


def _told(entry: ListEntry) -> dict[str, Any]:
    told = {
        "ecosystem": entry.ecosystem,
        "list": entry.kind,
        "pattern": entry.pattern,
        "reason": entry.reason,
    }
    return told | ({"source": entry.source} if entry.source else {})


def _subject(profile: str) -> str:
    return f"policy:{profile or 'floor'}"
