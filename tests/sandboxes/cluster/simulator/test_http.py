"""The simulated API over HTTP: answers and refusals as the real server gives them."""

import json
from typing import Any

import pytest

from tests.sandboxes.cluster.simulator.conftest import Client, config_map, pod, wait_for

type Json = dict[str, Any]

MERGE = "application/merge-patch+json"


def test_without_a_token_nothing_but_health_and_version(client: Client) -> None:
    for path in ("/healthz", "/readyz", "/livez", "/version"):
        assert client.http.get(path, headers={"Authorization": ""}).status_code == 200
    for token in ("", "Bearer wrong", "Bearer", "Basic x"):
        answer = client.http.get("/api/v1/namespaces", headers={"Authorization": token})
        assert answer.status_code == 401
        assert answer.json()["reason"] == "Unauthorized"


def test_discovery(client: Client) -> None:
    assert client("GET", "/api")[1]["versions"] == ["v1"]
    groups = {group["name"] for group in client("GET", "/apis")[1]["groups"]}
    assert {"apps", "batch", "networking.k8s.io", "rbac.authorization.k8s.io"} <= groups
    names = {entry["name"] for entry in client("GET", "/api/v1")[1]["resources"]}
    assert {"pods", "pods/status", "namespaces", "secrets"} <= names
    assert client("GET", "/apis/apps/v1")[1]["groupVersion"] == "apps/v1"
    assert "petridish-simulated" in client("GET", "/version")[1]["gitVersion"]


@pytest.mark.parametrize("path", ["/", "/api/v2", "/apis/none.example/v1/x", "/api/v1/widgets", "/nothing"])
def test_unknown_paths(client: Client, path: str) -> None:
    status, body = client("GET", path)
    assert (status, body["kind"], body["code"]) == (404, "Status", 404)


def test_create_read_replace_delete(client: Client) -> None:
    created = client.config_map("x", data={"k": "1"})
    assert created["metadata"]["uid"]
    path = f"{client.core}/configmaps/x"
    assert client("GET", path)[1] == created
    status, replaced = client("PUT", path, {**created, "data": {"k": "2"}})
    assert (status, replaced["data"]) == (200, {"k": "2"})
    status, stale = client("PUT", path, {**created, "data": {"k": "3"}})
    assert (status, stale["reason"]) == (409, "Conflict")
    assert "the object has been modified" in stale["message"]
    status, patched = client("PATCH", path, {"data": {"k": None, "l": "1"}}, content_type=MERGE)
    assert (status, patched["data"]) == (200, {"l": "1"})
    status, deleted = client("DELETE", path)
    assert (status, deleted["status"], deleted["details"]["uid"]) == (
        200,
        "Success",
        created["metadata"]["uid"],
    )
    status, gone = client("GET", path)
    assert status == 404
    assert gone["message"] == 'configmaps "x" not found'
    assert gone["details"] == {"name": "x", "kind": "configmaps"}


def test_refusals_of_malformed_requests(client: Client) -> None:
    client.config_map("x")
    collection, path = f"{client.core}/configmaps", f"{client.core}/configmaps/x"
    assert client("POST", collection, config_map("x"))[1]["reason"] == "AlreadyExists"
    assert client("POST", collection, {**config_map("y"), "kind": "Secret"})[0] == 400
    assert client("POST", path, config_map("x"))[0] == 405
    assert client("PUT", collection, config_map("x"))[0] == 405
    assert client("PATCH", path, {}, content_type="text/plain")[0] == 415
    assert client.http.post(collection, content=b"{").status_code == 400
    assert client.http.post(collection, content=b"[]").status_code == 400
    assert client("POST", collection, config_map("y"), dryRun="All")[0] == 201
    assert client("GET", f"{collection}/y")[0] == 404
    other = config_map("y")
    other["metadata"]["namespace"] = "default"
    assert client("POST", collection, other)[0] == 400
    missing = client("POST", "/api/v1/namespaces/no-such-namespace/configmaps", config_map("x"))
    assert (missing[0], missing[1]["details"]["kind"]) == (404, "namespaces")


