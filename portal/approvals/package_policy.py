"""Package policy: who may change it, what holds for a profile, and in which way that differs from the floor.

What a setting means is in `sandboxes.index.policy`; a form's or the API's texts become settings here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from django.db.models import QuerySet

from portal.accounts.models import User
from portal.accounts.permissions import Permission, refusal
from portal.approvals.drafts import DraftError
from portal.approvals.durations import format_duration, parse_duration
from portal.approvals.moments import parse_until
from portal.approvals.profiles import all_profiles
from sandboxes.errors import InvalidInputError, NotFoundError, RefusedError
from sandboxes.index import policy_settings
from sandboxes.index.models import ListEntry, PolicySetting
from sandboxes.index.policy.facts import Ecosystem, Severity
from sandboxes.index.policy.policy import Policy
from sandboxes.index.policy_settings import Kind, Settings

FLOOR: Final = ""  # what everybody has
_MIB: Final = 1024 * 1024
_SHARED: Final = tuple(field.name for field in fields(Settings) if field.name != "only_allowed")


@dataclass(frozen=True)
class Standing:
    """What a profile says, what the floor says, and what holds for its sandboxes: of each pair the stricter."""

    profile: str
    own: Settings
    floor: Settings
    holds: Settings
    is_set: bool  # it says something of its own

    def stricter(self, name: str) -> bool:
        """Whether the profile adds to the floor here."""
        return bool(getattr(self.holds, name) != getattr(self.floor, name))


def standing(profile: str) -> Standing:
    """NotFoundError for a profile that is neither offered nor has a policy."""
    is_set = PolicySetting.objects.filter(pk=profile).exists()
    if profile and profile not in all_profiles() and not is_set and not entries(profile).exists():
        raise NotFoundError(f"There is no profile {profile[:60]!r}.")
    own, floor = policy_settings.settings_of(profile), policy_settings.settings_of(FLOOR)
    return Standing(profile, own, floor, _above(own, floor) if profile else floor, is_set)


def named() -> list[str]:
    """The profiles that have or may have a policy of their own: those that are offered come first."""
    known = dict.fromkeys(all_profiles())
    for rows in (PolicySetting.objects.values_list("profile"), ListEntry.objects.values_list("profile")):
        known |= dict.fromkeys(name for (name,) in rows.distinct().order_by("profile") if name)
    return list(known)


def entries(profile: str) -> QuerySet[ListEntry]:
    """What is on the profile's own lists now, in the order of their names."""
    rows = ListEntry.objects.filter(profile=profile, ended_at=None).select_related("by")
    return rows.order_by("kind", "ecosystem", "pattern")


def change(*, by: User, profile: str, settings: Settings, reason: str) -> bool:
    """Whether it changed anything."""
    _require(by)
    standing(profile)
    return policy_settings.change(profile=profile, settings=settings, by=by, reason=reason)


def reset(*, by: User, profile: str, reason: str) -> None:
    _require(by)
    policy_settings.reset(profile=profile, by=by, reason=reason)


def add_entry(
    *, by: User, profile: str, ecosystem: str, kind: str, pattern: str, reason: str, source: str = ""
) -> ListEntry:
    _require(by)
    standing(profile)
    errors: dict[str, str] = {}
    if ecosystem not in set(Ecosystem):
        errors["ecosystem"] = f"Choose one of {', '.join(Ecosystem)}."
    if kind not in set(Kind):
        errors["kind"] = f"Choose one of {', '.join(Kind)}."
    if errors:
        raise DraftError(errors)
    return policy_settings.add_entry(
        profile=profile,
        ecosystem=Ecosystem(ecosystem),
        kind=Kind(kind),
        pattern=pattern,
        reason=reason,
        source=source.strip(),
        by=by,
    )


def end_entry(entry_id: int, *, by: User, reason: str) -> ListEntry:
    _require(by)
    policy_settings.end_entry(entry_id, by=by, reason=reason)
    return ListEntry.objects.select_related("by").get(pk=entry_id)


def parse(typed: Mapping[str, str]) -> Settings:
    """From a form: a switch that is on is there. DraftError names each field that is wrong."""
    errors: dict[str, str] = {}
    settings = Settings(
        cooldown=_days(typed.get("cooldown", ""), errors),
        freeze_at=_moment(typed.get("freeze_at", ""), errors),
        sdists="sdists" in typed,
        yanked="yanked" in typed,
        most_bytes=_bytes(typed.get("most_mib", ""), errors),
        refuse_from=severity(typed.get("refuse_from", ""), errors),
        screened="screened" in typed,
        only_allowed="only_allowed" in typed,
    )
    if errors:
        raise DraftError(errors)
    return settings


def typed(settings: Settings) -> dict[str, str]:
    """As the form shows them; `parse` gives the same settings back."""
    values = {
        "cooldown": _days_text(settings.cooldown),
        "freeze_at": settings.freeze_at.isoformat() if settings.freeze_at else "",
        "most_mib": f"{Decimal(settings.most_bytes) / _MIB:f}" if settings.most_bytes is not None else "",
        "refuse_from": settings.refuse_from.name.lower() if settings.refuse_from else "",
    }
    switches = ("sdists", "yanked", "screened", "only_allowed")
    return values | {name: "on" for name in switches if getattr(settings, name)}


def severity(text: str, errors: dict[str, str]) -> Severity | None:
    names = {one.name.lower(): one for one in Severity}
    if text and text not in names:
        errors["refuse_from"] = f"Choose one of {', '.join(names)}, or none."
    return names.get(text)


def _above(own: Settings, floor: Settings) -> Settings:
    held = _policy(own).above(_policy(floor))
    shared = {name: getattr(held, name) for name in _SHARED}
    return Settings(**shared, only_allowed=own.only_allowed or floor.only_allowed)


def _policy(settings: Settings) -> Policy:
    values: dict[str, Any] = {name: getattr(settings, name) for name in _SHARED}
    return Policy(**values)


def _require(by: User) -> None:
    if not by.may(Permission.MANAGE):
        raise RefusedError(refusal([Permission.MANAGE]))


def _days(text: str, errors: dict[str, str]) -> timedelta:
    """Days, or a duration: "7", "PT36H"; nothing is no cooldown."""
    text = text.strip().replace(",", ".")
    if not text:
        return timedelta()
    try:
        if text[0] in "Pp":
            return parse_duration(text)
        days = Decimal(text)
        if not days.is_finite() or not 0 <= days <= 10_000:
            raise InvalidInputError("Out of range.")
        return timedelta(microseconds=int(days * 86_400_000_000))
    except (InvalidInputError, InvalidOperation):
        errors["cooldown"] = f"{text[:40]!r} is no number of days."
        return timedelta()


def _days_text(length: timedelta) -> str:
    whole = length % timedelta(days=1) == timedelta()
    return str(length.days) if whole else format_duration(length)


def _moment(text: str, errors: dict[str, str]) -> datetime | None:
    if not text.strip():
        return None
    try:
        if text.strip()[0] in "Pp":
            raise InvalidInputError("A length is no date.")
        return parse_until(text, datetime.now(UTC))
    except InvalidInputError:
        errors["freeze_at"] = f"{text[:40]!r} is no date; write 2026-12-24."
        return None


def _bytes(text: str, errors: dict[str, str]) -> int | None:
    text = text.strip().replace(",", ".")
    if not text:
        return None
    try:
        size = Decimal(text) * _MIB
        if not size.is_finite() or not 0 < size < 1 << 62:
            raise InvalidOperation
        return max(1, int(size))
    except InvalidOperation:
        errors["most_mib"] = f"{text[:40]!r} is no size in MiB."
        return None
