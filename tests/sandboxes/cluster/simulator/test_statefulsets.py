"""Stateful sets as a real cluster keeps them: the same on both is in tests/cluster/test_contract_workspace.py."""

from typing import Any

import pytest

from tests.sandboxes.cluster.simulator.conftest import Client, pod, wait_for

type Json = dict[str, Any]

MERGE = "application/merge-patch+json"
BAD = "images.invalid/nothing:1"


def stateful_set(replicas: int = 1, image: str = "python:3.13-slim", **spec: Any) -> Json:
    template = {"metadata": {"labels": {"app": "db"}}, "spec": pod("db")["spec"]}
    template["spec"]["containers"][0]["image"] = image
    base = {"replicas": replicas, "selector": {"matchLabels": {"app": "db"}}, "template": template}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "db"},
        "spec": {**base, **spec},
    }


def path(client: Client) -> str:
    return f"/apis/apps/v1/namespaces/{client.namespace}/statefulsets/db"


def make(client: Client, **given: Any) -> None:
    status, answer = client("POST", path(client).removesuffix("/db"), stateful_set(**given))
    assert status == 201, answer


def status(client: Client) -> Json:
    found: Json = client("GET", path(client))[1]["status"]
    return found


def pods(client: Client) -> dict[str, Json]:
    return {item["metadata"]["name"]: item for item in client("GET", f"{client.core}/pods")[1]["items"]}


def image(item: Json) -> str:
    return str(item["spec"]["containers"][0]["image"])


def test_pods_are_numbered_named_and_owned(client: Client) -> None:
    make(client, replicas=2, serviceName="here")
    wait_for(lambda: status(client).get("readyReplicas") == 2)
    assert pods(client).keys() == {"db-0", "db-1"}
    made = pods(client)["db-1"]
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("StatefulSet", "db", True)
    assert made["metadata"]["labels"] == {
        "app": "db",
        "apps.kubernetes.io/pod-index": "1",
        "controller-revision-hash": status(client)["updateRevision"],
        "statefulset.kubernetes.io/pod-name": "db-1",
    }
    assert (made["spec"]["hostname"], made["spec"]["subdomain"]) == ("db-1", "here")


def test_in_order_the_second_waits_for_the_first(client: Client) -> None:
    make(client, replicas=2, image=BAD)
    wait_for(lambda: "db-0" in pods(client))
    wait_for(lambda: status(client).get("replicas") == 1)
    make_parallel = {"spec": {"podManagementPolicy": "Parallel"}}
    assert client("PATCH", path(client), make_parallel, content_type=MERGE)[0] == 422
    client("DELETE", path(client))
    wait_for(lambda: not pods(client))
    make(client, replicas=2, image=BAD, podManagementPolicy="Parallel")
    wait_for(lambda: pods(client).keys() == {"db-0", "db-1"})


def test_a_pod_that_is_deleted_comes_back_under_its_name(client: Client) -> None:
    make(client)
    wait_for(lambda: status(client).get("readyReplicas") == 1)
    before = pods(client)["db-0"]["metadata"]["uid"]
    client("DELETE", f"{client.core}/pods/db-0")
    wait_for(lambda: (pods(client).get("db-0") or {"metadata": {"uid": before}})["metadata"]["uid"] != before)


def test_one_that_ended_is_replaced(client: Client) -> None:
    make(client)
    wait_for(lambda: status(client).get("readyReplicas") == 1)
    before = pods(client)["db-0"]["metadata"]["uid"]
    assert client("PUT", f"{client.core}/pods/db-0/status", ended(pods(client)["db-0"]))[0] == 200
    wait_for(lambda: pods(client).get("db-0", {}).get("metadata", {}).get("uid") not in (None, before))


def ended(item: Json) -> Json:
    return {**item, "status": {**item["status"], "phase": "Failed", "reason": "Evicted"}}


@pytest.mark.parametrize("policy", ["Parallel", "OrderedReady"])
def test_a_new_template_takes_the_place_of_a_pod_that_runs(client: Client, policy: str) -> None:
    make(client, podManagementPolicy=policy)
    wait_for(lambda: status(client).get("readyReplicas") == 1)
    first = status(client)["currentRevision"]
    client.apply(path(client), stateful_set(image="python:3.14", podManagementPolicy=policy), force="true")
    wait_for(lambda: "python:3.14" in [image(item) for item in pods(client).values()])
    wait_for(lambda: status(client)["currentRevision"] != first)
    assert status(client)["currentRevision"] == status(client)["updateRevision"]