@pytest.mark.parametrize(
    ("plural", "body", "field"),
    [
        ("configmaps", config_map("Not_A_Name"), "metadata.name"),
        ("configmaps", config_map(""), "metadata.name"),
        ("configmaps", config_map("x", labels={"a": "not a value"}), "metadata.labels"),
        ("pods", pod("x", containers=[]), "spec.containers"),
        ("pods", pod("x", containers=[{"name": "c"}]), "spec.containers[0].image"),
        (
            "resourcequotas",
            {**config_map("x"), "kind": "ResourceQuota", "spec": {"hard": {"pods": "many"}}},
            "spec.hard[pods]",
        ),
    ],
)
def test_invalid_objects(client: Client, plural: str, body: Json, field: str) -> None:
    status, answer = client("POST", f"{client.core}/{plural}", body)
    assert (status, answer["reason"]) == (422, "Invalid")
    assert field in [cause["field"] for cause in answer["details"]["causes"]]


def test_fields_that_never_change(client: Client) -> None:
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "a"}
    head = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "x"}}
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{client.namespace}/rolebindings"
    assert client("POST", path, {**head, "roleRef": role, "subjects": []})[0] == 201
    status, answer = client("PUT", f"{path}/x", {**head, "roleRef": {**role, "name": "b"}})
    assert (status, answer["details"]["causes"][0]["field"]) == (422, "roleRef")
    assert client("POST", f"{client.core}/pods", pod("x"))[0] == 201
    answer = client("PATCH", f"{client.core}/pods/x", {"spec": {"hostNetwork": True}}, content_type=MERGE)[1]
    assert answer["reason"] == "Invalid"


