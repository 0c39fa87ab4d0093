"""What happens by itself: pods, workloads, quotas, namespaces, and a server that is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.sandboxes.cluster.simulator.conftest import Client, config_map, pod, wait_for
from tests.simulator import ROOT, Simulator

type Json = dict[str, Any]

MERGE = "application/merge-patch+json"


def phase(client: Client, name: str) -> str:
    return str(client("GET", f"{client.core}/pods/{name}")[1].get("status", {}).get("phase"))


def deployment(name: str, replicas: int = 1, image: str = "python:3.13-slim") -> Json:
    template = {"metadata": {"labels": {"app": name}}, "spec": pod(name)["spec"]}
    template["spec"]["containers"][0]["image"] = image
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template},
    }


def deployments(client: Client) -> str:
    return f"/apis/apps/v1/namespaces/{client.namespace}/deployments"


def pods(client: Client) -> list[Json]:
    found: list[Json] = client("GET", f"{client.core}/pods")[1]["items"]
    return found


def test_a_pod_starts_and_stops(client: Client) -> None:
    client("POST", f"{client.core}/pods", pod("x"))
    wait_for(lambda: phase(client, "x") == "Running")
    status = client("GET", f"{client.core}/pods/x")[1]["status"]
    assert status["podIP"].startswith("10.244.")
    assert {"type": "Ready", "status": "True"}.items() <= status["conditions"][1].items()
    answer = client("DELETE", f"{client.core}/pods/x")[1]
    assert answer["metadata"]["deletionGracePeriodSeconds"] == 1
    wait_for(lambda: client("GET", f"{client.core}/pods/x")[0] == 404)


def test_a_pod_that_is_to_end_ends(client: Client) -> None:
    client("POST", f"{client.core}/pods", pod("x", restartPolicy="Never"))
    wait_for(lambda: phase(client, "x") == "Succeeded")


def test_pods_that_cannot_start_say_why(client: Client) -> None:
    source = [{"name": "c", "image": "i", "envFrom": [{"secretRef": {"name": "later"}}]}]
    client("POST", f"{client.core}/pods", pod("secret", containers=source))
    client("POST", f"{client.core}/pods", pod("image", containers=[{"name": "c", "image": "x.invalid/y"}]))
    large = [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1000"}}}]
    client("POST", f"{client.core}/pods", pod("large", containers=large))
    accounts = client("POST", f"{client.core}/pods", pod("account", serviceAccountName="missing"))
    assert accounts[0] == 403
    assert "error looking up service account" in accounts[1]["message"]

    def reason(name: str) -> str:
        status = client("GET", f"{client.core}/pods/{name}")[1]["status"]
        return str(
            (status.get("containerStatuses") or [{"state": {}}])[0]["state"].get("waiting", {}).get("reason")
        )

    wait_for(lambda: reason("secret") == "CreateContainerConfigError")
    wait_for(lambda: reason("image") == "ImagePullBackOff")
    condition = wait_for(lambda: client("GET", f"{client.core}/pods/large")[1]["status"].get("conditions"))
    assert condition[0]["reason"] == "Unschedulable"
    client("POST", f"{client.core}/secrets", {**config_map("later"), "kind": "Secret"})
    wait_for(lambda: phase(client, "secret") == "Running")


def test_a_deployment_makes_pods_and_replaces_them(client: Client) -> None:
    path = f"{deployments(client)}/web"
    client("POST", deployments(client), deployment("web", 2))
    wait_for(lambda: client("GET", path)[1]["status"].get("readyReplicas") == 2)
    first = {item["metadata"]["name"] for item in pods(client)}
    client("DELETE", f"{client.core}/pods/{min(first)}")
    wait_for(lambda: len({item["metadata"]["name"] for item in pods(client)} - first) == 1)
    client("PATCH", path, {"spec": {"replicas": 1}}, content_type=MERGE)
    wait_for(lambda: len(pods(client)) == 1)
    updated = client.apply(path, deployment("web", 1, "python:3.14"), force="true")[1]
    assert updated["metadata"]["generation"] == 3
    wait_for(lambda: [p["spec"]["containers"][0]["image"] for p in pods(client)] == ["python:3.14"])
    wait_for(lambda: client("GET", path)[1]["status"].get("observedGeneration") == 3)


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
def test_dependents_go_with_their_owner(client: Client, policy: str) -> None:
    client("POST", deployments(client), deployment("web"))
    wait_for(lambda: pods(client))
    client("DELETE", f"{deployments(client)}/web", {"propagationPolicy": policy})
    wait_for(lambda: not pods(client))
    wait_for(lambda: client("GET", f"{deployments(client)}/web")[0] == 404)


def test_orphans_stay(client: Client) -> None:
    client("POST", deployments(client), deployment("web"))
    wait_for(lambda: pods(client))
    client("DELETE", f"{deployments(client)}/web", {"propagationPolicy": "Orphan"})
    time.sleep(0.3)
    assert pods(client)


def test_jobs(client: Client) -> None:
    spec = {"template": {"spec": pod("job", restartPolicy="Never")["spec"]}}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}, "spec": spec}
    path = f"/apis/batch/v1/namespaces/{client.namespace}/jobs"
    client("POST", path, job)
    wait_for(lambda: client("GET", f"{path}/job")[1]["status"].get("succeeded") == 1)


def quota(**hard: str) -> Json:
    spec = {"hard": {name.replace("_", "."): value for name, value in hard.items()}}
    return {**config_map("quota"), "kind": "ResourceQuota", "spec": spec}


def test_a_quota_counts_and_refuses(client: Client) -> None:
    path = f"{client.core}/resourcequotas"
    client("POST", path, quota(pods="1", requests_cpu="500m"))
    refused = client("POST", f"{client.core}/pods", pod("x"))
    assert refused[0] == 403
    assert "must specify requests.cpu for: c" in refused[1]["message"]
    wait_for(lambda: client("GET", f"{path}/quota")[1]["status"].get("hard"))
    small = [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "200m"}}}]
    assert client("POST", f"{client.core}/pods", pod("a", containers=small))[0] == 201
    refused = client("POST", f"{client.core}/pods", pod("b", containers=small))
    expected = "exceeded quota: quota, requested: pods=1, used: pods=1, limited: pods=1"
    assert refused[1]["message"] == f'pods "b" is forbidden: {expected}'
    used = wait_for(lambda: client("GET", f"{path}/quota")[1]["status"]["used"].get("pods") == "1")
    assert used
    client("DELETE", f"{client.core}/pods/a")
    wait_for(lambda: client("GET", f"{path}/quota")[1]["status"]["used"]["pods"] == "0")


def test_a_quota_that_nobody_has_counted_yet_refuses(client: Client) -> None:
    """Straight after creation, as on a real server; the driver treats it as temporary."""
    client("POST", f"{client.core}/resourcequotas", quota(pods="1"))
    status, answer = client("POST", f"{client.core}/pods", pod("x"))
    assert status == 201 or "status unknown for quota" in answer["message"]


def test_limit_ranges_fill_in(client: Client) -> None:
    limits = {"type": "Container", "default": {"cpu": "200m"}, "defaultRequest": {"cpu": "50m"}}
    body = {**config_map("limits"), "kind": "LimitRange", "spec": {"limits": [limits]}}
    client("POST", f"{client.core}/limitranges", body)
    created = client("POST", f"{client.core}/pods", pod("x"))[1]
    resources = created["spec"]["containers"][0]["resources"]
    assert resources == {"limits": {"cpu": "200m"}, "requests": {"cpu": "50m"}}


def test_load_balancers_are_counted(client: Client) -> None:
    hard = {"hard": {"services.loadbalancers": "0", "services.nodeports": "0"}}
    client("POST", f"{client.core}/resourcequotas", {**quota(), "spec": hard})
    wait_for(lambda: client("GET", f"{client.core}/resourcequotas/quota")[1]["status"].get("hard"))
    service = {
        **config_map("x"),
        "kind": "Service",
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
    }
    assert client("POST", f"{client.core}/services", service)[0] == 403
    service["spec"]["type"] = "ClusterIP"
    created = client("POST", f"{client.core}/services", service)[1]
    assert created["spec"]["clusterIP"].startswith("10.96.")


def test_a_namespace_ends_with_its_contents(client: Client) -> None:
    path = f"/api/v1/namespaces/{client.namespace}"
    client("POST", deployments(client), deployment("web"))
    wait_for(lambda: pods(client))
    status, answer = client("DELETE", path)
    assert (status, answer["status"]["phase"]) == (200, "Terminating")
    refused = client("POST", f"{client.core}/configmaps", config_map("late"))
    assert refused[0] == 403
    assert refused[1]["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    wait_for(lambda: client("GET", path)[0] == 404)
    assert client("GET", f"{client.core}/pods")[1]["items"] == []


def test_a_held_namespace_says_what_holds_it(client: Client) -> None:
    path = f"/api/v1/namespaces/{client.namespace}"
    client.config_map("x", finalizers=["example.com/hold"])
    client("DELETE", path)

    def held() -> list[str]:
        conditions = client("GET", path)[1].get("status", {}).get("conditions") or ()
        return [item["message"] for item in conditions if item["status"] == "True"]

    messages = wait_for(held)
    assert any("example.com/hold in 1 resource instances" in message for message in messages)
    client("PATCH", f"{client.core}/configmaps/x", {"metadata": {"finalizers": None}}, content_type=MERGE)
    wait_for(lambda: client("GET", path)[0] == 404)


def test_kill_minus_nine_loses_nothing(tmp_path: Path) -> None:
    """Every write that was answered is there afterwards, and what had begun goes on."""
    with Simulator(tmp_path, "--delete-seconds", "0.5", "--ready-seconds", "0.5") as simulator:
        client = Client(simulator, "default")
        wait_for(lambda: client("GET", f"{client.core}/serviceaccounts/default")[0] == 200)
        kept = [client.config_map(f"c{number}") for number in range(20)]
        doomed = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "doomed"}}
        client("POST", "/api/v1/namespaces", doomed)
        client("POST", deployments(client), deployment("web"))
        client("DELETE", "/api/v1/namespaces/doomed")
        simulator.kill()
        with pytest.raises(httpx.TransportError):
            client.http.get("/readyz")
        simulator.start()
        for item in kept:
            assert client("GET", f"{client.core}/configmaps/{item['metadata']['name']}")[1] == item
        wait_for(lambda: client("GET", "/api/v1/namespaces/doomed")[0] == 404)
        wait_for(lambda: client("GET", f"{deployments(client)}/web")[1]["status"].get("readyReplicas") == 1)
        newer = client.config_map("after")["metadata"]["resourceVersion"]
        assert int(newer) > max(int(item["metadata"]["resourceVersion"]) for item in kept)
        client.http.close()


def test_sigterm_stops_at_once_even_with_open_watches(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sandboxes.cluster.simulator", "--data", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        assert (tmp_path / "kubeconfig").stat().st_mode & 0o777 == 0o600
        headers = {"Authorization": f"Bearer {(tmp_path / 'token').read_text()}"}
        with httpx.stream("GET", f"{url}/api/v1/pods", params={"watch": "1"}, headers=headers) as stream:
            assert stream.status_code == 200
            started = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=5) == 0
            assert time.monotonic() - started < 3


def test_a_port_in_use_is_one_line(simulator: Simulator, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sandboxes.cluster.simulator"]
    arguments = ["--data", str(tmp_path), "--port", str(simulator.port)]
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, cwd=ROOT, env=os.environ, check=False
    )
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
