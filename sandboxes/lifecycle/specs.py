"""From a row to the objects of its sandbox, and what the seal has to know of the cluster for that."""

import logging
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from django.conf import settings

from sandboxes.cluster import targets
from sandboxes.cluster.canary import CanaryTemplates, load_canary
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.images import check_image
from sandboxes.cluster.isolated import Whose, load_isolated, render_isolated
from sandboxes.cluster.profiles import Profile
from sandboxes.cluster.render import Rendered, Templates, load_templates, render
from sandboxes.cluster.seal import check_egress
from sandboxes.cluster.spec import DnsAddress, EgressBlock, KubeObject, SandboxSpec, Target
from sandboxes.cluster.targets import without_doubles
from sandboxes.cluster.templates import Document
from sandboxes.errors import InvalidInputError, TemporaryError
from sandboxes.lifecycle import bait, egress
from sandboxes.lifecycle.models import RegisteredCluster, Sandbox
from sandboxes.lifecycle.phases import Phase
from sandboxes.lifecycle.queries import credentialed_index_url
from sandboxes.lifecycle.tokens import index_token

logger = logging.getLogger(__name__)
_FACTS_LIVE = 60.0  # seconds


@dataclass(frozen=True)
class Facts:
    """What a cluster says about itself that the seal depends on, and what an admin adds to it."""

    simulated: bool
    blocked_targets: tuple[Target, ...]
    dns: tuple[DnsAddress, ...]


class _Cache[T]:
    """Facts change when nodes come and go: a minute old is fresh enough, and one sandbox asks ten times.

    The lock is not held while a cluster is asked: a slow one must not make other workers wait.
    """

    def __init__(self, ask: Callable[[Cluster], T]) -> None:
        self._ask = ask
        self._lock = Lock()
        self._kept: dict[str, tuple[float, T]] = {}

    def of(self, cluster: Cluster) -> T:
        with self._lock:
            kept = self._kept.get(cluster.name)
        if kept is not None and time.monotonic() - kept[0] < _FACTS_LIVE:
            return kept[1]
        asked = self._ask(cluster)
        with self._lock:
            self._kept[cluster.name] = (time.monotonic(), asked)
        return asked

    def forget(self) -> None:
        with self._lock:
            self._kept.clear()


def _ask(cluster: Cluster) -> Facts:
    dns = cluster.dns_addresses()
    found = [*cluster.default_blocked_targets(), *_outside()]
    allowed = {(each.address, each.port) for each in dns}
    return Facts(
        simulated=cluster.info().simulated,
        blocked_targets=tuple(t for t in without_doubles(found) if (t.host, t.port) not in allowed),
        dns=dns,
    )


def _outside() -> Iterator[Target]:
    """What only an admin can know: the world, a DNS server in it, and whatever else must stay closed."""
    yield Target("outside", *settings.PROBE_OUTSIDE)
    yield Target("other-dns", settings.PROBE_DNS, 53, "udp")
    for name, address, port in settings.PROBE_TARGETS:
        yield Target(name, address, port)


_facts = _Cache(_ask)
facts = _facts.of
_closed = _Cache(lambda cluster: cluster.closed_ranges())
closed_ranges = _closed.of  # the cluster's own addresses: asked only where there are egress exceptions


def forget_facts() -> None:
    """For tests: the next question is asked of the cluster itself."""
    _facts.forget()
    _closed.forget()


@cache
def templates() -> Templates:
    return load_templates(settings.TEMPLATES_ROOT, settings.WORKSPACE_IMAGE or None)


@cache
def isolated_templates() -> tuple[Document, ...]:
    """Read on their own: a profile that is broken keeps no sandbox from being cut off."""
    return load_isolated(settings.TEMPLATES_ROOT)


@cache
def canary_templates() -> CanaryTemplates:
    return load_canary(settings.TEMPLATES_ROOT)


def canary_image() -> str:
    """Any image with Python 3.8 or newer; the sandboxes' own is there already."""
    image: str = settings.PROBE_IMAGE or settings.WORKSPACE_IMAGE
    image = image or next(iter(templates().profiles.values())).image
    _check_image(image)
    return image


def canary_address(cluster: str) -> str:
    """Where the canary was last seen to answer; "" if it never was. See `proving`."""
    rows = RegisteredCluster.objects.filter(name=cluster).values_list("control__canary", flat=True)
    return rows.first() or ""


