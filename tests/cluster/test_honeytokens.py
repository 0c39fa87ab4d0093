"""Planted credentials on a real cluster: found in a pod, used through the seal, told, and cut off."""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any

import asyncssh
import httpx
import pytest

from sandboxes.cluster.driver import connect
from sandboxes.cluster.kinds import kind
from sandboxes.cluster.names import WORKSPACE_POD
from sandboxes.cluster.render import load_templates
from tests.cluster.conftest import Subject, own_address, real_kubeconfig, remove_installation, wait_for
from tests.cluster.test_journey import Kubectl, _current_context
from tests.journey import TRIAL, Person, people
from tests.petridish import Petridish, running
from tests.simulator import ROOT

pytestmark = [pytest.mark.cluster, pytest.mark.enable_socket]

# As a thief's tool: what lies in the home, and a request signed by hand (SigV4) to where it points.
THIEF = """
import configparser, datetime, hashlib, hmac, os, urllib.error, urllib.request
from urllib.parse import urlsplit
home = os.path.expanduser("~/.aws/")
read = configparser.ConfigParser()
read.read([home + "credentials", home + "config"])
found = read["default"]
url = found["endpoint_url"] + "/2015-03-31/functions/"
now = datetime.datetime.now(datetime.timezone.utc)
stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
where = "/".join([day, found["region"], "lambda", "aws4_request"])
parts = urlsplit(url)
canonical = f"GET\\n{parts.path}\\n\\nhost:{parts.netloc}\\nx-amz-date:{stamp}\\n\\nhost;x-amz-date\\n"
canonical += hashlib.sha256(b"").hexdigest()
text = f"AWS4-HMAC-SHA256\\n{stamp}\\n{where}\\n" + hashlib.sha256(canonical.encode()).hexdigest()
key = ("AWS4" + found["aws_secret_access_key"]).encode()
for part in where.split("/"):
    key = hmac.new(key, part.encode(), hashlib.sha256).digest()
signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
sign = f"AWS4-HMAC-SHA256 Credential={found['aws_access_key_id']}/{where}, "
sign += f"SignedHeaders=host;x-amz-date, Signature={signature}"
headers = {"Authorization": sign, "X-Amz-Date": stamp, "User-Agent": "Boto3/1.40"}
try:
    urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10)
except urllib.error.HTTPError as error:
    print(error.code)
"""
# The planted upload token, as twine sends it.
UPLOAD = """
import base64, configparser, os, urllib.error, urllib.request
read = configparser.ConfigParser()
read.read(os.path.expanduser("~/.pypirc"))
found = read["internal"]
login = base64.b64encode(f"{found['username']}:{found['password']}".encode()).decode()
request = urllib.request.Request(found["repository"], b"x", {"Authorization": "Basic " + login})
try:
    urllib.request.urlopen(request, timeout=10)
except urllib.error.HTTPError as error:
    print(error.code)
"""
# Knocks at the planted host, as far as a script gets without a library: the index answers SSH there.
KNOCK = """
import os, socket
words = dict(line.split(None, 1) for line in open(os.path.expanduser("~/.ssh/config")) if " " in line.strip())
with socket.create_connection((words["HostName"].strip(), int(words["Port"])), 10) as connection:
    connection.sendall(b"SSH-2.0-thief\\r\\n")
    print(connection.makefile("rb").readline().decode().strip()[:8])
"""


class Alone:
    """One installation on the real cluster, and who asks it."""

    def __init__(self, petridish: Petridish, kubectl: Kubectl) -> None:
        self.petridish, self.kubectl = petridish, kubectl

    def sandbox(self, person: Person) -> dict[str, Any]:
        made: dict[str, Any] = person.sandbox_ready(person.post("/requests", TRIAL, 201)["sandbox"])
        return made


