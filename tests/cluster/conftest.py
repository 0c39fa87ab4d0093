"""Where the driver's contract is tested: the simulated cluster always, a real one if given.

For the real one set KUBECONFIG and either `-m cluster` or PETRIDISH_TEST_CLUSTER=1;
PETRIDISH_TEST_CONTEXT names a context other than the current one,
PETRIDISH_TEST_IMAGE names the workspace image (python3 must be in it), and
PETRIDISH_TEST_ADDRESS an address of this machine that pods can reach.
"""

import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from kubernetes import config as kube_config

from sandboxes.cluster.driver import Cluster, connect
from sandboxes.cluster.names import sandbox_name
from sandboxes.cluster.render import Rendered, Templates, load_templates, render
from sandboxes.cluster.spec import Labels, SandboxSpec, Target
from tests.simulator import ROOT, Simulator

REAL = pytest.param("real", marks=[pytest.mark.cluster, pytest.mark.enable_socket])


def wait_for[T](look: Callable[[], T], seconds: float = 60.0) -> T:
    """What `look` returns once that is true."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, f"still {found!r} after {seconds} s"
        time.sleep(0.05)
    return found


def ask_to_go(cluster: Cluster, installation_id: str) -> bool:
    """Everything of it, the canary too, which outlives its sandboxes on purpose. True if there was nothing."""
    left = list(cluster.namespaces(installation_id))
    for state in left:
        if state.labels.get(Labels.CANARY) == "true":  # no sandbox: the driver tells them apart
            cluster.delete_canary(state.name)
        else:
            cluster.delete_namespace(state.name, state.uid)
    return not left


def remove_installation(cluster: Cluster, installation_id: str) -> None:
    """Returns when nothing of it is left. Nobody may work for it any more: a worker would make its canary again."""
    wait_for(lambda: ask_to_go(cluster, installation_id), 120)


@dataclass(frozen=True)
class Subject:
    """A cluster to test, and how to make sandboxes there."""

    cluster: Cluster
    simulated: bool
    kubeconfig: str
    image: str
    index_address: str
    index_port: int
    templates: Templates
    installation_id: str = field(default_factory=lambda: f"contract-{secrets.token_hex(4)}")
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(1, 1_000)))

    def sandbox(self, **changes: object) -> tuple[SandboxSpec, Rendered]:
        """A new sandbox of alice's, rendered for this cluster."""
        number = next(self.numbers)
        name = sandbox_name("alice", "python", number, installation_id=self.installation_id)
        fields: dict[str, object] = {
            "sandbox_id": number,
            "installation_id": self.installation_id,
            "name": name,
            "namespace": name,
            "profile": "python",
            "owner": "alice@example.com",
            "expires_at": "2030-01-01T00:00:00Z",
            "index_url": f"http://{name}:token@{self.index_address}:{self.index_port}/simple/",
            "index_host": self.index_address,
            "index_port": self.index_port,
            "index_addresses": (self.index_address,),
            "image": self.image,
            "cpu": "500m",
            "memory": "256Mi",
            "storage": "256Mi",
            "gpu": 0,
            "blocked_targets": self.blocked(),
            "dns": self.cluster.dns_addresses(),
        }
        spec = SandboxSpec(**{**fields, **changes})  # type: ignore[arg-type]
        return spec, render(spec, self.templates)

    def blocked(self) -> tuple[Target, ...]:
        return self.cluster.default_blocked_targets()

    def sealed(self, **changes: object) -> tuple[SandboxSpec, Rendered, str]:
        """A new sandbox with its seal applied and its quota counted."""
        spec, rendered = self.sandbox(**changes)
        uid = self.cluster.ensure_namespace(rendered.seal[0])
        self.cluster.apply(rendered.seal[1:])
        wait_for(lambda: self.cluster.quota_ready(spec.namespace))
        return spec, rendered, uid

    def clean(self) -> None:
        """Ask for every namespace of this run to go."""
        ask_to_go(self.cluster, self.installation_id)


@pytest.fixture(scope="session")
def templates() -> Templates:
    return load_templates(ROOT / "k8s-templates")


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator(tmp_path_factory.mktemp("simulator"), "--delete-seconds", "0.2") as simulator:
        yield simulator


@pytest.fixture
def subject(request: pytest.FixtureRequest, templates: Templates, simulator: Simulator) -> Iterator[Subject]:
    """Every test has an installation of its own, so that no test sees another's namespaces."""
    real = request.param == "real"
    kubeconfig = real_kubeconfig(request.config) if real else str(simulator.kubeconfig)
    context = os.environ.get("PETRIDISH_TEST_CONTEXT") if real else None
    cluster = connect(name=request.param, kubeconfig=kubeconfig, context=context or None)
    listener = socket.create_server((own_address(kubeconfig) if real else "127.0.0.1", 0))
    address, port = listener.getsockname()[:2]
    subject = Subject(cluster, not real, kubeconfig, workspace_image(templates), address, port, templates)
    try:
        yield subject
    finally:
        subject.clean()
        cluster.close()
        listener.close()


def workspace_image(templates: Templates) -> str:
    """What sandboxes run here: the profile's own image, unless this cluster has another."""
    return os.environ.get("PETRIDISH_TEST_IMAGE") or templates.profiles["python"].image


def real_kubeconfig(config: pytest.Config) -> str:
    asked = os.environ.get("PETRIDISH_TEST_CLUSTER") == "1" or "cluster" in str(config.option.markexpr)
    path = os.environ.get("KUBECONFIG")
    if not asked or not path or not Path(path).is_file():
        pytest.skip("no real cluster: set KUBECONFIG and PETRIDISH_TEST_CLUSTER=1")
    return path


def own_address(kubeconfig: str) -> str:
    """The address of this machine on the way to the API server: pods reach that one too, mostly."""
    if given := os.environ.get("PETRIDISH_TEST_ADDRESS"):
        return given
    client = kube_config.new_client_from_config(kubeconfig)  # type: ignore[no-untyped-call]
    host = urlsplit(client.configuration.host).hostname or ""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 9))
        return str(probe.getsockname()[0])


__all__ = ["REAL", "Labels", "Subject", "own_address", "real_kubeconfig", "remove_installation", "wait_for"]
