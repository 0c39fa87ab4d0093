"""/policy: what holds for packages, for everybody and by profile, and the lists. Admins change it."""

from datetime import datetime, timedelta
from enum import StrEnum

from ninja import Query, Router, Status
from ninja import Schema as Output
from pydantic import AwareDatetime, Field

from portal.accounts.permissions import Permission
from portal.api.auth import ApiRequest, Bearer
from portal.api.fields import Input, Text, duration
from portal.approvals import package_policy
from portal.approvals.durations import format_duration
from sandboxes.index.models import ListEntry
from sandboxes.index.policy.facts import Ecosystem, Severity
from sandboxes.index.policy_settings import Kind, Settings

router = Router(tags=["policy"])
see = Bearer(Permission.REQUEST_SANDBOX)
manage = Bearer(Permission.MANAGE)
_NONE = format_duration(timedelta())  # as it is given out


class Rating(StrEnum):
    """How bad a vulnerability is."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class SettingsOut(Output):
    """`cooldown` is ISO 8601; `refuse_from` null: no vulnerability is refused."""

    cooldown: str
    freeze_at: datetime | None
    sdists: bool
    yanked: bool
    most_bytes: int | None
    refuse_from: Rating | None
    screened: bool
    only_allowed: bool


class PolicyOut(Output):
    """`profile` "" is the floor, which everybody has. `holds` is what counts: of `own` and `floor` the stricter."""

    profile: str
    set: bool
    own: SettingsOut
    floor: SettingsOut
    holds: SettingsOut


class NewPolicy(Input):
    """All settings at once. `cooldown` "" is none."""

    profile: Text = ""
    cooldown: Text
    freeze_at: AwareDatetime | None
    sdists: bool
    yanked: bool
    most_bytes: int | None = Field(gt=0, lt=1 << 62)
    refuse_from: Rating | None
    screened: bool
    only_allowed: bool
    reason: Text


class Reset(Input):
    profile: Text
    reason: Text


class NewEntry(Input):
    """`pattern`: "demo", "acme-*", "demo>=2,<3"; npm: "@acme/*". `source` is for names of the company's own."""

    profile: Text = ""
    ecosystem: Ecosystem = Ecosystem.PYPI
    kind: Kind
    pattern: Text
    reason: Text = ""
    source: Text = ""


class EntryOut(Output):
    """`ended_at` is null while it is on the list."""

    id: int
    profile: str
    ecosystem: Ecosystem
    kind: Kind
    pattern: str
    reason: str
    source: str
    by: str | None
    at: datetime
    ended_at: datetime | None


class EntryEnd(Input):
    reason: Text


class EntryFilter(Input):
    """Without a profile, those of the floor."""

    profile: Text = ""
    kind: Kind | None = None


class Which(Input):
    profile: Text = ""


@router.get("", auth=see, response=PolicyOut)
def read_policy(request: ApiRequest, which: Query[Which]) -> PolicyOut:
    """The floor, or with `profile` what one profile adds to it."""
    return _policy(which.profile)


@router.post("", auth=manage, response=PolicyOut)
def change_policy(request: ApiRequest, payload: NewPolicy) -> PolicyOut:
    """Set all that the floor or a profile says. It holds within five seconds, and the ledger has the difference."""
    rating = payload.refuse_from
    settings = Settings(
        cooldown=timedelta() if payload.cooldown in ("", _NONE) else duration(payload.cooldown),
        freeze_at=payload.freeze_at,
        sdists=payload.sdists,
        yanked=payload.yanked,
        most_bytes=payload.most_bytes,
        refuse_from=Severity[rating.name] if rating else None,
        screened=payload.screened,
        only_allowed=payload.only_allowed,
    )
    package_policy.change(by=request.auth, profile=payload.profile, settings=settings, reason=payload.reason)
    return _policy(payload.profile)


@router.post("/reset", auth=manage, response=PolicyOut)
def reset_policy(request: ApiRequest, payload: Reset) -> PolicyOut:
    """A profile says nothing of its own any more; its lists stay."""
    package_policy.reset(by=request.auth, profile=payload.profile, reason=payload.reason)
    return _policy("")


@router.get("/entries", auth=see, response=list[EntryOut])
def list_policy_entries(request: ApiRequest, which: Query[EntryFilter]) -> list[EntryOut]:
    """What is on the lists now."""
    rows = package_policy.entries(which.profile)
    return [_entry(row) for row in (rows.filter(kind=which.kind) if which.kind else rows)]


@router.post("/entries", auth=manage, response={201: EntryOut})
def add_policy_entry(request: ApiRequest, payload: NewEntry) -> Status[EntryOut]:
    """Put something on a list. People who are refused because of it read the reason."""
    return Status(201, _entry(package_policy.add_entry(by=request.auth, **payload.model_dump())))


@router.post("/entries/{int:entry_id}/end", auth=manage, response=EntryOut)
def end_policy_entry(request: ApiRequest, entry_id: int, payload: EntryEnd) -> EntryOut:
    """Take it off its list."""
    return _entry(package_policy.end_entry(entry_id, by=request.auth, reason=payload.reason))


def _policy(profile: str) -> PolicyOut:
    standing = package_policy.standing(profile)
    return PolicyOut(
        profile=profile,
        set=standing.is_set,
        own=_settings(standing.own),
        floor=_settings(standing.floor),
        holds=_settings(standing.holds),
    )


def _settings(settings: Settings) -> SettingsOut:
    return SettingsOut(
        cooldown=format_duration(settings.cooldown),
        freeze_at=settings.freeze_at,
        sdists=settings.sdists,
        yanked=settings.yanked,
        most_bytes=settings.most_bytes,
        refuse_from=Rating[settings.refuse_from.name] if settings.refuse_from else None,
        screened=settings.screened,
        only_allowed=settings.only_allowed,
    )


def _entry(row: ListEntry) -> EntryOut:
    return EntryOut(
        id=row.pk,
        profile=row.profile,
        ecosystem=Ecosystem(row.ecosystem),
        kind=Kind(row.kind),
        pattern=row.pattern,
        reason=row.reason,
        source=row.source,
        by=row.by.username if row.by else None,
        at=row.at,
        ended_at=row.ended_at,
    )