def test_apply_creates_then_merges_then_conflicts(client: Client) -> None:
    path = f"{client.core}/configmaps/x"
    assert client.apply(path, config_map("x", data={"k": "1"}))[0] == 201
    status, again = client.apply(path, config_map("x", data={"k": "1"}))
    assert status == 200
    assert client.apply(path, config_map("x", data={"k": "1"}))[1] == again
    status, conflict = client.apply(path, config_map("x", data={"k": "2"}), manager="other")
    assert (status, conflict["reason"]) == (409, "Conflict")
    assert conflict["details"]["causes"][0]["reason"] == "FieldManagerConflict"
    assert client.apply(path, config_map("x", data={"k": "2"}), manager="other", force="true")[0] == 200
    assert client.apply(path, config_map("x"), manager="")[0] == 422
    body = config_map("x")
    body["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000"
    assert client.apply(path, body)[1]["reason"] == "Conflict"
    body["metadata"]["name"] = "new"
    assert client.apply(f"{client.core}/configmaps/new", body)[0] == 409


def test_apply_takes_yaml(client: Client) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: y\ndata:\n  a: b\n"
    answer = client.http.patch(
        f"{client.core}/configmaps/y",
        content=text,
        params={"fieldManager": "petridish"},
        headers={"Content-Type": "application/apply-patch+yaml"},
    )
    assert (answer.status_code, answer.json()["data"]) == (201, {"a": "b"})


def test_lists_with_selectors_and_pages(client: Client) -> None:
    for number in range(7):
        client.config_map(f"c{number}", labels={"odd": str(number % 2), "batch": "x"})
    collection = f"{client.core}/configmaps"
    names, token = [], ""
    while True:
        page = client("GET", collection, limit="2", labelSelector="batch", continue_=token)[1]
        assert len(page["items"]) <= 2
        assert page["kind"] == "ConfigMapList"
        names += [item["metadata"]["name"] for item in page["items"]]
        token = page["metadata"].get("continue", "")
        if not token:
            break
    assert names == [f"c{number}" for number in range(7)]
    odd = client("GET", collection, labelSelector="odd in (1)")[1]["items"]
    assert len(odd) == 3
    one = client("GET", collection, fieldSelector="metadata.name=c3")[1]["items"]
    assert [item["metadata"]["name"] for item in one] == ["c3"]
    page = client("GET", collection, limit="1")[1]
    assert page["metadata"]["remainingItemCount"] == 7
    assert client("GET", collection, limit="x")[0] == 400
    assert client("GET", collection, continue_="???")[0] == 400
    everywhere = client("GET", "/api/v1/configmaps", labelSelector="batch")[1]["items"]
    assert len(everywhere) == 7


def test_a_continue_token_expires_with_its_history(client: Client) -> None:
    for number in range(3):
        client.config_map(f"c{number}")
    collection = f"{client.core}/configmaps"
    token = client("GET", collection, limit="1")[1]["metadata"]["continue"]
    for number in range(510):
        client("PATCH", f"{collection}/c0", {"data": {"n": str(number)}}, content_type=MERGE)
    status, answer = client("GET", collection, limit="1", continue_=token)
    assert (status, answer["reason"]) == (410, "Expired")
    with client.http.stream("GET", collection, params={"watch": "1", "resourceVersion": "1"}) as stream:
        event = json.loads(next(stream.iter_lines()))
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


def test_a_watch_sees_what_its_selector_sees(client: Client) -> None:
    collection = f"{client.core}/configmaps"
    version = client("GET", collection)[1]["metadata"]["resourceVersion"]
    client.config_map("a", labels={"on": "1"})
    client.config_map("b")
    query = {"watch": "1", "resourceVersion": version, "labelSelector": "on", "timeoutSeconds": "5"}
    with client.http.stream("GET", collection, params=query) as stream:
        events = stream.iter_lines()
        first = json.loads(next(events))
        client("PATCH", f"{collection}/b", {"metadata": {"labels": {"on": "1"}}}, content_type=MERGE)
        client("PATCH", f"{collection}/a", {"data": {"k": "1"}}, content_type=MERGE)
        client("PATCH", f"{collection}/a", {"metadata": {"labels": {"on": None}}}, content_type=MERGE)
        client("DELETE", f"{collection}/b")
        seen = [first, *(json.loads(next(events)) for _ in range(4))]
    assert [(event["type"], event["object"]["metadata"]["name"]) for event in seen] == [
        ("ADDED", "a"),
        ("ADDED", "b"),
        ("MODIFIED", "a"),
        ("DELETED", "a"),
        ("DELETED", "b"),
    ]


def test_a_watch_from_nothing_begins_with_the_present_and_ends_in_time(client: Client) -> None:
    client.config_map("a")
    query = {"watch": "1", "timeoutSeconds": "1", "fieldSelector": "metadata.name=a"}
    with client.http.stream("GET", f"{client.core}/configmaps", params=query) as stream:
        events = [json.loads(line) for line in stream.iter_lines()]
    assert [event["type"] for event in events] == ["ADDED"]


def test_delete_with_preconditions(client: Client) -> None:
    item = client.config_map("x")
    path = f"{client.core}/configmaps/x"
    for wrong in ({"uid": "other"}, {"resourceVersion": "1"}):
        status, answer = client("DELETE", path, {"preconditions": wrong})
        assert (status, answer["reason"]) == (409, "Conflict")
    metadata = item["metadata"]
    right = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
    assert client("DELETE", path, {"preconditions": right})[0] == 200


def test_delete_collection_by_label(client: Client) -> None:
    client.config_map("a", labels={"on": "1"})
    client.config_map("b")
    collection = f"{client.core}/configmaps"
    assert client("DELETE", collection, labelSelector="on")[0] == 200
    names = [item["metadata"]["name"] for item in client("GET", collection)[1]["items"]]
    assert names == ["b", "kube-root-ca.crt"]
    assert client("DELETE", "/api/v1/namespaces")[0] == 405


def test_finalizers_hold_an_object(client: Client) -> None:
    client.config_map("x", finalizers=["example.com/hold"])
    path = f"{client.core}/configmaps/x"
    assert "deletionTimestamp" in client("DELETE", path)[1]["metadata"]
    assert client("GET", path)[0] == 200
    client("PATCH", path, {"metadata": {"finalizers": []}}, content_type=MERGE)
    assert client("GET", path)[0] == 404


def test_string_data_becomes_data(client: Client) -> None:
    body = {**config_map("x", stringData={"k": "v"}), "kind": "Secret"}
    secret = client("POST", f"{client.core}/secrets", body)[1]
    assert (secret["data"], "stringData" in secret, secret["type"]) == ({"k": "dg=="}, False, "Opaque")


def test_token_requests(client: Client) -> None:
    path = f"{client.core}/serviceaccounts/default/token"
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 600},
    }
    status, answer = client("POST", path, body)
    assert status == 201
    assert answer["status"]["token"]
    assert client("POST", path.replace("default", "missing"), body)[0] == 404


def test_status_is_a_subresource(client: Client) -> None:
    created = client("POST", f"{client.core}/pods", {**pod("x"), "status": {"phase": "Failed"}})[1]
    assert created["status"]["phase"] == "Pending"
    path = f"{client.core}/pods/x"
    client("PATCH", f"{path}/status", {"status": {"reason": "Because"}}, content_type=MERGE)
    assert wait_for(lambda: client("GET", path)[1]["status"].get("reason")) == "Because"
    assert client("GET", f"{client.core}/configmaps/kube-root-ca.crt/status")[0] == 404
    wait_for(lambda: client.http.get(f"{path}/log").status_code == 200)  # as soon as it runs
