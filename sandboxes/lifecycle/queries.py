"""Reads of sandboxes that pages, API and policy share."""

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote, urlsplit, urlunsplit

from django.conf import settings
from django.db.models import Count, Min

from sandboxes.lifecycle.clock import Now
from sandboxes.lifecycle.models import Probe, Receipt, Sandbox
from sandboxes.lifecycle.phases import GOING, LIVE, Phase
from sandboxes.lifecycle.quota import position
from sandboxes.lifecycle.tokens import index_token


def live_count(owner_id: int) -> int:
    """How many sandboxes of this person are on their way or open."""
    return Sandbox.objects.filter(owner_id=owner_id, phase__in=LIVE).count()


def index_url(sandbox: Sandbox) -> str:
    """The index with this sandbox's credentials, while they work; for the owner's eyes only."""
    if sandbox.phase != Phase.READY or not sandbox.index_token_digest:
        return ""
    return credentialed_index_url(sandbox)


def credentialed_index_url(sandbox: Sandbox) -> str:
    """`http://NAME:TOKEN@HOST:PORT/simple/`."""
    parts = urlsplit(settings.INDEX_URL)
    login = f"{quote(sandbox.name or '', safe='')}:{index_token(sandbox)}"
    return urlunsplit((parts.scheme, f"{login}@{parts.netloc}", f"{parts.path.rstrip('/')}/simple/", "", ""))


def newest_probe(sandbox: Sandbox) -> Probe | None:
    return sandbox.probes.order_by("-id").first()


def receipt(sandbox: Sandbox) -> Receipt | None:
    return Receipt.objects.filter(sandbox=sandbox).first()


@dataclass(frozen=True)
class Load:
    """What the engine has to do now: sandboxes by phase, and the rows whose time has come."""

    phases: list[tuple[str, int]]
    due: int
    oldest_due: datetime | None
    leased: int


def load() -> Load:
    """Over what is not over, by partial indexes: history costs nothing."""
    alive = Sandbox.objects.filter(next_check_at__isnull=False)
    counted = dict(alive.order_by().values_list("phase").annotate(Count("id")))
    due = alive.filter(next_check_at__lte=Now()).aggregate(Count("id"), Min("next_check_at"))
    return Load(
        phases=[(phase.value, counted[phase]) for phase in Phase if phase in counted],
        due=due["id__count"],
        oldest_due=due["next_check_at__min"],
        leased=alive.filter(leased_until__gt=Now()).count(),
    )


_STATUS = {
    Phase.QUEUED: "Approved; it starts as soon as there is room.",
    Phase.PENDING: "Waiting for a worker to take it up.",
    Phase.PROVISIONING: "Making the namespace and its seal.",
    Phase.PROBING: "Testing that the seal holds; it opens when the test has passed.",
    Phase.READY: "Ready to use.",
    Phase.HIBERNATED: "Asleep: nothing runs. Its lease goes on; its owner may wake it at any time.",
    Phase.ISOLATED: "Isolated: no network, no access, no packages; nothing in it runs.",
    Phase.ENDING: "Access is revoked; everything in it is being deleted.",
    Phase.STUCK: "The cluster does not let go of it yet; it is tried again and again.",
    Phase.ENDED: "Gone: its absence was observed and the receipt is written.",
    Phase.FAILED: "It could not be opened; what had been made is gone again.",
}


def _under_way(sandbox: Sandbox) -> str:
    """Where the phase was changed and the cluster has yet to follow; "" anywhere else."""
    if sandbox.phase == Phase.PROBING and sandbox.ready_at is not None:
        return "Opening again: its seal is tested first."
    if sandbox.phase == Phase.HIBERNATED and sandbox.hibernated_at is None:
        return "Falling asleep: what runs in it is being stopped."
    if sandbox.phase == Phase.ISOLATED and sandbox.cut_at is None:
        return "Isolated: its index token is gone, and it is being cut off on the cluster."
    return ""


def status(sandbox: Sandbox, place: int | None = None) -> str:
    """One plain sentence on where it stands, with the newest trouble if there is any.

    `place` is that in the queue, for who knows it already.
    """
    sentence = _under_way(sandbox) or _STATUS[Phase(sandbox.phase)]
    if sandbox.phase == Phase.QUEUED:
        waits = f" {sandbox.last_error}" if sandbox.last_error else ""
        return f"{sentence} It is number {place or position(sandbox)} in the queue.{waits}"
    if sandbox.phase == Phase.FAILED or (sandbox.phase == Phase.ENDING and sandbox.failure):
        waits = f" {sandbox.blocker}" if sandbox.blocker else ""
        return f"{sentence} Reason: {sandbox.failure}{waits}"
    if sandbox.blocker and sandbox.phase in GOING:
        return f"{sentence} {sandbox.blocker}"
    return f"{sentence} Last trouble: {sandbox.last_error}" if sandbox.last_error else sentence
