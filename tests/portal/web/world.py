"""What the screens' tests need to exist: requests through the real service, sandboxes moved by the real moves."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from portal.accounts.models import User
from portal.approvals import services
from portal.approvals.drafts import QUESTIONS, parse_draft
from portal.approvals.models import Request
from sandboxes.lifecycle import alarms, clock, egress
from sandboxes.lifecycle.models import Alarm, EgressException, Orphan, Probe, Receipt, Sandbox
from sandboxes.lifecycle.moves import move, start_ending
from sandboxes.lifecycle.phases import Phase
from sandboxes.lifecycle.tokens import digest, index_token
from sandboxes.lifecycle.ways import Way
from sandboxes.usage.models import Install

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
    token = digest(index_token(sandbox.pk))
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
        "existed": ["Deployment/workspace"],
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