@pytest.mark.parametrize(("policy", "replaced"), [("Parallel", True), ("OrderedReady", False)])
def test_a_pod_that_never_came_up_is_only_replaced_in_parallel(
    client: Client, policy: str, replaced: bool
) -> None:
    """https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#forced-rollback"""
    make(client, image=BAD, podManagementPolicy=policy)
    wait_for(lambda: "db-0" in pods(client))
    client.apply(path(client), stateful_set(podManagementPolicy=policy), force="true")
    wait_for(lambda: status(client)["observedGeneration"] == 2)
    if replaced:
        wait_for(lambda: status(client).get("readyReplicas") == 1)
    assert (image(pods(client)["db-0"]) != BAD) is replaced
    assert "deletionTimestamp" not in pods(client)["db-0"]["metadata"]


def test_on_delete_nothing_is_replaced(client: Client) -> None:
    make(client, updateStrategy={"type": "OnDelete"})
    wait_for(lambda: status(client).get("readyReplicas") == 1)
    client.apply(
        path(client), stateful_set(image="python:3.14", updateStrategy={"type": "OnDelete"}), force="true"
    )
    wait_for(lambda: status(client)["observedGeneration"] == 2)
    assert "updatedReplicas" not in status(client)
    assert image(pods(client)["db-0"]) == "python:3.13-slim"
    client("DELETE", f"{client.core}/pods/db-0")
    wait_for(lambda: [image(item) for item in pods(client).values()] == ["python:3.14"])


def test_to_nothing_and_up_again(client: Client) -> None:
    make(client, replicas=2)
    wait_for(lambda: status(client).get("readyReplicas") == 2)
    client("PATCH", path(client), {"spec": {"replicas": 0}}, content_type=MERGE)
    wait_for(lambda: not pods(client))
    wait_for(lambda: status(client)["replicas"] == 0)
    assert "readyReplicas" not in status(client)
    client("PATCH", path(client), {"spec": {"replicas": 1}}, content_type=MERGE)
    wait_for(lambda: status(client).get("readyReplicas") == 1)
    assert pods(client).keys() == {"db-0"}


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
def test_its_pods_go_with_it(client: Client, policy: str) -> None:
    make(client)
    wait_for(lambda: pods(client))
    client("DELETE", path(client), {"propagationPolicy": policy})
    wait_for(lambda: not pods(client))
    wait_for(lambda: client("GET", path(client))[0] == 404)


def test_a_refusal_is_tried_again_and_stands_nowhere(client: Client) -> None:
    """The real controller tells it by an event only."""
    lost = stateful_set()["spec"]["template"]
    lost["spec"]["serviceAccountName"] = "later"
    make(client, template=lost)
    wait_for(lambda: status(client).get("observedGeneration") == 1)
    assert status(client)["replicas"] == 0
    assert "conditions" not in status(client)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "later"}}
    client("POST", f"{client.core}/serviceaccounts", account)
    wait_for(lambda: status(client).get("readyReplicas") == 1)


def test_a_name_that_is_taken_stays_taken(client: Client) -> None:
    client("POST", f"{client.core}/pods", pod("db-0"))
    make(client)
    wait_for(lambda: status(client).get("observedGeneration") == 1)
    assert status(client)["replicas"] == 0
    assert "ownerReferences" not in pods(client)["db-0"]["metadata"]
    client("DELETE", f"{client.core}/pods/db-0")
    wait_for(lambda: status(client).get("readyReplicas") == 1)


def test_frozen_pods_are_left_alone(client: Client) -> None:
    """A pod's template decides whether it is replaced, not what somebody made of the pod since."""
    make(client, podManagementPolicy="Parallel")
    wait_for(lambda: status(client).get("readyReplicas") == 1)
    before = pods(client)["db-0"]["metadata"]["uid"]
    container = {**pods(client)["db-0"]["spec"]["containers"][0], "image": "python#no"}
    client("PATCH", f"{client.core}/pods/db-0", {"spec": {"containers": [container]}}, content_type=MERGE)
    wait_for(lambda: "readyReplicas" not in status(client))
    assert pods(client)["db-0"]["metadata"]["uid"] == before
