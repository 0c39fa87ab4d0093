"""The whole journey on a real cluster: pods run, pip works inside them, other traffic is dropped."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from kubernetes import config as kube_config

from sandboxes.cluster.driver import connect
from sandboxes.cluster.names import WORKSPACE_POD
from tests.cluster.conftest import own_address, real_kubeconfig, remove_installation
from tests.journey import TRIAL, Person, local_upstream, people
from tests.petridish import Petridish, running

pytestmark = [pytest.mark.cluster, pytest.mark.enable_socket]

CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 3).close()
    print("open")
except OSError:
    print("blocked")
"""


@dataclass(frozen=True)
class Kubectl:
    """The cluster as a person meets it: `kubectl --as` them."""

    kubeconfig: str
    context: str

    def __call__(self, person: str, namespace: str, *words: str) -> subprocess.CompletedProcess[str]:
        cluster = ["--kubeconfig", self.kubeconfig, "--context", self.context]
        where = [*cluster, "--as", f"petridish:{person}", "-n", namespace]
        return subprocess.run(
            ["kubectl", *where, *words], capture_output=True, text=True, check=False, timeout=90
        )

    def inside(self, person: str, namespace: str, *command: str) -> str:
        """What the command prints in the workspace."""
        return self(person, namespace, "exec", WORKSPACE_POD, "--", *command).stdout.strip()

    def may_enter(self, person: str, namespace: str, pod: str) -> str:
        """ "yes" or "no"."""
        asked = ("auth", "can-i", "create", f"pods/{pod}", "--subresource=exec")
        return self(person, namespace, *asked).stdout.strip()


@pytest.fixture(scope="module")
def portal(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Petridish, Kubectl]]:
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl, which a sandbox is entered with")
    kubeconfig = real_kubeconfig(request.config)
    context = os.environ.get("PETRIDISH_TEST_CONTEXT") or _current_context(kubeconfig)
    image = os.environ.get("PETRIDISH_TEST_IMAGE") or ""
    installation = f"journey-{secrets.token_hex(4)}"
    with ExitStack() as stack:
        stack.callback(_remove_all, kubeconfig, context, installation)
        upstream = stack.enter_context(local_upstream())
        petridish = stack.enter_context(
            running(
                tmp_path_factory.mktemp("real") / "data",
                KUBECONFIG=kubeconfig,
                KUBE_CONTEXT=context,
                INDEX_BIND=own_address(kubeconfig),
                INDEX_UPSTREAM=upstream.url,
                WORKSPACE_IMAGE=image,
                INSTALLATION_ID=installation,
            )
        )
        yield petridish, Kubectl(kubeconfig, context)


def _remove_all(kubeconfig: str, context: str, installation: str) -> None:
    """Also what a test that failed left; the portal is gone by then."""
    cluster = connect(name="real", kubeconfig=kubeconfig, context=context)
    try:
        remove_installation(cluster, installation)
    finally:
        cluster.close()


def _current_context(kubeconfig: str) -> str:
    _, current = kube_config.list_kube_config_contexts(kubeconfig)  # type: ignore[no-untyped-call]
    return str(current["name"])


def test_request_install_end(portal: tuple[Petridish, Kubectl]) -> None:
    petridish, kubectl = portal
    with people(petridish) as person:
        alice = person("alice")
        sandbox = alice.sandbox_ready(alice.post("/requests", TRIAL, 201)["sandbox"])
        assert sandbox["simulated"] is False
        assert sandbox["probe"]["passed"] is True
        inside = partial(kubectl.inside, "alice", sandbox["namespace"])

        assert "Successfully installed demo-2.0" in inside("pip", "install", "demo")
        assert inside("python3", "-c", "import demo; print(demo.VERSION)") == "2.0"
        installs = alice.get(f"/sandboxes/{sandbox['id']}/installs")
        assert {row["project"] for row in installs} == {"demo", "helper"}
        for attempt in sandbox["probe"]["attempts"]:
            if attempt["protocol"] == "udp":
                continue
            outcome = inside("python3", "-c", CONNECT, attempt["host"], str(attempt["port"]))
            assert outcome == attempt["expected"], attempt

        _ends_without_a_trace(alice, sandbox, kubectl)


def test_others_do_not_get_in_and_the_owner_cannot_touch_the_seal(portal: tuple[Petridish, Kubectl]) -> None:
    petridish, kubectl = portal
    with people(petridish) as person:
        bob = person("bob")
        sandbox = bob.sandbox_ready(bob.post("/requests", TRIAL, 201)["sandbox"])
        namespace = sandbox["namespace"]
        assert "forbidden" in kubectl("alice", namespace, "get", "pods").stderr
        assert "forbidden" in kubectl("bob", namespace, "delete", "networkpolicy", "deny-all").stderr
        assert "forbidden" in kubectl("bob", namespace, "get", "secrets").stderr
        entered = {pod: kubectl.may_enter("bob", namespace, pod) for pod in (WORKSPACE_POD, "probe")}
        assert entered == {WORKSPACE_POD: "yes", "probe": "no"}
        _ends_without_a_trace(bob, sandbox, kubectl)


def _ends_without_a_trace(person: Person, sandbox: dict[str, Any], kubectl: Kubectl) -> None:
    person.post(f"/sandboxes/{sandbox['id']}/end")
    over = person.sandbox_over(sandbox["id"])
    assert over["receipt"]["document"]["leftovers"] == []
    cluster = connect(name="real", kubeconfig=kubectl.kubeconfig, context=kubectl.context)
    try:
        assert cluster.namespace(sandbox["namespace"]) is None
    finally:
        cluster.close()
