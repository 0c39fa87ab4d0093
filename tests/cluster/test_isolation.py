"""Cutting off, freezing, sleeping and waking where pods really run.

The reasons for freezing are tests here: on this cluster a connection that was open goes on
when its policy is gone, and a shell when its binding is gone. Neither survives a freeze,
and the files do.
"""

import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from sandboxes.cluster.kinds import kind
from sandboxes.cluster.render import Rendered
from sandboxes.cluster.spec import SandboxSpec
from sandboxes.errors import ClusterRefusedError
from tests.cluster.conftest import REAL, Subject, wait_for
from tests.cluster.test_journey import Kubectl, portal
from tests.cluster.test_tending import BINDING, FOREIGN_BINDING
from tests.flows.test_bad_package import evidence
from tests.journey import TRIAL, people
from tests.petridish import Petridish

__all__ = ["portal"]  # a fixture

BOTH = pytest.mark.parametrize("subject", ["simulated", REAL], indirect=True)
ONLY_REAL = pytest.mark.parametrize("subject", [REAL], indirect=True)
POD = kind("v1", "Pod")
POLICY = "NetworkPolicy"
KEEP = frozenset({"deny-all"})

OPEN = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 3).close()
    print("open")
except OSError:
    print("blocked")
"""
RESOLVE = """
import socket
socket.setdefaulttimeout(5)
try:
    print("open", socket.gethostbyname("kubernetes.default.svc.cluster.local."))
except OSError:
    print("blocked")
"""
TALK = """
import socket, sys, time
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 5) as line:
    while True:
        line.sendall(b".")
        time.sleep(0.2)
"""


def workspace(subject: Subject, **changes: object) -> tuple[SandboxSpec, Rendered]:
    """A sandbox that is open: sealed, running, with the owner's access."""
    spec, rendered, _ = subject.sealed(**changes)
    subject.cluster.apply(_reporting_often(rendered))
    wait_for(lambda: subject.cluster.workspace(spec.namespace).ready)
    subject.cluster.apply(rendered.access)
    return spec, rendered


def _reporting_often(rendered: Rendered) -> list[dict[str, Any]]:
    """The workspace as it is, but that it reports every two seconds instead of once a minute."""
    objects = list(rendered.workspace)
    for item in objects:
        for container in item["spec"]["template"]["spec"]["containers"]:
            container["args"] = [text.replace("sleep 60", "sleep 2") for text in container.get("args", ())]
    return objects


def pods(subject: Subject, spec: SandboxSpec) -> list[dict[str, Any]]:
    return list(subject.cluster._api.list(POD, spec.namespace))


def command(subject: Subject, spec: SandboxSpec, *words: str) -> list[str]:
    (pod,) = pods(subject, spec)
    where = ["kubectl", "--kubeconfig", subject.kubeconfig, "-n", spec.namespace]
    return [*where, "exec", "-i", pod["metadata"]["name"], "--", *words]


