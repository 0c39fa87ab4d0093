"""What the screens' tests need to exist: requests through the real service, sandboxes moved by the real moves."""

from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import Any

from django.utils import timezone
from msgspec import structs

from portal.accounts.models import User
from portal.accounts.permissions import Role
from portal.approvals import services
from portal.approvals.drafts import QUESTIONS, parse_draft
from portal.approvals.models import Request
from sandboxes.index import policy_settings, waivers
from sandboxes.index.models import ListEntry, Packument, Project, Tarball, Waiver
from sandboxes.index.npm import packument as npm
from sandboxes.index.page import FORMAT, File, make_page
from sandboxes.index.policy.facts import Ecosystem
from sandboxes.index.policy.rules import Rule
from sandboxes.index.policy.waivers import Scope
from sandboxes.index.policy_settings import Kind
from sandboxes.index.waivers import About
from sandboxes.lifecycle import alarms, clock, egress
from sandboxes.lifecycle.models import Alarm, EgressException, Orphan, Probe, Receipt, Sandbox
from sandboxes.lifecycle.moves import move, start_ending
from sandboxes.lifecycle.phases import Phase
from sandboxes.lifecycle.tokens import digest, index_token
from sandboxes.lifecycle.ways import Way
from sandboxes.screening import advisories
from sandboxes.screening.models import Advisory, Verdict
from sandboxes.usage.models import Fetch, Install

ANSWERS = {key: f"My answer to {key}" for key in QUESTIONS}
ATTEMPT = {
    "target": "internet",
    "host": "198.51.100.7",
    "port": 443,
    "expected": "blocked",
    "milliseconds": 12,
}


def ask(by: User, **changes: Any) -> Request:
    """Policy approves this at once, unless `changes` say otherwise (`profile="gpu"` waits for an approver)."""
    draft = {
        "profile": "python",
        "purpose": "Compare two table libraries",
        "tools": ["rich"],
        "duration": "PT4H",
        "data_class": "public",
        "answers": ANSWERS,
    }
    return services.submit(by=by, draft=parse_draft(**{**draft, **changes}))


def wait(by: User, **changes: Any) -> Request:
    """A request that waits for an approver."""
    return ask(by, **{"profile": "gpu", **changes})


def making(owner: User, **changes: Any) -> Sandbox:
    """A sandbox whose namespace is being made."""
    sandbox = ask(owner, **changes).sandbox
    assert sandbox is not None
    name = f"{owner.username}-python-{sandbox.pk}"
    move(sandbox, Phase.PROVISIONING, name=name, namespace=f"pd-{name}", simulated=True)
    return sandbox


def ready(owner: User, **changes: Any) -> Sandbox:
    """A sandbox that opened just now, behind a probe that passed."""
    sandbox = making(owner, **changes)
    move(sandbox, Phase.PROBING)
    evidence = [{**ATTEMPT, "result": "blocked", "detail": "timed out"}]
    Probe.objects.create(sandbox=sandbox, passed=True, simulated=True, attempts=evidence)
    now = timezone.now()
    token = digest(index_token(sandbox))
    move(sandbox, Phase.READY, ready_at=now, expires_at=now + sandbox.lease, index_token_digest=token)
    return sandbox


def way_out(sandbox: Sandbox, host: str = "data.example.org", port: int = 443) -> EgressException:
    """A way out that somebody granted, for an hour."""
    until = clock.now() + timedelta(hours=1)
    return egress.grant(
        sandbox_id=sandbox.pk, way=Way("", host, port), reason="Load the sample", until=until, by=None
    )


def over(sandbox: Sandbox, *, reason: str = "expired", failure: str = "") -> Sandbox:
    """Ended with a receipt; with a `failure`, failed."""
    start_ending(sandbox, reason=reason, failure=failure)
    document = {
        "reason": reason,
        "namespace": sandbox.namespace,
        "existed": ["StatefulSet/workspace"],
        "absent_at": timezone.now().isoformat(),
        "leftovers": [],
        "simulated": True,
    }
    Receipt.objects.create(sandbox=sandbox, document=document)
    move(sandbox, Phase.FAILED if failure else Phase.ENDED, ended_at=timezone.now())
    return sandbox


def install(sandbox: Sandbox, project: str, version: str = "1.0", *, ago: timedelta = timedelta()) -> Install:
    return Install.objects.create(
        sandbox=sandbox,
        project=project,
        version=version,
        filename=f"{project}-{version}-py3-none-any.whl",
        sha256=f"{sandbox.pk}{project}{version}".ljust(64, "0"),
        size=2048,
        client="pip 26.3",
        at=timezone.now() - ago,
    )


def alarm(kind: str = "stuck", subject: str = "installation") -> Alarm:
    """An open alarm."""
    alarms.alarm(kind, subject, "Somebody has to look.")
    return Alarm.objects.get(kind=kind, subject=subject, cleared_at=None)


def orphan(name: str = "sbx-nobody") -> Orphan:
    """A namespace that no row knows, cut off already."""
    return Orphan.objects.create(
        cluster="simulated",
        kind="Namespace",
        name=name,
        uid=f"uid-of-{name}",
        quarantined_at=timezone.now(),
        delete_after=timezone.now() + timedelta(days=1),
    )


