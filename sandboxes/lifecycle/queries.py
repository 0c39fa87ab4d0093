"""Reads of sandboxes that pages, API and policy share."""

from urllib.parse import quote, urlsplit, urlunsplit

from django.conf import settings

from sandboxes.lifecycle.models import Probe, Receipt, Sandbox
from sandboxes.lifecycle.phases import LIVE, Phase
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
    login = f"{quote(sandbox.name or '', safe='')}:{index_token(sandbox.pk)}"
    return urlunsplit((parts.scheme, f"{login}@{parts.netloc}", f"{parts.path.rstrip('/')}/simple/", "", ""))


def newest_probe(sandbox: Sandbox) -> Probe | None:
    return sandbox.probes.order_by("-id").first()


def receipt(sandbox: Sandbox) -> Receipt | None:
    return Receipt.objects.filter(sandbox=sandbox).first()


_STATUS = {
    Phase.QUEUED: "Approved; it starts as soon as there is room.",
    Phase.PENDING: "Waiting for a worker to take it up.",
    Phase.PROVISIONING: "Making the namespace and its seal.",
    Phase.PROBING: "Testing that the seal holds; it opens when the test has passed.",
    Phase.READY: "Ready to use.",
    Phase.HIBERNATED: "Asleep: nothing runs. Its lease goes on; wake it whenever you like.",
    Phase.ISOLATED: "Isolated: no network, no access, no index token.",
    Phase.ENDING: "Access is revoked; everything in it is being deleted.",
    Phase.STUCK: "The cluster does not let go of it yet; it is tried again and again.",
    Phase.ENDED: "Gone: its absence was observed and the receipt is written.",
    Phase.FAILED: "It could not be opened; what had been made is gone again.",
}


def status(sandbox: Sandbox) -> str:
    """One plain sentence on where it stands, with the newest trouble if there is any."""
    sentence = _STATUS[Phase(sandbox.phase)]
    if sandbox.phase == Phase.FAILED or (sandbox.phase == Phase.ENDING and sandbox.failure):
        return f"{sentence} Reason: {sandbox.failure}"
    return f"{sentence} Last trouble: {sandbox.last_error}" if sandbox.last_error else sentence