def index_addresses(host: str, port: int) -> tuple[str, ...]:
    """Every IP address the index has, which is all that a network policy can name."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise TemporaryError(f"The index's host {host!r} has no address ({error}); set INDEX_URL.") from error
    return tuple(sorted({str(entry[4][0]) for entry in found}))


@dataclass(frozen=True)
class _Service:
    """One of ours that a sandbox reaches: a name for people, addresses for the policy."""

    host: str
    port: int
    addresses: tuple[str, ...]

    @classmethod
    def at(cls, url: str) -> "_Service":
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        return cls(host, port, index_addresses(host, port))


def control_targets(cluster: Cluster, canary: str) -> list[list[Any]]:
    """Everything that any sandbox of this cluster is probed with, for the control to try."""
    known = facts(cluster)
    index = _Service.at(settings.INDEX_URL)
    proxy = _Service.at(settings.EGRESS_PROXY_URL) if settings.EGRESS_PROXY_URL else None
    return targets.control_targets(
        (*known.blocked_targets, *targets.canary_targets(canary)),
        known.dns,
        (index.addresses, index.port),
        (proxy.addresses, proxy.port) if proxy else None,
    )


def rendered(sandbox: Sandbox, cluster: Cluster) -> Rendered:
    """The objects of this sandbox on this cluster; the same row gives the same objects."""
    profile = templates().profiles.get(sandbox.profile)
    if profile is None:
        raise InvalidInputError(f"There is no profile {sandbox.profile!r} any more.")
    _check_image(profile.image)
    known = facts(cluster)
    index = _Service.at(settings.INDEX_URL)
    closed, blocks = _open_blocks(sandbox, cluster)
    spec = SandboxSpec(
        sandbox_id=sandbox.pk,
        installation_id=settings.INSTALLATION_ID,
        name=sandbox.name or "",
        namespace=sandbox.namespace or "",
        profile=sandbox.profile,
        owner=f"{settings.KUBE_USER_PREFIX}{sandbox.owner.get_username()}",
        expires_at=sandbox.expires_at.isoformat() if sandbox.expires_at else None,
        index_url=credentialed_index_url(sandbox),
        index_host=index.host,
        index_port=index.port,
        index_addresses=index.addresses,
        blocked_targets=(*known.blocked_targets, *targets.canary_targets(canary_address(cluster.name))),
        dns=known.dns,
        isolated=sandbox.phase == Phase.ISOLATED,
        egress=blocks,
        closed=closed,
        run=run_of(sandbox),
        bait=bait.files(sandbox.pk),
        **_of_profile(profile),
        **_proxy(sandbox),
    )
    return render(spec, templates())


def isolated(sandbox: Sandbox) -> list[KubeObject]:
    """What cuts it off, the policies first; also when it could not be rendered whole any more."""
    namespace = sandbox.namespace or ""
    whose = Whose(str(sandbox.pk), settings.INSTALLATION_ID, namespace, sandbox.profile)
    return render_isolated(isolated_templates(), whose)


def _open_blocks(sandbox: Sandbox, cluster: Cluster) -> tuple[tuple[str, ...], tuple[EgressBlock, ...]]:
    """The cluster's own ranges, and the exceptions that hold none of them.

    The cluster may grow into a block that was fine when it was allowed. It is closed then, not
    an error: `egress.keep` ends it with a word to its owner, and until that the rest must go on.
    """
    blocks = egress.active_blocks(sandbox)
    if not blocks:
        return (), ()
    closed = closed_ranges(cluster)
    return closed, tuple(block for block in blocks if _is_clear(block, closed))


def _is_clear(block: EgressBlock, closed: tuple[str, ...]) -> bool:
    try:
        check_egress((block,), closed)
    except InvalidInputError as error:
        logger.warning("An egress exception is left out: %s", error)
        return False
    return True


def run_of(sandbox: Sandbox) -> str:
    """Names the run of the probe that is wanted now: the first one, or that which began at a certain moment."""
    began = sandbox.probe_started_at
    return "opening" if began is None else str(int(began.timestamp() * 1000))


def _check_image(image: str) -> None:
    check_image(image, registries=settings.IMAGE_REGISTRIES, digest_required=settings.IMAGE_DIGESTS_REQUIRED)


def _of_profile(profile: Profile) -> dict[str, Any]:
    """What a profile and a spec call by the same name."""
    names = ("image", "cpu", "memory", "storage", "gpu", "runtime_class", "node_selector", "tolerations")
    return {name: getattr(profile, name) for name in (*names, "gpu_resource")}


def _proxy(sandbox: Sandbox) -> dict[str, Any]:
    """The egress proxy, if there is one: a sandbox logs in there as it does at the index."""
    if not settings.EGRESS_PROXY_URL:
        return {}
    parts = urlsplit(settings.EGRESS_PROXY_URL)
    login = f"{quote(sandbox.name or '', safe='')}:{index_token(sandbox)}"
    proxy = _Service.at(settings.EGRESS_PROXY_URL)
    return {
        "proxy_url": urlunsplit((parts.scheme, f"{login}@{parts.netloc}", parts.path, "", "")),
        "proxy_host": proxy.host,
        "proxy_port": proxy.port,
        "proxy_addresses": proxy.addresses,
    }
