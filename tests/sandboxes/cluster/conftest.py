"""A spec to change, the real templates, and a copy of them to break."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sandboxes.cluster.driver import Cluster, connect
from sandboxes.cluster.render import Templates, load_templates
from sandboxes.cluster.spec import DnsAddress, SandboxSpec, Target
from tests.sandboxes.cluster.stub import Stub, serving

ROOT = Path(__file__).resolve().parents[3] / "k8s-templates"

SPEC = SandboxSpec(
    sandbox_id=7,
    installation_id="inst-1",
    name="sbx-alice-python-abc123",
    namespace="sbx-alice-python-abc123",
    profile="python",
    owner="petridish:alice",
    expires_at="2030-01-01T00:00:00Z",
    index_url="http://sbx-alice:s3cret@index.example:8081/simple/",
    index_host="index.example",
    index_port=8081,
    index_addresses=("192.0.2.1", "2001:db8::1"),
    image="python:3.13-slim",
    cpu="1",
    memory="1Gi",
    storage="4Gi",
    gpu=0,
    blocked_targets=(Target("api-server", "192.0.2.9", 6443),),
    dns=(DnsAddress("10.96.0.10"),),
)


@pytest.fixture(scope="session")
def templates() -> Templates:
    return load_templates(ROOT)


@pytest.fixture
def spec() -> Callable[..., SandboxSpec]:
    """The spec, with some fields changed."""
    return lambda **changes: replace(SPEC, **changes)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the templates that a test may change."""
    for folder in ("sandbox", "profiles", "canary", "isolated"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    return tmp_path


@pytest.fixture
def stub() -> Iterator[tuple[Stub, int]]:
    """An API server that answers whatever the test tells it to, and its port."""
    with serving() as stub:
        yield stub


@pytest.fixture
def cluster(stub: tuple[Stub, int], tmp_path: Path) -> Iterator[Cluster]:
    """The driver, talking to the stub."""
    config = {
        "clusters": [{"name": "x", "cluster": {"server": f"http://127.0.0.1:{stub[1]}"}}],
        "users": [{"name": "x", "user": {"token": "s3cret"}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "current-context": "x",
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    cluster = connect(name="stub", kubeconfig=str(tmp_path / "kubeconfig"), context=None)
    yield cluster
    cluster.close()
