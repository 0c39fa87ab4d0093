"""Policy for `projects.REFUSALS`: each project stumbles over one rule, and everything else is given."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone

from sandboxes.index.models import ListEntry, PolicySetting
from sandboxes.screening.models import Advisory, Affected, Verdict
from sandboxes.screening.words import Screening, Severity
from tests.sandboxes.index.wheels import Package


def set_policy(newer: dict[str, Package]) -> None:
    """The floor is a new installation's, with a size; profiles add what holds for whole indexes."""
    PolicySetting.objects.filter(profile="").update(most_bytes=100 << 20)
    _profile("frozen", freeze_at=datetime(2026, 3, 1, tzinfo=UTC))
    _profile("listed", only_allowed=True)
    _profile("strict", yanked=False)
    _profile("screened", screened=True)
    _list("allow", "unlisted<2", profile="listed")
    _list("deny", "unwanted>=2", reason="it phones home")
    _list("internal", "acme-*")
    _advise("PYSEC-1", "holey", malicious=False)
    _advise("MAL-1", "evil", malicious=True)
    _judge(newer["blocked"], Screening.BLOCKED)
    _judge(newer["held"], Screening.HELD)


def forget_policy() -> None:
    for model in (Affected, Advisory, Verdict, ListEntry, PolicySetting):
        model._default_manager.all().delete()


def _profile(name: str, **changes: Any) -> None:
    said = {"cooldown": timedelta(), "sdists": True, "yanked": True, "screened": False, "only_allowed": False}
    PolicySetting.objects.create(profile=name, **(said | changes))


def _list(kind: str, pattern: str, profile: str = "", reason: str = "") -> None:
    ListEntry.objects.create(profile=profile, ecosystem="pypi", kind=kind, pattern=pattern, reason=reason)


def _advise(name: str, project: str, *, malicious: bool) -> None:
    now = timezone.now()
    advisory = Advisory.objects.create(
        id=name,
        ecosystem="pypi",
        modified=now,
        malicious=malicious,
        severity=None if malicious else Severity.CRITICAL,
        document={},
        source="test",
        imported_at=now,
    )
    Affected.objects.create(advisory=advisory, ecosystem="pypi", project=project, versions=["2"])


def _judge(package: Package, state: Screening) -> None:
    Verdict.objects.create(sha256=package.sha256, state=state, at=timezone.now())
