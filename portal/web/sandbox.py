"""One sandbox: where it stands, how to use it, what it received, and the proof that it is gone. Live."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final
from urllib.parse import urlsplit

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe

from portal.accounts.access import person, require
from portal.accounts.models import User
from portal.accounts.permissions import Permission
from portal.approvals import queries, services
from portal.approvals.durations import parse_duration
from portal.approvals.models import Kind, Request, State
from portal.approvals.profiles import all_profiles
from portal.web import (
    egress,
    exposures,
    honeytokens,
    inventory,
    materials,
    operations,
    packages,
    pausing,
    receipts,
    run_time,
)
from portal.web.respond import cursor, fingerprint, page, posts_of, slice_of, translated, unchanged
from sandboxes.audit.models import Entry
from sandboxes.audit.queries import about
from sandboxes.cluster.names import WORKSPACE_POD
from sandboxes.errors import ConflictError, InvalidInputError, RefusedError
from sandboxes.lifecycle import queries as lifecycle
from sandboxes.lifecycle import quota
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import OPENED, OVER, Phase
from sandboxes.usage import queries as usage
from sandboxes.usage.models import Fetch

PAGE: Final = 50
MOST_ENTRIES: Final = 100
MOST_REQUESTS: Final = 20
MOST_STEPS: Final = 60
EARLIER_PROBES: Final = 10
FAST, SLOW, NEVER = 2, 5, 0  # seconds between looks: on its way, ready, over
EXTENSIONS: Final = {"PT1H": "1 hour", "P1D": "1 day", "P3D": "3 days", "P7D": "7 days"}


@dataclass(frozen=True)
class Access:
    """How the owner gets in. `index_url` carries the token: it is empty until they ask to see it."""

    index_url: str
    pip: str
    shell: str


@require(Permission.REQUEST_SANDBOX)
@require_safe
@translated
def show(request: HttpRequest, sandbox_id: int) -> HttpResponse:
    me = person(request)
    sandbox = queries.sandbox_for(me, sandbox_id)
    version = _version(me, sandbox)
    if same := unchanged(request, version):
        return same
    return page(request, "sandbox", _context(request, sandbox, version), part="live")


@require(Permission.REQUEST_SANDBOX)
@require_safe
@translated
def access(request: HttpRequest, sandbox_id: int) -> HttpResponse:
    """The credentials, for the owner who asked to see them."""
    me = person(request)
    sandbox = queries.sandbox_for(me, sandbox_id)
    if sandbox.owner_id != me.pk:
        raise RefusedError("Only its owner sees a sandbox’s credentials.")
    context = {**_context(request, sandbox, _version(me, sandbox)), "access": _access(sandbox, revealed=True)}
    return page(request, "sandbox", context, part="access")


@require(Permission.REQUEST_SANDBOX)
@posts_of("sandbox")
@translated
def extend(request: HttpRequest, sandbox_id: int) -> HttpResponse:
    me = person(request)
    sandbox = queries.sandbox_for(me, sandbox_id)
    typed = {name: request.POST.get(name, "").replace("\0", "") for name in ("duration", "reason")}
    try:
        asked = services.extend(
            sandbox.pk, by=me, duration=parse_duration(typed["duration"]), reason=typed["reason"]
        )
    except InvalidInputError as error:
        context = {**_context(request, sandbox, ""), "error": str(error), "typed": typed}
        return page(request, "sandbox", context, status=422)
    except ConflictError as error:
        messages.warning(request, str(error), extra_tags="wait")
    else:
        _tell_extension(request, asked)
    return redirect("sandbox", sandbox.pk)


@require(Permission.REQUEST_SANDBOX)
@require_POST
@translated
def end(request: HttpRequest, sandbox_id: int) -> HttpResponse:
    me = person(request)
    queued = queries.sandbox_for(me, sandbox_id).phase == Phase.QUEUED
    try:
        services.end(sandbox_id, by=me)
    except ConflictError as error:
        messages.warning(request, str(error), extra_tags="wait")
    else:
        said = "It is withdrawn." if queued else "It is ending. Its receipt appears here."
        messages.success(request, said, extra_tags="good")
    return redirect("sandbox", sandbox_id)


def _tell_extension(request: HttpRequest, asked: Request) -> None:
    if asked.state == State.APPROVED:
        messages.success(request, "Extended.", extra_tags="good")
    elif asked.state == State.DENIED:
        messages.error(request, f"Not extended. {' '.join(asked.reasons)}", extra_tags="bad")
    else:
        messages.info(request, "An approver decides on the extension; the lease goes on until then.")


def _version(me: User, sandbox: Sandbox) -> str:
    """What the live part shows, by the newest row of each kind. Time left counts on in the browser."""
    return fingerprint(
        (sandbox.phase, sandbox.expires_at, sandbox.last_error, sandbox.failure, sandbox.blocker),
        pausing.for_sandbox(me, sandbox),
        quota.position(sandbox),
        _newest(usage.installs(sandbox).values_list("pk", flat=True)),
        _newest(Fetch.objects.filter(sandbox=sandbox).order_by("-id").values_list("pk", flat=True)),
        _newest(sandbox.probes.order_by("-id").values_list("pk", flat=True)),
        list(sandbox.steps.filter(ended_at=None).values_list("pk", "tries", "error")),
        egress.version(sandbox),
        packages.version(sandbox),
        exposures.version(sandbox),
        run_time.version(sandbox),
        honeytokens.version(sandbox),
        inventory.version(sandbox),
        _newest(about(f"sandbox:{sandbox.pk}").order_by("-id").values_list("pk", flat=True)),
        list(sandbox.requests.order_by("-id").values_list("pk", "state")[:MOST_REQUESTS]),
    )


def _newest(ids: Any) -> int | None:
    found: int | None = ids.first()
    return found


def _context(request: HttpRequest, sandbox: Sandbox, version: str) -> dict[str, Any]:
    me = person(request)
    before = cursor(request, "before")
    installs, more = _installs(sandbox, before)
    receipt = lifecycle.receipt(sandbox)
    return {
        "sandbox": sandbox,
        "own": sandbox.owner_id == me.pk,
        "paused": pausing.for_sandbox(me, sandbox),
        "access": _access(sandbox, revealed=False) if _may_enter(me, sandbox) else None,
        "may_end": queries.may_end(me, sandbox),
        "extension": _extension(me, sandbox),
        "operations": operations.shown(me, sandbox),
        "egress": egress.shown(me, sandbox),
        "packages": packages.shown(sandbox),
        "exposed": exposures.shown(me, sandbox),
        "materials": materials.shown(sandbox),
        "run_time": run_time.shown(sandbox),
        "honeytokens": honeytokens.shown(sandbox),
        "inventory": inventory.shown(sandbox),
        **_seal(sandbox),
        "log": list(sandbox.steps.order_by("id")[:MOST_STEPS]),
        "installs": installs,
        "before": before,
        "next": installs[-1].pk if more else None,
        "projects": len({install.project for install in installs}),
        "never_tried": usage.never_tried(sandbox),
        "undeclared": usage.tried_undeclared(sandbox),
        "entries": _entries(sandbox),
        "first_request": sandbox.requests.filter(kind=Kind.SANDBOX).first(),
        "receipt": receipt,
        "certificate": receipts.of(receipt),
        "version": version,
        "every": _every(sandbox),
    }


def _seal(sandbox: Sandbox) -> dict[str, Any]:
    """The newest test of the seal, and the few before it."""
    probes = list(sandbox.probes.order_by("-id")[: EARLIER_PROBES + 1])
    return {"probe": probes[0] if probes else None, "earlier_probes": probes[1:]}


def _installs(sandbox: Sandbox, before: int | None) -> tuple[list[Any], bool]:
    rows = usage.installs(sandbox)
    return slice_of(list((rows.filter(pk__lt=before) if before else rows)[: PAGE + 1]), PAGE)


def _may_enter(me: User, sandbox: Sandbox) -> bool:
    return sandbox.owner_id == me.pk and sandbox.phase == Phase.READY


def _access(sandbox: Sandbox, *, revealed: bool) -> Access | None:
    url = lifecycle.index_url(sandbox)
    if not url:
        return None
    parts = urlsplit(url)
    masked = f"{parts.scheme}://{parts.username}:••••••••@{parts.netloc.rpartition('@')[2]}{parts.path}"
    shown = url if revealed else masked
    pip = _pip(shown, parts.hostname or "")
    return Access(index_url=url if revealed else "", pip=pip, shell=_shell(sandbox))


def _pip(url: str, host: str) -> str:
    """pip asks for nothing more over https or on this machine; any other http host must be named to it."""
    trusted = url.startswith("https:") or host in ("127.0.0.1", "localhost", "::1")
    return f"pip install {'' if trusted else f'--trusted-host {host} '}--index-url {url} PACKAGE"


def _shell(sandbox: Sandbox) -> str:
    if sandbox.simulated:
        return ""
    return f"kubectl -n {sandbox.namespace} exec -it {WORKSPACE_POD} -- sh"


def _extension(me: User, sandbox: Sandbox) -> dict[str, Any] | None:
    """What the form needs, or the extension that waits already; None when it is not theirs to extend."""
    if not queries.may_extend(me, sandbox):
        return None
    waiting = sandbox.requests.filter(kind=Kind.EXTENSION, state=State.PENDING).first()
    profile = all_profiles().get(sandbox.profile)
    left = profile.max_duration - sandbox.lease if profile else None
    choices = {
        value: label for value, label in EXTENSIONS.items() if left is None or parse_duration(value) <= left
    }
    return {"waiting": waiting, "choices": choices, "profile": profile}


def _entries(sandbox: Sandbox) -> list[Entry]:
    """The newest entries on the sandbox, its requests and waivers, oldest of them first."""
    subjects = [
        f"request:{pk}"
        for pk in sandbox.requests.order_by("-id").values_list("pk", flat=True)[:MOST_REQUESTS]
    ]
    subjects += [
        f"waiver:{pk}" for pk in sandbox.waivers.order_by("-id").values_list("pk", flat=True)[:MOST_REQUESTS]
    ]
    found: Iterable[Entry] = chain.from_iterable(
        about(subject).order_by("-id")[:MOST_ENTRIES] for subject in [f"sandbox:{sandbox.pk}", *subjects]
    )
    return sorted(found, key=lambda entry: entry.pk)[-MOST_ENTRIES:]


def _every(sandbox: Sandbox) -> int:
    if sandbox.phase in OVER:
        return NEVER
    return SLOW if sandbox.phase in OPENED else FAST
