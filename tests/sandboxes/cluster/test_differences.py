"""What counts as a difference, and whose it is."""

from typing import Any

import pytest

from sandboxes.cluster.differences import Path, differences, label_differences, managers
from sandboxes.cluster.spec import Labels

type Json = dict[str, Any]


def item(kind: str, spec: Json, **metadata: Any) -> Json:
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": "x", "labels": {}, **metadata},
        "spec": spec,
    }


@pytest.mark.parametrize(
    ("kind", "said", "made", "live", "wanted"),
    [
        ("NetworkPolicy", {"a": 1}, {"a": 1, "b": 2}, {"a": 1, "b": 2}, []),
        ("NetworkPolicy", {"a": 1}, {"a": 1}, {"a": 1, "egress": [{}]}, [("spec", "egress")]),
        ("NetworkPolicy", {"a": 1}, {"a": 1}, {"a": 1, "egress": []}, []),
        ("NetworkPolicy", {"a": 1}, {"a": 1, "b": {"c": 1}}, {"a": 1, "b": {"c": 2}}, [("spec", "b", "c")]),
        (
            "NetworkPolicy",
            {"a": {}},
            {"a": {}},
            {"a": {"matchLabels": {"x": "y"}}},
            [("spec", "a", "matchLabels")],
        ),
        ("Deployment", {"a": 1}, {"a": 1}, {"a": 1, "filled-in": 2}, []),
        ("Deployment", {"a": 1}, {"a": 1}, {"a": 2}, [("spec", "a")]),
        ("Deployment", {"a": 1}, {"a": 1}, {}, [("spec", "a")]),
        ("Deployment", {"cpu": "1000m"}, {"cpu": "1"}, {"cpu": "1"}, []),
        ("Pod", {"cpu": "1000m"}, {"cpu": "1000m"}, {"cpu": "1"}, []),
        ("Deployment", {"env": []}, {"env": None}, {}, []),
        (
            "Deployment",
            {"c": [{"name": "x", "v": 1}]},
            {"c": [{"name": "x", "v": 1}]},
            {"c": [{"name": "sidecar"}, {"name": "x", "v": 1, "filled-in": 2}]},
            [],
        ),
        (
            "Deployment",
            {"c": [{"name": "x", "v": 1}]},
            {"c": [{"name": "x", "v": 1}]},
            {"c": [{"name": "x", "v": 2}]},
            [("spec", "c", "[name=x]", "v")],
        ),
        (
            "Deployment",
            {"c": [{"name": "x"}]},
            {"c": [{"name": "x"}]},
            {"c": [{"name": "y"}]},
            [("spec", "c", "[name=x]")],
        ),
        ("Deployment", {"args": ["a", "b"]}, {"args": ["a", "b"]}, {"args": ["a"]}, [("spec", "args")]),
    ],
)
def test_differences(kind: str, said: Json, made: Json, live: Json, wanted: list[Path]) -> None:
    assert differences(item(kind, said), item(kind, made), item(kind, live)) == wanted


def test_labels_of_ours_and_not_those_of_others() -> None:
    ours = item("Pod", {}, labels={"a": "1", Labels.SPEC_HASH: "old", Labels.STAGE: "seal"})
    live = item("Pod", {}, labels={"a": "2", Labels.SPEC_HASH: "new", "theirs": "1"})
    assert label_differences(ours, live) == [
        ("metadata", "labels", "a"),
        ("metadata", "labels", Labels.STAGE),
    ]


FIELDS = {
    "f:spec": {
        "f:egress": {},
        "f:hard": {"f:pods": {}},
        "f:containers": {'k:{"name":"x"}': {".": {}, "f:image": {}}},
    }
}


def entry(manager: str, time: str, fields: Json, **more: str) -> Json:
    return {"manager": manager, "operation": "Update", "time": time, "fieldsV1": fields, **more}


@pytest.mark.parametrize(
    ("path", "owned"),
    [
        (("spec", "egress"), True),
        (("spec", "hard", "pods"), True),
        (("spec", "hard"), True),  # something in it
        (("spec", "egress", "deeper"), True),  # the whole of which it is a part
        (("spec", "containers", "[name=x]", "image"), True),
        (("spec", "ingress"), False),
        (("data", "x"), False),
    ],
)
def test_who_owns_a_field(path: Path, owned: bool) -> None:
    live = item("NetworkPolicy", {}, managedFields=[entry("mallory", "2026-01-01T00:00:00Z", FIELDS)])
    assert managers(live, [path]) == (("mallory",) if owned else ())


def test_managers_are_told_latest_first_and_without_us_and_the_controllers() -> None:
    entries = [
        entry("first", "2026-01-01T00:00:00Z", FIELDS),
        entry("petridish", "2026-01-04T00:00:00Z", FIELDS),
        entry("kube-controller-manager", "2026-01-05T00:00:00Z", FIELDS, subresource="status"),
        entry("last", "2026-01-03T00:00:00Z", FIELDS),
        entry("first", "2026-01-02T00:00:00Z", FIELDS),
        entry("elsewhere", "2026-01-06T00:00:00Z", {"f:data": {}}),
    ]
    assert managers(item("Pod", {}, managedFields=entries), [("spec", "egress")]) == ("last", "first")
    assert managers(item("Pod", {}), [("spec", "egress")]) == ()
