"""Sandboxes that received something, and advisories about it, as the tests of exposures need them."""

from typing import Any

from portal.accounts.models import User
from sandboxes.lifecycle.models import Alarm, Sandbox
from sandboxes.screening import advisories
from sandboxes.screening.models import Advisory
from sandboxes.usage.models import Install
from tests.sandboxes.lifecycle import rows
from tests.sandboxes.screening.documents import affected, document

BAD = "MAL-2026-1"


def received(sandbox: Sandbox, project: str = "demo", version: str = "1.0", **more: Any) -> Install:
    given = {
        "filename": f"{project}-{version}-py3-none-any.whl",
        "sha256": f"{project}{version}".encode().hex().ljust(64, "0")[:64],
        "size": 1,
    }
    return Install.objects.create(sandbox=sandbox, project=project, version=version, **(given | more))


def with_demo(owner: User, version: str = "1.0", **changes: Any) -> Sandbox:
    """A sandbox that is ready, and received this version of demo."""
    sandbox = rows.ready(owner, **changes)
    received(sandbox, version=version)
    return sandbox


def malicious(by: User, *, identity: str = BAD, month: int = 3, **more: Any) -> Advisory:
    """demo 1.0 is malware; a later `month` is a later record."""
    entry = affected("demo", versions=["1.0"])
    return advisories.put(document(identity, entry, modified=f"2026-{month:02}-01T00:00:00Z", **more), by=by)


def vulnerable(by: User, severity: str, *, identity: str = "GHSA-1", **more: Any) -> Advisory:
    """demo below 2.0 has a hole."""
    rated = {"database_specific": {"severity": severity}}
    return advisories.put(document(identity, **rated, **more), by=by)


def phase_of(sandbox: Sandbox) -> str:
    return Sandbox.objects.get(pk=sandbox.pk).phase


def open_alarms(kind: str) -> list[str]:
    return list(Alarm.objects.filter(kind=kind, cleared_at=None).values_list("subject", flat=True))
