"""A simulated cluster for the reconciler: the real server, in its own process, with its delays cut short."""

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from portal.accounts.models import User
from sandboxes.cluster.driver import Cluster
from sandboxes.lifecycle import clock, clusters, isolation, limits, services, specs
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.moves import move
from sandboxes.lifecycle.phases import Phase
from sandboxes.lifecycle.tokens import digest, index_token
from tests.sandboxes.lifecycle.between import Between
from tests.sandboxes.lifecycle.by_hand import ByHand
from tests.sandboxes.lifecycle.taking_away import wait_until
from tests.sandboxes.lifecycle.working import is_in, until
from tests.simulator import Simulator


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator(
        tmp_path_factory.mktemp("cluster"), "--delete-seconds=0.1", "--ready-seconds=0.05"
    ) as running:
        yield running


@pytest.fixture
def cluster(simulator: Simulator, settings: object) -> Iterator[Cluster]:
    """The driver, as the lifecycle itself gets it."""
    settings.KUBECONFIG = str(simulator.kubeconfig)  # type: ignore[attr-defined]
    _forget()
    try:
        yield clusters.get("simulated")
    finally:
        _forget()


_get = clusters.get  # a test may put something in its place


def _forget() -> None:
    _get.cache_clear()
    specs.templates.cache_clear()
    specs.isolated_templates.cache_clear()
    specs.forget_facts()
    limits.forget()


@pytest.fixture
def between(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Between:
    return Between(cluster, monkeypatch)


@pytest.fixture
def hand(simulator: Simulator) -> Iterator[ByHand]:
    hand = ByHand(str(simulator.kubeconfig))
    yield hand
    hand.close()


@pytest.fixture
def sandbox(alice: User, cluster: Cluster) -> Sandbox:
    """A row in phase `pending`, as an approval leaves it."""
    return services.open_sandbox(
        owner=alice,
        profile="python",
        lease=timedelta(minutes=10),
        data_class="public",
        tools=["rich"],
        by=None,
    )


@pytest.fixture
def ready(sandbox: Sandbox) -> Sandbox:
    return until(sandbox, is_in(Phase.READY))


@pytest.fixture
def isolated(ready: Sandbox, iris: User) -> Sandbox:
    isolation.isolate(ready.pk, by=iris, reason="a package in it turned out to be malicious")
    return until(ready, lambda sandbox: sandbox.cut_at)


@pytest.fixture
def box(sandbox: Sandbox, cluster: Cluster, alice: User) -> Sandbox:
    """Alice's sandbox, ready: everything it is made of is in the cluster."""
    name = f"sbx-teardown-{sandbox.pk}-{time.monotonic_ns() % 10**9}"
    move(sandbox, Phase.PROVISIONING, name=name, namespace=name, simulated=True)
    rendered = specs.rendered(sandbox, cluster)
    sandbox.namespace_uid = cluster.ensure_namespace(rendered.seal[0])
    sandbox.save(update_fields=["namespace_uid"])
    cluster.apply(rendered.seal[1:])
    wait_until(lambda: cluster.quota_ready(name))
    cluster.apply(rendered.workspace)
    cluster.apply(rendered.access)
    wait_until(lambda: cluster.workspace(name).ready)
    move(sandbox, Phase.PROBING)
    now, token = clock.now(), digest(index_token(sandbox))
    move(
        sandbox,
        Phase.READY,
        ready_at=now,
        expires_at=now + sandbox.lease,
        index_token_digest=token,
        charged=True,
    )
    return sandbox


@pytest.fixture(scope="session")
def templates_root() -> Path:
    return Path(__file__).resolve().parents[3] / "k8s-templates"
