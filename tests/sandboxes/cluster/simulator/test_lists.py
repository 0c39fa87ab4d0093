"""Lists of the simulated cluster: what is on a page, and what a page costs."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sandboxes.cluster.simulator.objects import Listing, Objects
from sandboxes.cluster.simulator.resources import CONFIG_MAPS, NAMESPACES
from sandboxes.cluster.simulator.selectors import equalities, parse_labels
from sandboxes.cluster.simulator.store import Store
from tests.sandboxes.cluster.simulator.conftest import Client, config_map, wait_for

type Json = dict[str, Any]

PARTIAL = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
PARTIAL_EVENT = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"


@pytest.fixture
def objects(tmp_path: Path) -> Iterator[Objects]:
    store = Store(tmp_path / "cluster.sqlite3")
    yield Objects(store)
    store.close()


def listing(selector: str = "", namespace: str | None = None, *, partial: bool = True) -> Listing:
    return Listing(CONFIG_MAPS, namespace, parse_labels(selector), equalities(selector), None, partial)


def fill(objects: Objects, namespaces: int, first: int = 0) -> None:
    """Ten objects in each namespace."""
    with objects.store.transaction():
        for number in range(first, first + namespaces):
            name = f"n-{number:05}"
            head = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            objects.create(NAMESPACES, "", head, manager="test")
            for each in range(10):
                item = config_map(f"c-{each}", labels={"all": "1", "one": name}, data={"k": "v" * 200})
                objects.create(CONFIG_MAPS, name, item, manager="test")


def work(objects: Objects, act: Callable[[], object]) -> int:
    """How many of its own steps SQLite took for it, in hundreds: a clock that no other process disturbs."""
    steps = [0]
    database: sqlite3.Connection = objects.store._db

    def step() -> int:
        steps[0] += 1
        return 0

    database.set_progress_handler(step, 100)
    act()
    database.set_progress_handler(None, 100)
    return steps[0]


@pytest.mark.parametrize("selector", ["", "all=1", "one=n-00050", "all=1,one=n-00050", "one"])
def test_a_page_costs_the_same_however_many_objects_there_are(objects: Objects, selector: str) -> None:
    def cost() -> int:
        """Of the second page: with the first, the server also counts all keys, from an index."""
        token = json.loads(objects.page(listing(selector), limit=5, token=""))["metadata"]["continue"]
        return work(objects, lambda: objects.page(listing(selector), limit=5, token=token))

    fill(objects, 60)
    before = cost()
    fill(objects, 540, first=60)
    assert cost() <= before * 2


def test_every_object_is_on_exactly_one_page(objects: Objects) -> None:
    fill(objects, 30)
    for selector, count in (
        ("", 300),
        ("all=1", 300),
        ("one=n-00007", 10),
        ("one=n-00007,all!=1", 0),
        ("no=1", 0),
    ):
        for partial in (True, False):
            found, token, left = [], "", None
            while True:
                page = json.loads(objects.page(listing(selector, partial=partial), limit=7, token=token))
                found += page["items"]
                assert len(page["items"]) <= 7
                token = page["metadata"].get("continue", "")
                left = page["metadata"].get("remainingItemCount")
                assert left == (count - len(found) if token and not selector else None)
                if not token:
                    break
            keys = [(item["metadata"]["namespace"], item["metadata"]["name"]) for item in found]
            assert len(set(keys)) == len(keys) == count
            assert keys == sorted(keys)
            assert all(("data" in item) is not partial for item in found)


def test_labels_are_found_as_they_are_now(objects: Objects) -> None:
    fill(objects, 1)

    def names(selector: str) -> list[str]:
        page = json.loads(objects.page(listing(selector), limit=0, token=""))
        return [item["metadata"]["name"] for item in page["items"]]

    patch = {"metadata": {"labels": {"one": "other"}}}
    objects.patch(CONFIG_MAPS, "n-00000", "c-3", patch, manager="test", strategic=False)
    assert names("one=other") == ["c-3"]
    assert len(names("one=n-00000")) == 9
    objects.delete(CONFIG_MAPS, "n-00000", "c-3", {})
    assert names("one=other") == []


def test_a_file_of_an_older_version_is_brought_up_to_date(objects: Objects, tmp_path: Path) -> None:
    fill(objects, 2)
    objects.store.close()
    path = tmp_path / "cluster.sqlite3"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(
            "DROP TABLE labels; ALTER TABLE objects DROP COLUMN labels; ALTER TABLE objects DROP COLUMN metadata;"
        )
    store = Store(path)
    page = json.loads(Objects(store).page(listing("one=n-00001"), limit=0, token=""))
    assert len(page["items"]) == 10
    assert page["items"][0]["metadata"]["labels"] == {"all": "1", "one": "n-00001"}
    store.close()


# ---- over HTTP


def test_metadata_only(client: Client) -> None:
    made = client.config_map("x", data={"k": "v"}, labels={"a": "b"})
    path = f"{client.core}/configmaps"
    page = client.http.get(path, params={"labelSelector": "a=b"}, headers={"Accept": PARTIAL}).json()
    assert (page["kind"], page["apiVersion"]) == ("PartialObjectMetadataList", "meta.k8s.io/v1")
    (item,) = page["items"]
    assert item == {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": made["metadata"],
    }
    assert item["metadata"]["managedFields"]
    one = client.http.get(f"{path}/x", headers={"Accept": PARTIAL_EVENT}).json()
    assert one == item
    watch = {"watch": "true", "timeoutSeconds": "1", "labelSelector": "a=b"}
    answer = client.http.get(path, params=watch, headers={"Accept": PARTIAL_EVENT})
    assert [json.loads(line) for line in answer.text.splitlines()] == [{"type": "ADDED", "object": item}]


def test_reviews_about_oneself(client: Client) -> None:
    head = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    status, review = client("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", head)
    assert (status, review["status"]["userInfo"]["username"]) == (201, "petridish-simulated:admin")
    path = "/apis/authorization.k8s.io/v1"
    rules = client("POST", f"{path}/selfsubjectrulesreviews", {"spec": {"namespace": "x"}})[1]["status"]
    assert rules["resourceRules"] == [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
    assert not rules["incomplete"]
    asked = {"spec": {"resourceAttributes": {"verb": "list", "resource": "nodes"}}}
    assert client("POST", f"{path}/selfsubjectaccessreviews", asked)[1]["status"]["allowed"]
    assert client("GET", f"{path}/selfsubjectrulesreviews")[0] == 404


def test_kinds_that_are_kept_and_not_obeyed(client: Client) -> None:
    for path in (
        "/apis/node.k8s.io/v1/runtimeclasses",
        "/apis/storage.k8s.io/v1/storageclasses",
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    ):
        status, found = client("GET", path)
        assert (status, found["items"]) == (200, [])
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": client.namespace},
    }
    assert client("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", {**role, "rules": []})[0] == 201


def test_what_a_workspace_says_of_itself(client: Client) -> None:
    def pod(name: str, **metadata: Any) -> str:
        spec = {"containers": [{"name": "c", "image": "python:3"}]}
        head = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **metadata}}
        assert client("POST", f"{client.core}/pods", {**head, "spec": spec})[0] == 201
        return f"{client.core}/pods/{name}/log"

    stage = {"petridish.dev/stage": "workspace"}
    idle = pod("idle", labels=stage)
    assert client.http.get(idle).status_code == 400  # waiting to start
    busy = pod("busy", labels=stage, annotations={"simulated.petridish.dev/cpu-millis": "500"})
    other = pod("other")
    for path in (idle, busy, other):
        wait_for(lambda path=path: client.http.get(path).status_code == 200)  # type: ignore[misc]
    lines = [client.http.get(path, params={"tailLines": "2"}).text.splitlines() for path in (idle, busy)]
    used = [[int(line.split()[3]) for line in pair] for pair in lines]
    assert used[0][1] - used[0][0] < 60 * 1_000  # less than a thousandth of a core
    assert used[1][1] - used[1][0] == 60 * 500_000
    assert "petridish-activity" not in client.http.get(other).text
