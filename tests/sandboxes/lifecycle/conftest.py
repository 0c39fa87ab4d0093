"""A simulated cluster for the reconciler: the real server, in its own process, with its delays cut short."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from portal.accounts.models import User
from sandboxes.cluster.driver import Cluster
from sandboxes.lifecycle import clusters, limits, services, specs
from sandboxes.lifecycle.models import Sandbox
from tests.sandboxes.lifecycle.between import Between
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
    specs.forget_facts()
    limits.forget()


@pytest.fixture
def between(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Between:
    return Between(cluster, monkeypatch)


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


@pytest.fixture(scope="session")
def templates_root() -> Path:
    return Path(__file__).resolve().parents[3] / "k8s-templates"