def inside(subject: Subject, spec: SandboxSpec, *words: str) -> str:
    done = subprocess.run(
        command(subject, spec, *words), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@contextmanager
def listening(subject: Subject) -> Iterator[tuple[int, Callable[[], int]]]:
    """The index's place: its port, and how many bytes arrived so far."""
    arrived = 0

    def count(connection: socket.socket) -> None:
        nonlocal arrived
        with connection:
            while data := connection.recv(4096):
                arrived += len(data)

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=count, args=(connection,), daemon=True).start()

    with socket.create_server((subject.index_address, 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1], lambda: arrived


def cut(subject: Subject, spec: SandboxSpec) -> None:
    """What an isolation does before it freezes."""
    subject.cluster.prune_policies(spec.namespace, KEEP)
    subject.cluster.revoke_access(spec.namespace)


@BOTH
def test_ways_in_are_named_until_there_is_none(subject: Subject) -> None:
    spec, rendered = workspace(subject)
    subject.cluster.api.create(BINDING.collection(spec.namespace), FOREIGN_BINDING)
    found = subject.cluster.ways_in(spec.namespace, KEEP)
    assert {"NetworkPolicy/allow-dns", "NetworkPolicy/allow-index"} <= set(found)
    assert {"RoleBinding/owner", "RoleBinding/back-door", "Secret/package-index"} <= set(found)
    cut(subject, spec)
    assert subject.cluster.ways_in(spec.namespace, KEEP) == []
    subject.cluster.prune_policies(spec.namespace, frozenset())
    assert subject.cluster.ways_in(spec.namespace, KEEP) == ["no NetworkPolicy/deny-all"]
    subject.cluster.apply(rendered.seal[1:])


@BOTH
def test_frozen_pods_stay_and_run_nothing_until_they_are_thawed(subject: Subject) -> None:
    spec, rendered = workspace(subject)
    (before,) = pods(subject, spec)
    cut(subject, spec)
    wait_for(lambda: not subject.cluster.freeze(spec.namespace))
    (frozen,) = pods(subject, spec)
    assert frozen["metadata"]["uid"] == before["metadata"]["uid"]
    assert not subject.cluster.workspace(spec.namespace).ready
    assert subject.cluster.freeze(spec.namespace) == []
    subject.cluster.apply(rendered.seal[1:])
    wait_for(lambda: subject.cluster.thaw(spec.namespace))
    wait_for(lambda: subject.cluster.workspace(spec.namespace).ready)
    (after,) = pods(subject, spec)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    images = [[each["image"] for each in pod["spec"]["containers"]] for pod in (before, after)]
    assert images[0] == images[1]


@BOTH
def test_what_a_frozen_container_wrote_is_read_to_its_end(subject: Subject) -> None:
    """While it runs, and when it was stopped; and what is asked for is all that comes."""
    spec, _ = workspace(subject)
    if not subject.simulated:
        inside(subject, spec, "sh", "-c", "echo I was here >/proc/1/fd/1")
    (running,) = subject.cluster.containers(spec.namespace)
    assert (running.pod, running.name, running.running) == ("workspace-0", "workspace", True)
    look = partial(subject.cluster.logs, spec.namespace, seconds=20)
    wrote = b"simulated" if subject.simulated else b"I was here"
    wait_for(lambda: wrote in look(running, most=100_000).data)
    cut(subject, spec)
    wait_for(lambda: not subject.cluster.freeze(spec.namespace))
    (ended,) = subject.cluster.containers(spec.namespace)
    assert (ended.key, ended.running) == (running.key, False)
    assert ended.finished_at is not None
    log = look(ended, most=100_000)
    assert wrote in log.data
    assert not log.cut_short
    short = look(ended, most=30)
    assert (len(short.data), short.cut_short) == (30, True)


@BOTH
def test_a_container_before_this_one_has_its_own_log(subject: Subject) -> None:
    spec, rendered = workspace(subject)
    (first,) = subject.cluster.containers(spec.namespace)
    wait_for(lambda: not subject.cluster.freeze(spec.namespace))
    subject.cluster.apply(rendered.seal[1:])
    wait_for(lambda: subject.cluster.thaw(spec.namespace))
    wait_for(lambda: subject.cluster.workspace(spec.namespace).ready)
    now, before = subject.cluster.containers(spec.namespace)
    assert (now.running, before.previous, before.key) == (True, True, first.key)
    assert now.key != first.key
    assert subject.cluster.logs(spec.namespace, before, most=1000, seconds=20).data


@BOTH
def test_a_log_that_is_not_there_is_refused(subject: Subject) -> None:
    spec, _ = workspace(subject)
    (running,) = subject.cluster.containers(spec.namespace)
    for gone in (replace(running, previous=True), replace(running, pod="workspace-9")):
        with pytest.raises(ClusterRefusedError):
            subject.cluster.logs(spec.namespace, gone, most=1000, seconds=20)


@BOTH
def test_the_policies_as_they_are(subject: Subject) -> None:
    spec, rendered, _ = subject.sealed()
    found, more = subject.cluster.policies(spec.namespace, seconds=20)
    made = {item["metadata"]["name"]: item["spec"] for item in rendered.seal if item["kind"] == POLICY}
    assert {item["metadata"]["name"] for item in found} == made.keys()
    assert {item["spec"]["podSelector"] == {} for item in found} == {True}
    assert not more


@BOTH
def test_asleep_there_is_no_pod_and_awake_it_works_again(subject: Subject) -> None:
    spec, _ = workspace(subject)
    subject.cluster.scale_workspace(spec.namespace, 0)
    wait_for(lambda: subject.cluster.pods_left(spec.namespace) == 0)
    subject.cluster.scale_workspace(spec.namespace, 1)
    wait_for(lambda: subject.cluster.workspace(spec.namespace).ready)
    if not subject.simulated:
        assert inside(subject, spec, "python3", "-c", "print(6 * 7)") == "42"


@ONLY_REAL
def test_an_isolated_pod_reaches_neither_the_index_nor_dns(subject: Subject) -> None:
    with listening(subject) as (port, _arrived):
        spec, _ = workspace(subject, index_port=port)
        index = partial(inside, subject, spec, "python3", "-c", OPEN, spec.index_host, str(spec.index_port))
        dns = partial(inside, subject, spec, "python3", "-c", RESOLVE)
        wait_for(lambda: index() == "open")
        assert dns().startswith("open")
        cut(subject, spec)
        wait_for(lambda: index() == "blocked", seconds=20)
        assert dns() == "blocked"


@ONLY_REAL
def test_what_outlives_policy_and_binding_does_not_outlive_the_freeze(subject: Subject) -> None:
    with listening(subject) as (port, arrived):
        spec, rendered = workspace(subject, index_port=port)
        inside(subject, spec, "sh", "-c", "echo evidence >/workspace/note")
        talk = command(subject, spec, "python3", "-c", TALK, spec.index_host, str(spec.index_port))
        with subprocess.Popen(talk, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as open_shell:
            wait_for(lambda: arrived() > 3)
            cut(subject, spec)
            so_far = arrived()
            wait_for(lambda: arrived() > so_far + 10)  # two seconds later it still talks
            assert open_shell.poll() is None
            wait_for(lambda: not subject.cluster.freeze(spec.namespace))
            assert open_shell.wait(20) != 0
        in_the_end = arrived()
        subject.cluster.apply(rendered.seal[1:])
        wait_for(lambda: subject.cluster.thaw(spec.namespace))
        wait_for(lambda: subject.cluster.workspace(spec.namespace).ready)
        assert inside(subject, spec, "cat", "/workspace/note") == "evidence"
        assert arrived() == in_the_end


@ONLY_REAL
def test_a_workspace_reports_how_busy_it_is(subject: Subject) -> None:
    spec, _ = workspace(subject)
    look = partial(subject.cluster.workspace_activity, spec.namespace)
    wait_for(lambda: (seen := look()) and seen.processes == 0 and seen.cpu_millis < 20)
    with subprocess.Popen(command(subject, spec, "sh"), stdin=subprocess.PIPE) as shell:
        wait_for(lambda: (seen := look()) and seen.processes == 1)
        assert shell.stdin is not None
        shell.stdin.write(b"while :; do :; done\n")
        shell.stdin.flush()
        wait_for(lambda: (seen := look()) and seen.cpu_millis > 100)
        shell.kill()


@ONLY_REAL
def test_what_was_left_running_counts(subject: Subject) -> None:
    """A process that outlives its shell is somebody's work, not the workspace's own."""
    spec, _ = workspace(subject)
    inside(subject, spec, "sh", "-c", "nohup sleep 300 >/dev/null 2>&1 &")
    wait_for(lambda: (seen := subject.cluster.workspace_activity(spec.namespace)) and seen.processes == 1)


@pytest.mark.cluster
@pytest.mark.enable_socket
def test_what_an_isolated_pod_printed_is_in_the_evidence(portal: tuple[Petridish, Kubectl]) -> None:
    petridish, kubectl = portal
    with people(petridish) as person:
        alice, iris = person("alice"), person("iris")
        sandbox = alice.sandbox_ready(alice.post("/requests", TRIAL, 201)["sandbox"])
        number, namespace = sandbox["id"], sandbox["namespace"]
        kubectl.inside("alice", namespace, "sh", "-c", "echo I was here >/proc/1/fd/1")
        iris.post(f"/sandboxes/{number}/isolate", {"reason": "It talks too much."}, 202)
        iris.until(f"/sandboxes/{number}", lambda seen: seen["cut_at"])
        wait_for(lambda: json.loads(evidence(petridish, number)["logs.json"])[0]["complete"])
        found = evidence(petridish, number)
        (log,) = json.loads(found["logs.json"])[0]["logs"]
        assert (log["container"], log["final"], log["error"]) == ("workspace", True, "")
        assert b"I was here" in found[log["file"]]
        (policies,) = json.loads(found["network-policies.json"])
        assert {item["metadata"]["name"] for item in policies["policies"]} >= {"deny-all", "allow-index"}
        listed = {one["name"] for one in json.loads(found["manifest.json"])["manifest"]["files"]}
        assert listed == found.keys() - {"manifest.json"}