@pytest.fixture(scope="module", params=["alarm", "isolate"])
def alone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl, which a sandbox is entered with")
    kubeconfig = real_kubeconfig(request.config)
    context = os.environ.get("PETRIDISH_TEST_CONTEXT") or _current_context(kubeconfig)
    settings = {
        "KUBECONFIG": kubeconfig,
        "KUBE_CONTEXT": context,
        "INDEX_BIND": own_address(kubeconfig),
        "WORKSPACE_IMAGE": os.environ.get("PETRIDISH_TEST_IMAGE") or "",
        "INSTALLATION_ID": f"honey-{token_hex(4)}",
        "HONEYTOKEN_ACTION": request.param,
    }
    with ExitStack() as stack:
        cluster = stack.enter_context(closing(connect(name="real", kubeconfig=kubeconfig, context=context)))
        stack.callback(remove_installation, cluster, settings["INSTALLATION_ID"])
        folder = tmp_path_factory.mktemp("honey") / "data"
        petridish = stack.enter_context(running(folder, **settings))
        yield Alone(petridish, Kubectl(kubeconfig, context))


def told(person: Person, sandbox_id: int, kinds: set[str]) -> list[dict[str, Any]]:
    """Uses of what was planted there, once all of these kinds are among them."""
    path = f"/sandboxes/{sandbox_id}/honeytokens"
    found: list[dict[str, Any]] = person.until(path, lambda rows: kinds <= {row["kind"] for row in rows})
    return found


def is_in_the_ledger(omar: Person, sandbox_id: int, kind_used: str) -> None:
    """With an entry that names the sandbox; they follow a use by a worker's next look."""

    def holds(entries: list[dict[str, Any]]) -> bool:
        told = [each for each in entries if each["action"] == "sandbox.honeytoken_used"]
        about = {(each["subject"], each["data"]["kind"]) for each in told}
        return (f"sandbox:{sandbox_id}", kind_used) in about

    omar.until("/audit?limit=200", holds)


def test_used_in_the_pod_it_was_planted_in(alone: Alone, request: pytest.FixtureRequest) -> None:
    isolates = request.node.callspec.params["alone"] == "isolate"
    with people(alone.petridish) as person:
        alice, omar = person("alice"), person("omar")
        sandbox = alone.sandbox(alice)
        namespace = sandbox["namespace"]
        inside = partial(alone.kubectl.inside, "alice", namespace)
        if not isolates:
            assert inside("python3", "-c", KNOCK) == "SSH-2.0-"
            assert inside("python3", "-c", UPLOAD) == "403"
        assert inside("python3", "-c", THIEF) == "403"

        rows = told(alice, sandbox["id"], {"aws"} if isolates else {"aws", "pypi"})
        [use] = [row for row in rows if row["kind"] == "aws"]
        assert use["seen_in"] == sandbox["id"]
        assert (use["method"], use["user_agent"]) == ("GET", "Boto3/1.40")
        assert use["path"] == "/honey/…/aws/2015-03-31/functions/"
        is_in_the_ledger(omar, sandbox["id"], "aws")
        if isolates:
            _is_cut_off(alone, alice, sandbox)
        else:
            assert alice.get(f"/sandboxes/{sandbox['id']}")["phase"] == "ready"


def _is_cut_off(alone: Alone, alice: Person, sandbox: dict[str, Any]) -> None:
    namespace = sandbox["namespace"]
    alice.until(f"/sandboxes/{sandbox['id']}", lambda found: found["phase"] == "isolated")
    kubectl = alone.kubectl
    with closing(connect(name="real", kubeconfig=kubectl.kubeconfig, context=kubectl.context)) as cluster:
        policies = kind("networking.k8s.io/v1", "NetworkPolicy")

        def left() -> set[str]:
            return {item["metadata"]["name"] for item in cluster.api.list(policies, namespace)}

        wait_for(lambda: not left() & {"allow-index", "allow-dns"})
        wait_for(lambda: kubectl.may_enter("alice", namespace, WORKSPACE_POD) == "no")


