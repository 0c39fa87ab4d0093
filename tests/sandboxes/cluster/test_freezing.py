"""What a pod looks like frozen, and when it counts as stopped."""

from typing import Any

import pytest

from sandboxes.cluster.freezing import MARK, freezing, still_frozen, still_running, thawing


def pod(image: str = "registry.example.com/python:3.13", **status: Any) -> dict[str, Any]:
    containers = [{"name": "workspace", "image": image, "args": ["x"]}]
    return {
        "metadata": {"name": "w", "uid": "u"},
        "spec": {"containers": containers, "nodeName": "n"},
        "status": status,
    }


def states(**by_name: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, "state": state} for name, state in by_name.items()]


def test_only_the_image_changes_and_the_uid_is_a_precondition() -> None:
    image = "registry.example.com/python:3.13"
    patch = freezing(pod(image))
    assert patch == {
        "metadata": {"uid": "u"},
        "spec": {"containers": [{"name": "workspace", "image": image + MARK, "args": ["x"]}]},
    }
    frozen = {**pod(), "spec": {**pod()["spec"], **patch["spec"]}}
    assert freezing(frozen) is None
    back = thawing(frozen)
    assert back is not None
    assert back["spec"] == {"containers": pod(image)["spec"]["containers"]}
    assert thawing(pod(image)) is None


@pytest.mark.parametrize("image", ["python", "python:3.13-slim", "a.example/b:1", f"a@sha256:{'0' * 64}"])
def test_a_frozen_name_starts_as_the_image_did(image: str) -> None:
    """So a rule about registries that lets the image in lets it be frozen too."""
    patch = freezing(pod(image))
    assert patch is not None
    name = patch["spec"]["containers"][0]["image"]
    assert name.startswith(image)
    assert name.count("/") == image.count("/")


def test_init_containers_are_frozen_too() -> None:
    item = pod()
    item["spec"]["initContainers"] = [{"name": "first", "image": "a"}]
    patch = freezing(item)
    assert patch is not None
    assert patch["spec"]["initContainers"][0]["image"] == "a" + MARK


@pytest.mark.parametrize("status", [{"phase": "Succeeded"}, {"phase": "Failed"}])
def test_what_is_over_is_left_alone(status: dict[str, Any]) -> None:
    assert freezing(pod(**status)) is None
    assert still_running(pod(**status)) == []


def test_what_is_being_deleted_is_left_alone_and_still_runs() -> None:
    item = pod(containerStatuses=states(workspace={"running": {}}))
    item["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert freezing(item) is None
    assert still_running(item) == ["Pod/w: workspace"]


def test_whatever_runs_is_named_even_what_an_admin_attached() -> None:
    stopped = states(workspace={"waiting": {"reason": "InvalidImageName"}})
    assert still_running(pod(containerStatuses=stopped)) == []
    attached = states(debugger={"running": {}})
    item = pod(containerStatuses=stopped, ephemeralContainerStatuses=attached)
    assert still_running(item) == ["Pod/w: debugger"]


def test_a_pod_of_which_nothing_is_known_counts_as_running() -> None:
    assert still_running(pod()) == ["Pod/w: on its way"]
    unplaced = pod()
    del unplaced["spec"]["nodeName"]
    assert still_running(unplaced) == []


def test_it_is_held_back_until_its_node_noticed() -> None:
    refused = {"waiting": {"reason": "InvalidImageName", "message": f'couldn\'t parse "python{MARK}"'}}
    assert still_frozen(pod(containerStatuses=states(workspace=refused)))
    assert not still_frozen(pod(containerStatuses=states(workspace={"running": {}})))
