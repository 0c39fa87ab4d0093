"""Running the one script in a workspace's pod: over a real WebSocket, and what can go wrong with it."""

import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from sandboxes.cluster import entering
from sandboxes.cluster.driver import Cluster, connect
from sandboxes.cluster.entering import inventory_command
from sandboxes.cluster.platform import Platform, render_platform
from sandboxes.cluster.simulator.server import kubeconfig
from sandboxes.errors import ClusterRefusedError, ClusterUnavailableError
from tests.sandboxes.cluster.pod_server import PodServer, Run, really, serving
from tests.sandboxes.cluster.test_inventory_script import dist
from tests.simulator import ROOT

EMPTY = b'{"items": [], "unread": 0, "complete": true}\n'


def cluster(server: PodServer, folder: Path) -> Cluster:
    path = folder / "kubeconfig"
    path.write_text(kubeconfig(f"http://127.0.0.1:{server.port}", "s3cret"))
    return connect("stub", str(path), None)


def test_the_script_runs_and_its_output_is_read(tmp_path: Path) -> None:
    """The whole command, run by a real shell."""
    dist(tmp_path / "workspace" / "site-packages", "demo", {})
    with serving(_only_in(tmp_path / "workspace")) as server:
        found = cluster(server, tmp_path).installed("sbx-a")
    assert [item["name"] for item in found["items"]] == ["demo"]
    [(target, headers)] = server.asked
    parts = urlsplit(target)
    query = parse_qs(parts.query)
    assert parts.path == "/api/v1/namespaces/sbx-a/pods/workspace-0/exec"
    assert query == {"container": ["workspace"], "stdout": ["true"], "command": inventory_command()}
    assert "authorization: Bearer s3cret" in headers


def _only_in(folder: Path) -> Run:
    """A machine's own /tmp may hold more than the script reads in all its time."""
    roots = 'ROOTS = ("/workspace", "/tmp")'
    assert roots in inventory_command()[3]
    return lambda command: really([each.replace(roots, f"ROOTS = ({str(folder)!r},)") for each in command])


def test_a_long_output_comes_whole(tmp_path: Path) -> None:
    many = {"items": [{"name": f"p{number}"} for number in range(20_000)], "complete": True}
    with serving(lambda _: (json.dumps(many).encode(), 0)) as server:
        assert cluster(server, tmp_path).installed("sbx-a") == many


@pytest.mark.parametrize(
    ("output", "code", "says"),
    [
        (EMPTY, 1, "failed in the container"),
        (b"", 127, "failed in the container"),
        (b"", 0, "no inventory"),
        (b"[]", 0, "no inventory"),
        (b'{"items": 1}', 0, "no inventory"),
        (b"\xff\xfe", 0, "no inventory"),
    ],
)
def test_what_is_no_inventory(tmp_path: Path, output: bytes, code: int, says: str) -> None:
    with serving(lambda _: (output, code)) as server, pytest.raises(ClusterRefusedError, match=says):
        cluster(server, tmp_path).installed("sbx-a")


def test_more_than_it_should_print(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entering, "_BYTES", 1000)
    with (
        serving(lambda _: (b"x" * 100_000, 0)) as server,
        pytest.raises(ClusterRefusedError, match="more than it should"),
    ):
        cluster(server, tmp_path).installed("sbx-a")


def test_a_refusal_is_told_in_the_servers_words(tmp_path: Path) -> None:
    body = b'{"kind": "Status", "message": "Petridish: nobody enters", "code": 403}'
    answer = b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
    with (
        serving(refuse=answer % (len(body), body)) as server,
        pytest.raises(ClusterRefusedError, match=r"\(403\): Petridish: nobody enters"),
    ):
        cluster(server, tmp_path).installed("sbx-a")


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with serving() as server:
        gone = cluster(server, tmp_path)
    with pytest.raises(ClusterUnavailableError):
        gone.installed("sbx-a")


def test_the_admission_policy_lets_exactly_this_command_in() -> None:
    """As CEL literals: JSON's strings and lists are also CEL's."""
    platform = Platform("inst-1")
    [reach] = [
        item
        for item in render_platform(ROOT / "k8s-templates", platform)
        if item["kind"] == "ValidatingAdmissionPolicy" and item["metadata"]["name"].endswith("-reach")
    ]
    [rule] = [
        each["expression"]
        for each in yaml.safe_load(yaml.safe_dump(reach))["spec"]["validations"]
        if "CONNECT" in each["expression"]
    ]
    assert f"== {json.dumps(inventory_command())}" in rule
    assert '== "workspace-0"' in rule
