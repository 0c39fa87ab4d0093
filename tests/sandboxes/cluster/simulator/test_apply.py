"""Server-side apply: the rules of field ownership, one by one."""

import copy
from typing import Any

import pytest

from sandboxes.cluster.simulator.apply import apply, track_update
from sandboxes.cluster.simulator.errors import ApiError
from sandboxes.cluster.simulator.fields import decode, encode, leaves, readable

type Json = dict[str, Any]

EMPTY: Json = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}


def config(**fields: Any) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, **fields}


def applied(live: Json, body: Json, manager: str = "a", *, force: bool = False, now: str = "t1") -> Json:
    return apply(live, body, manager=manager, force=force, now=now)


def owners(item: Json) -> dict[str, set[str]]:
    return {
        entry["manager"]: {readable(path) for path in decode(entry["fieldsV1"])}
        for entry in item["metadata"]["managedFields"]
    }


def test_who_applies_a_field_owns_it() -> None:
    item = applied(EMPTY, config(data={"k": "1"}))
    assert item["data"] == {"k": "1"}
    assert owners(item) == {"a": {".data.k"}}


def test_fields_that_are_no_longer_applied_go() -> None:
    item = applied(EMPTY, config(data={"k": "1", "l": "1"}))
    item = applied(item, config(data={"l": "1"}))
    assert item["data"] == {"l": "1"}
    item = applied(item, config())
    assert "data" not in item


def test_a_shared_field_stays_until_the_last_owner_drops_it() -> None:
    item = applied(EMPTY, config(data={"k": "1"}))
    item = applied(item, config(data={"k": "1"}), "b")
    item = applied(item, config())
    assert item["data"] == {"k": "1"}
    assert owners(item) == {"b": {".data.k"}}


def test_another_value_is_a_conflict_that_names_the_owner() -> None:
    item = applied(EMPTY, config(data={"k": "1", "l": "1"}))
    with pytest.raises(ApiError) as caught:
        applied(item, config(data={"k": "2", "l": "2"}), "b")
    assert caught.value.code == 409
    assert caught.value.message.startswith("Apply failed with 2 conflicts: ")
    assert caught.value.details["causes"][0] == {
        "reason": "FieldManagerConflict",
        "message": 'conflict with "a"',
        "field": ".data.k",
    }


def test_force_takes_the_field() -> None:
    item = applied(EMPTY, config(data={"k": "1", "l": "1"}))
    item = applied(item, config(data={"k": "2"}), "b", force=True)
    assert item["data"] == {"k": "2", "l": "1"}
    assert owners(item) == {"a": {".data.l"}, "b": {".data.k"}}


def test_applying_the_same_again_changes_nothing_at_all() -> None:
    first = applied(EMPTY, config(data={"k": "1"}))
    assert applied(first, config(data={"k": "1"}), now="t2") == first


def test_an_update_takes_what_it_changes() -> None:
    item = applied(EMPTY, config(data={"k": "1", "l": "1"}))
    updated = copy.deepcopy(item)
    updated["data"]["k"] = "2"
    track_update(item, updated, manager="editor", now="t2")
    assert owners(updated) == {"a": {".data.l"}, "editor": {".data.k"}}
    with pytest.raises(ApiError, match=r'conflict with "editor" using v1: \.data\.k'):
        applied(updated, config(data={"k": "1", "l": "1"}))


def test_items_of_a_keyed_list_are_owned_one_by_one() -> None:
    def pod(*containers: Json) -> Json:
        return {**config(spec={"containers": list(containers)}), "kind": "Pod"}

    item = applied(EMPTY, pod({"name": "one", "image": "1"}))
    item = applied(item, pod({"name": "two", "image": "2"}), "b")
    item = applied(item, pod({"name": "one", "image": "1", "env": [{"name": "E", "value": "v"}]}))
    assert {entry["name"] for entry in item["spec"]["containers"]} == {"one", "two"}
    assert '.spec.containers[name="one"].env[name="E"].value' in owners(item)["a"]
    item = applied(item, pod({"name": "one", "image": "1"}))
    (one,) = [entry for entry in item["spec"]["containers"] if entry["name"] == "one"]
    assert one == {"name": "one", "image": "1"}
    item = applied(item, config(kind="Pod"), "b")
    assert [entry["name"] for entry in item["spec"]["containers"]] == ["one"]


def test_lists_without_keys_are_one_value() -> None:
    item = applied(EMPTY, config(spec={"egress": [{"to": []}], "policyTypes": ["Egress"]}))
    item = applied(item, config(spec={"egress": [], "policyTypes": ["Egress", "Ingress"]}))
    assert item["spec"] == {"egress": [], "policyTypes": ["Egress", "Ingress"]}


def test_finalizers_are_a_set() -> None:
    def held(*names: str) -> Json:
        item = config()
        item["metadata"]["finalizers"] = list(names)
        return item

    item = applied(EMPTY, held("a.example/x"))
    item = applied(item, held("b.example/y"), "b")
    assert set(item["metadata"]["finalizers"]) == {"a.example/x", "b.example/y"}
    item = applied(item, config())
    assert item["metadata"]["finalizers"] == ["b.example/y"]


def test_field_sets_survive_encoding() -> None:
    item = config(spec={"ports": [{"port": 80, "targetPort": 8080}], "selector": {"a": "b"}, "x": {}})
    assert decode(encode(leaves(item))) == set(leaves(item))