def test_carried_off(alone: Alone) -> None:
    """Read in a pod and used from somewhere that reaches the index and is no sandbox."""
    with people(alone.petridish) as person:
        bob, omar = person("bob"), person("omar")
        sandbox = alone.sandbox(bob)
        read = ("cat", "/workspace/.aws/credentials", "/workspace/.ssh/id_ed25519")
        stolen = alone.kubectl.inside("bob", sandbox["namespace"], *read)
        key_id = stolen.split("aws_access_key_id = ")[1].split()[0]
        private = stolen[stolen.index("-----BEGIN") :] + "\n"
        address = alone.petridish.environ["INDEX_BIND"]
        port = alone.petridish.index_port
        signed = {"Authorization": f"AWS4-HMAC-SHA256 Credential={key_id}/20261123/x/s3/aws4_request"}
        assert httpx.get(f"http://{address}:{port}/honey/", headers=signed).status_code == 403
        _offer(address, port, private)
        rows = told(bob, sandbox["id"], {"aws", "ssh"})
        assert {row["seen_in"] for row in rows} == {None}
        assert {row["kind"]: row["method"] for row in rows} == {"aws": "GET", "ssh": "SSH"}
        is_in_the_ledger(omar, sandbox["id"], "ssh")


def _offer(address: str, port: int, private: str) -> None:
    async def come() -> None:
        keys = [asyncssh.import_private_key(private)]
        settings: dict[str, Any] = {"known_hosts": None, "config": None, "agent_path": None}
        with pytest.raises(asyncssh.PermissionDenied):
            await asyncssh.connect(address, port, username="root", client_keys=keys, **settings)

    asyncio.run(come())


@pytest.mark.parametrize("subject", ["real"], indirect=True)
def test_a_workspace_of_a_profiles_own(subject: Subject, tmp_path: Path) -> None:
    """The node mounts the files where its author never mentioned them, and where he did, his own stay."""
    shutil.copytree(ROOT / "k8s-templates", tmp_path, dirs_exist_ok=True)
    file = tmp_path / "profiles" / "python.yaml"
    file.write_text(f"{file.read_text()}\n---\n{json.dumps(_own())}\n")
    subject = replace(subject, templates=load_templates(tmp_path))
    bait = {"aws-credentials": "key", "aws-config": "url", "ssh-key": "s", "ssh-key-public": "p"}
    bait |= {"ssh-config": "c", "pypirc": "token"}
    spec, rendered, _ = subject.sealed(bait=bait)
    subject.cluster.apply(rendered.workspace)
    wait_for(lambda: subject.cluster.workspace(spec.namespace).ready, 120)
    command = (
        "cat /home/lab/.pypirc /home/lab/.ssh/id_ed25519; ls /home/lab/.aws; touch /home/lab/x && echo fine"
    )
    where = ["--kubeconfig", subject.kubeconfig, "-n", spec.namespace, "exec", "workspace-0", "--"]
    said = subprocess.run(
        ["kubectl", *where, "sh", "-c", command], capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == ["tokensmine", "fine"]


def _own() -> dict[str, Any]:
    limits = {"cpu": "100m", "memory": "64Mi", "ephemeral-storage": "32Mi"}
    container = {
        "name": "lab",
        "image": "${image}",
        "command": ["sh", "-c", "touch /home/lab/.aws/mine && sleep 600"],
        "env": [{"name": "HOME", "value": "/home/lab"}],
        "resources": {"limits": limits},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {"name": "lab", "mountPath": "/home/lab"},
            {"name": "aws", "mountPath": "/home/lab/.aws"},
        ],
    }
    pod = {
        "serviceAccountName": "sandbox",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "fsGroup": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "lab", "emptyDir": {}}, {"name": "aws", "emptyDir": {}}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "workspace"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "workspace"}},
            "template": {"metadata": {"labels": {"app": "workspace"}}, "spec": pod},
        },
    }