def page_of(project: str, *files: File) -> Project:
    """What the index keeps of a project that an upstream listed with these files."""
    document = structs.replace(make_page(project, files), source="upstream").document()
    now = timezone.now()
    return Project.objects.create(
        name=project,
        source="upstream",
        format=FORMAT,
        document=document,
        digest=sha256(document).hexdigest(),
        fetched_at=now,
        checked_at=now,
    )


def wheel(project: str, version: str, *, age: timedelta, **changes: Any) -> File:
    """A file of a page, released so long ago."""
    filename = changes.pop("filename", f"{project}-{version}-py3-none-any.whl")
    at = (timezone.now() - age).strftime("%Y-%m-%dT%H:%M:%SZ")
    plain = File(
        filename,
        version,
        sha256(filename.encode()).hexdigest(),
        f"https://files.example.org/{filename}",
        size=20_480,
        upload_time=at,
        seen_at=at,
    )
    return structs.replace(plain, **changes)


def demo() -> Project:
    """A project whose 2.0 is a day old, so that the cooldown holds it back and 1.0 is given."""
    day = timedelta(days=1)
    sdist = wheel("demo", "2.0", age=day, filename="demo-2.0.tar.gz")
    return page_of("demo", wheel("demo", "1.0", age=90 * day), wheel("demo", "2.0", age=day), sdist)


def waiver(by: User, sandbox: Sandbox | None, **changes: Any) -> Waiver:
    """One that waits for a decision."""
    plain: dict[str, Any] = {
        "about": About(Ecosystem.PYPI, "demo", "2.0"),
        "rule": Rule.COOLDOWN,
        "scope": Scope.SANDBOX if sandbox else Scope.PERSON,
        "until": timezone.now() + timedelta(days=30),
        "reason": "For the demo",
    }
    return waivers.ask(**plain | changes, sandbox=sandbox, by=by)


def policy_of(profile: str) -> ListEntry:
    """A profile with a policy of its own, and the entry on its deny list."""
    admin = User.objects.filter(role=Role.ADMIN).first() or User.objects.create_user("root", role=Role.ADMIN)
    settings = replace(policy_settings.settings_of(profile), cooldown=timedelta(days=14))
    policy_settings.change(profile=profile, settings=settings, by=admin, reason="Slower")
    return policy_settings.add_entry(
        profile=profile,
        ecosystem=Ecosystem.PYPI,
        kind=Kind.DENY,
        pattern="leftpad<2",
        reason="Broken",
        by=admin,
    )


def packument(name: str, ages: dict[str, timedelta]) -> Packument:
    """What the index keeps of an npm package: how long ago each of its versions came out."""
    releases = [_release(name, version, age) for version, age in ages.items()]
    document = npm.Packument(name, tuple(releases), {"latest": list(ages)[-1]}, source="npm").document()
    now = timezone.now()
    return Packument.objects.create(
        name=name,
        source="npm",
        format=npm.FORMAT,
        document=document,
        digest=sha256(document).hexdigest(),
        fetched_at=now,
        checked_at=now,
    )


def _release(name: str, version: str, age: timedelta) -> npm.Release:
    at = (timezone.now() - age).strftime("%Y-%m-%dT%H:%M:%SZ")
    url = f"https://packages.example.org/{name}-{version}.tgz"
    return npm.Release(version, "0" * 128, url, published=at, size=2048, seen_at=at)


def tarball(package: str, version: str, digest: str) -> Tarball:
    """Bytes that the index has stored."""
    return Tarball.objects.create(
        package=package,
        version=version,
        integrity="0" * 128,
        sha256=digest,
        size=2048,
        stored_at=timezone.now(),
    )


FOUND: dict[str, Any] = {
    "rule": "import-time.network",
    "ability": "network",
    "threat": "critical",
    "why": "It connects to another machine as soon as it is imported.",
    "path": "evil/__init__.py",
    "line": 3,
    "excerpt": "urllib.request.urlopen(BEACON)",
}


def held(
    project: str = "evil", version: str = "2.0", *, ago: timedelta = timedelta(), **changes: Any
) -> Verdict:
    """A file in which screening found so much that a person has to look."""
    filename = f"{project}-{version}-py3-none-any.whl"
    plain: dict[str, Any] = {
        "sha256": sha256(filename.encode()).hexdigest(),
        "state": "held",
        "reason": "It connects as soon as it is imported.",
        "at": timezone.now() - ago,
        "ecosystem": "pypi",
        "project": project,
        "version": version,
        "filename": filename,
        "level": "hold",
        "score": 100,
        "findings": [FOUND],
        "scanned_by": 1_000_000,  # no scanner of today looks again
    }
    return Verdict.objects.create(**plain | changes)


def refused(sandbox: Sandbox, file: Verdict, *, ago: timedelta = timedelta()) -> Fetch:
    """That sandbox asked for the file, and did not get it."""
    return Fetch.objects.create(
        sandbox=sandbox,
        kind="file",
        project=file.project,
        filename=file.filename,
        refused="held",
        client="pip 26.3",
        at=timezone.now() - ago,
    )


def advisory(by: User, project: str = "evil", **changes: Any) -> Advisory:
    """One of our own."""
    record = {
        "summary": "It steals tokens",
        "affected": [{"package": {"ecosystem": "PyPI", "name": project}, "versions": ["2.0"]}],
        "database_specific": {"malicious": True},
    }
    return advisories.put(record | changes, by=by)
