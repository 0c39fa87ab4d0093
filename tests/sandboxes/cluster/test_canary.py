"""The canary: its script as it runs, and what is rendered for it."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandboxes.cluster import canary_script
from sandboxes.cluster.canary import canary_namespace, load_canary, render_canary, render_control
from sandboxes.cluster.probe_script import QUERY
from sandboxes.cluster.render import check_templates
from sandboxes.cluster.simulator.podsecurity import violations
from sandboxes.cluster.spec import CANARY_PORT, Labels
from sandboxes.errors import TemplateError
from tests.sandboxes.cluster.conftest import ROOT
from tests.simulator import free_port

TEMPLATES = load_canary(ROOT)


@pytest.fixture
def ports() -> Iterator[tuple[int, int]]:
    """A canary as its pod runs it: (the port of its word, its DNS port)."""
    word, dns = free_port(), free_port()
    environment = {
        **os.environ,
        "PETRIDISH_CANARY_PORT": str(word),
        "PETRIDISH_CANARY_DNS_PORT": str(dns),
    }
    text = Path(canary_script.__file__).read_text()
    with subprocess.Popen([sys.executable, "-I", "-c", text], env=environment) as process:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", dns), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield word, dns
        process.kill()


def test_it_answers_over_tcp(ports: tuple[int, int]) -> None:
    with socket.create_connection(("127.0.0.1", ports[0]), 2) as connection:
        assert connection.recv(100) == b"canary\n"


def test_it_answers_dns_over_both(ports: tuple[int, int]) -> None:
    query = b"\x12\x34" + QUERY
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(2)
        asker.sendto(query, ("127.0.0.1", ports[1]))
        answer = asker.recv(512)
    assert answer[:2] == b"\x12\x34"
    assert answer[2] & 0x80  # it is an answer
    assert answer[3] & 0x0F == 3  # there is no such name
    assert answer[12:] == query[12:]  # with the question it answers
    with socket.create_connection(("127.0.0.1", ports[1]), 2) as connection:
        connection.sendall(len(query).to_bytes(2, "big") + query)
        assert connection.recv(512)[2:] == answer


def test_a_caller_that_says_nothing_keeps_nobody_waiting(ports: tuple[int, int]) -> None:
    with socket.create_connection(("127.0.0.1", ports[1]), 2):
        begin = time.monotonic()
        with socket.create_connection(("127.0.0.1", ports[0]), 5) as connection:
            assert connection.recv(100) == b"canary\n"
        assert time.monotonic() - begin < 2


def test_callers_that_say_nothing_silence_it_for_nobody(ports: tuple[int, int]) -> None:
    """A silent canary proves no seal, so whoever could silence it would keep every sandbox closed."""
    silent = [socket.create_connection(("127.0.0.1", ports[1]), 2) for _ in range(300)]
    try:
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", ports[0]), 2) as connection:
                assert connection.recv(16) == b"canary\n"
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
                asker.settimeout(2)
                asker.sendto(b"\x12\x34" + QUERY, ("127.0.0.1", ports[1]))
                assert asker.recv(512)
            silent += [socket.create_connection(("127.0.0.1", ports[1]), 2) for _ in range(50)]
    finally:
        for connection in silent:
            connection.close()


@pytest.mark.parametrize("query", [b"", b"\x12", bytes(11)])
def test_rubbish_is_not_answered(query: bytes) -> None:
    assert canary_script.dns_answer(query) == b""


def test_it_is_ours_and_no_sandbox() -> None:
    objects, spec_hash = render_canary(TEMPLATES, installation_id="inst-1", image="python:3.13-slim")
    control = render_control(
        TEMPLATES, installation_id="inst-1", image="python:3.13-slim", name="control-1", targets=[]
    )
    for item in (*objects, control):
        labels = item["metadata"]["labels"]
        assert labels[Labels.INSTALLATION] == "inst-1"
        assert labels[Labels.CANARY] == "true"
        assert Labels.SANDBOX not in labels
        where = item["metadata"]["name" if item["kind"] == "Namespace" else "namespace"]
        assert where == canary_namespace("inst-1")
    (deployment,) = [item for item in objects if item["kind"] == "Deployment"]
    assert deployment["spec"]["template"]["metadata"]["labels"][Labels.SPEC_HASH] == spec_hash
    assert Labels.SANDBOX not in deployment["spec"]["template"]["metadata"]["labels"]
    assert objects[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_another_image_makes_another_canary() -> None:
    hashes = {render_canary(TEMPLATES, installation_id="i", image=image)[1] for image in ("a", "b")}
    assert len(hashes) == 2


def test_two_installations_on_one_cluster_have_two_canaries() -> None:
    names = {canary_namespace(each) for each in ("inst-1", "inst-2", "Inst-1")}
    assert len(names) == 3
    assert all(name.startswith("petridish-canary-") and len(name) <= 63 for name in names)


def test_its_pods_are_restricted_and_have_no_token() -> None:
    objects, _ = render_canary(TEMPLATES, installation_id="inst-1", image="a")
    (deployment,) = [item for item in objects if item["kind"] == "Deployment"]
    control = render_control(TEMPLATES, installation_id="inst-1", image="a", name="control-1", targets=[])
    for pod in (deployment["spec"]["template"]["spec"], control["spec"]):
        assert violations("restricted", pod) == []
        assert pod["automountServiceAccountToken"] is False
    declared = {
        (port["containerPort"], port.get("protocol", "TCP"))
        for port in deployment["spec"]["template"]["spec"]["containers"][0]["ports"]
    }
    assert declared == {(CANARY_PORT, "TCP"), (53, "TCP"), (53, "UDP")}


def test_the_control_gets_the_probes_targets() -> None:
    targets = [["index", "192.0.2.1", 8081, "tcp", "open"]]
    pod = render_control(TEMPLATES, installation_id="i", image="a", name="control-1", targets=targets)
    variables = {each["name"]: each["value"] for each in pod["spec"]["containers"][0]["env"]}
    assert json.loads(variables["PETRIDISH_PROBE_TARGETS"]) == targets
    assert variables["PETRIDISH_PROBE_MODE"] == "control"
    assert pod["metadata"]["labels"][Labels.RUN] == pod["metadata"]["name"] == "control-1"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("41-x.yaml", "a: [\n", "41-x.yaml:2: bad YAML"),
        (
            "41-x.yaml",
            "apiVersion: v1\nkind: Node\nmetadata:\n  name: x\n",
            "41-x.yaml:2: a canary is not made of",
        ),
        (
            "41-x.yaml",
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: ${owner}\n",
            "41-x.yaml:4: unknown placeholder",
        ),
        ("51-x.yaml", "apiVersion: v1\nkind: Pod\nmetadata:\n  name: x\n", "one pod, its control"),
        ("x.yaml", "apiVersion: v1\n", "NN-kind.yaml"),
    ],
)
def test_a_mistake_in_its_templates_is_named(root: Path, name: str, text: str, message: str) -> None:
    (root / "canary" / name).write_text(text)
    assert any(message in problem for problem in check_templates(root))
    with pytest.raises(TemplateError, match=message.partition(":")[0].removesuffix("…")):
        load_canary(root)


def test_without_a_namespace_there_is_no_canary(root: Path) -> None:
    (root / "canary" / "00-namespace.yaml").unlink()
    assert any("must begin with its Namespace" in problem for problem in check_templates(root))
