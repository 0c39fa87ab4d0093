"""From a row to the objects of its sandbox, and what the seal has to know of the cluster for that."""

import socket
import time
from dataclasses import dataclass
from functools import cache
from threading import Lock
from urllib.parse import urlsplit

from django.conf import settings

from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.images import check_image
from sandboxes.cluster.render import Rendered, Templates, load_templates, render
from sandboxes.cluster.spec import SandboxSpec, Target
from sandboxes.errors import InvalidInputError, TemporaryError
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.queries import credentialed_index_url

_FACTS_LIVE = 60.0  # seconds


@dataclass(frozen=True)
class Facts:
    """What a cluster says about itself that the seal depends on."""

    simulated: bool
    blocked_targets: tuple[Target, ...]
    dns: tuple[str, ...]


class _FactsCache:
    """Facts change when nodes come and go: a minute old is fresh enough, and one sandbox asks ten times.

    The lock is not held while a cluster is asked: a slow one must not make other workers wait.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: dict[str, tuple[float, Facts]] = {}

    def of(self, cluster: Cluster) -> Facts:
        with self._lock:
            kept = self._kept.get(cluster.name)
        if kept is not None and time.monotonic() - kept[0] < _FACTS_LIVE:
            return kept[1]
        asked = Facts(
            simulated=cluster.info().simulated,
            blocked_targets=cluster.default_blocked_targets(),
            dns=cluster.dns_addresses(),
        )
        with self._lock:
            self._kept[cluster.name] = (time.monotonic(), asked)
        return asked

    def forget(self) -> None:
        with self._lock:
            self._kept.clear()


_facts = _FactsCache()
facts = _facts.of
forget_facts = _facts.forget


@cache
def templates() -> Templates:
    return load_templates(settings.TEMPLATES_ROOT, settings.WORKSPACE_IMAGE or None)


def index_addresses(host: str, port: int) -> tuple[str, ...]:
    """Every IP address the index has, which is all that a network policy can name."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise TemporaryError(f"The index's host {host!r} has no address ({error}); set INDEX_URL.") from error
    return tuple(sorted({str(entry[4][0]) for entry in found}))


def rendered(sandbox: Sandbox, cluster: Cluster) -> Rendered:
    """The objects of this sandbox on this cluster; the same row gives the same objects."""
    profile = templates().profiles.get(sandbox.profile)
    if profile is None:
        raise InvalidInputError(f"There is no profile {sandbox.profile!r} any more.")
    check_image(
        profile.image, registries=settings.IMAGE_REGISTRIES, digest_required=settings.IMAGE_DIGESTS_REQUIRED
    )
    known = facts(cluster)
    index = urlsplit(settings.INDEX_URL)
    host, port = index.hostname or "", index.port or (443 if index.scheme == "https" else 80)
    spec = SandboxSpec(
        sandbox_id=sandbox.pk,
        installation_id=settings.INSTALLATION_ID,
        name=sandbox.name or "",
        namespace=sandbox.namespace or "",
        profile=sandbox.profile,
        owner=f"{settings.KUBE_USER_PREFIX}{sandbox.owner.get_username()}",
        expires_at=sandbox.expires_at.isoformat() if sandbox.expires_at else None,
        index_url=credentialed_index_url(sandbox),
        index_host=host,
        index_port=port,
        index_addresses=index_addresses(host, port),
        image=profile.image,
        cpu=profile.cpu,
        memory=profile.memory,
        storage=profile.storage,
        gpu=profile.gpu,
        runtime_class=profile.runtime_class,
        blocked_targets=known.blocked_targets,
        dns=known.dns,
    )
    return render(spec, templates())
