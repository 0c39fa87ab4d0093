"""Bait in every workspace, whoever wrote it."""

import json
from pathlib import Path
from typing import Any

import pytest

from sandboxes.cluster import baiting
from sandboxes.cluster.render import Templates, load_templates, render
from tests.sandboxes.cluster.conftest import ROOT
from tests.sandboxes.cluster.rendering import MakeSpec

SHIPPED = sorted(path.stem for path in (ROOT / "profiles").glob("*.yaml"))
HOME = {"name": "HOME", "value": "/home/lab"}
SAFE = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
PLANTED = ["/home/lab/.aws", "/home/lab/.ssh", "/home/lab/.pypirc"]


def workspace(*containers: dict[str, Any], volumes: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """A profile's own, as its author would write it."""
    items = [{"name": f"c{number}", "image": "${image}", **each} for number, each in enumerate(containers)]
    pod = {"containers": items, "volumes": volumes or []}
    template = {"metadata": {"labels": {"app": "workspace"}}, "spec": pod}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "workspace"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "workspace"}}, "template": template},
    }


def rendered(root: Path, spec: MakeSpec, *documents: dict[str, Any]) -> list[dict[str, Any]]:
    """PodSpecs of a python profile that has these documents."""
    file = root / "profiles" / "python.yaml"
    file.write_text("\n---\n".join([file.read_text(), *(json.dumps(each) for each in documents)]))
    made = render(spec(), load_templates(root))
    return [
        item["spec"]["template"]["spec"] if "template" in item["spec"] else item["spec"]
        for item in made.workspace
        if "spec" in item
    ]


def mounts(container: dict[str, Any]) -> list[str]:
    return [each["mountPath"] for each in container.get("volumeMounts", []) if each["name"] == baiting.VOLUME]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_profile_that_is_shipped_has_all_of_it(spec: MakeSpec, templates: Templates, name: str) -> None:
    made = render(spec(profile=name), templates)
    bodies = [item["spec"]["template"]["spec"] for item in made.workspace if item["kind"] == "StatefulSet"]
    assert bodies
    for pod in bodies:
        [volume] = [each for each in pod["volumes"] if each.get("secret", {}).get("secretName") == "home"]
        places = {item["key"]: item["path"] for item in volume["secret"]["items"]}
        assert places == baiting.PLACES
        assert any(each["name"] == volume["name"] for each in pod["containers"][0]["volumeMounts"])


def test_a_workspace_of_its_own_has_it_in_its_home(root: Path, spec: MakeSpec) -> None:
    [pod] = rendered(root, spec, workspace({"env": [HOME]}))
    [volume] = pod["volumes"]
    assert (volume["secret"]["secretName"], volume["secret"]["optional"]) == ("home", True)
    assert {item["key"]: item["path"] for item in volume["secret"]["items"]} == baiting.PLACES
    [container] = pod["containers"]
    assert mounts(container) == PLANTED
    assert [each["subPath"] for each in container["volumeMounts"]] == [".aws", ".ssh", ".pypirc"]
    assert all(each["readOnly"] for each in container["volumeMounts"])
    assert container["env"] == [HOME]


def test_rendered_again_it_is_the_same(root: Path, spec: MakeSpec) -> None:
    rendered(root, spec, workspace({"env": [HOME]}))
    templates = load_templates(root)
    first, second = render(spec(), templates), render(spec(bait={"pypirc": "x"}), templates)
    assert first.workspace == second.workspace
    assert first.spec_hash == second.spec_hash


@pytest.mark.parametrize(
    "env",
    [
        [],
        [{"name": "HOME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        [{"name": "HOME", "value": "$(ELSEWHERE)"}],
    ],
)
def test_where_nobody_knows_the_home_its_variables_say_where_it_is(
    root: Path, spec: MakeSpec, env: list[dict[str, Any]]
) -> None:
    [pod] = rendered(root, spec, workspace({"env": env}))
    [container] = pod["containers"]
    assert mounts(container) == ["/etc/petridish-home"]
    said = {each["name"]: each["value"] for each in container["env"][len(env) :]}
    assert said == {
        "AWS_SHARED_CREDENTIALS_FILE": "/etc/petridish-home/.aws/credentials",
        "AWS_CONFIG_FILE": "/etc/petridish-home/.aws/config",
    }


def test_a_variable_of_its_own_stays(root: Path, spec: MakeSpec) -> None:
    own = {"name": "AWS_CONFIG_FILE", "value": "/mine"}
    [pod] = rendered(root, spec, workspace({"env": [own]}))
    named = [each["name"] for each in pod["containers"][0]["env"]]
    assert named == ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"]
    assert own in pod["containers"][0]["env"]


@pytest.mark.parametrize(
    ("own", "planted"),
    [
        ("/home/lab/.aws", PLANTED[1:]),
        ("/home/lab/.aws/", PLANTED[1:]),
        ("/home/lab/.aws/config", PLANTED[1:]),
        ("/home/lab/.pypirc", PLANTED[:2]),
        ("/home/lab", PLANTED),
        ("/home/lab/.awsome", PLANTED),
    ],
)
def test_what_a_profile_mounts_itself_stays(root: Path, spec: MakeSpec, own: str, planted: list[str]) -> None:
    mount = {"name": "mine", "mountPath": own}
    volumes = [{"name": "mine", "emptyDir": {}}]
    [pod] = rendered(root, spec, workspace({"env": [HOME], "volumeMounts": [mount]}, volumes=volumes))
    [container] = pod["containers"]
    assert container["volumeMounts"][0] == mount
    assert mounts(container) == planted
    assert [each["name"] for each in pod["volumes"]] == ["mine", baiting.VOLUME]


@pytest.mark.parametrize(
    ("mount", "volume"),
    [
        ({"name": "mine", "mountPath": "/home", "readOnly": True}, {"name": "mine", "emptyDir": {}}),
        ({"name": "mine", "mountPath": "/home/lab"}, {"name": "mine", "configMap": {"name": "x"}}),
    ],
)
def test_a_home_that_cannot_be_written_is_left_alone(
    root: Path, spec: MakeSpec, mount: dict[str, Any], volume: dict[str, Any]
) -> None:
    """A node could not make the place to mount it at, and the pod would never start."""
    [pod] = rendered(root, spec, workspace({"env": [HOME], "volumeMounts": [mount]}, volumes=[volume]))
    assert pod["volumes"] == [volume]
    assert pod["containers"][0]["volumeMounts"] == [mount]


def test_the_nearest_mount_counts(root: Path, spec: MakeSpec) -> None:
    outer = {"name": "outer", "mountPath": "/home", "readOnly": True}
    inner = {"name": "inner", "mountPath": "/home/lab"}
    volumes = [{"name": "outer", "emptyDir": {}}, {"name": "inner", "emptyDir": {}}]
    containers = {"env": [HOME], "volumeMounts": [outer, inner]}
    [pod] = rendered(root, spec, workspace(containers, volumes=volumes))
    assert mounts(pod["containers"][0]) == PLANTED


def test_who_names_the_secret_does_it_themselves(root: Path, spec: MakeSpec) -> None:
    volumes = [{"name": "mine", "secret": {"secretName": "home"}}]
    [pod] = rendered(root, spec, workspace({"env": [HOME]}, volumes=volumes))
    assert pod["volumes"] == volumes
    assert "volumeMounts" not in pod["containers"][0]


def test_each_container_of_each_pod_has_it(root: Path, spec: MakeSpec) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "more"}, "spec": {"containers": []}}
    pod["spec"] = {"containers": [{"name": "c", "image": "${image}", "env": [HOME]}]}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "plain"}, "data": {"a": "b"}}
    first, second = rendered(root, spec, workspace({"env": [HOME]}, {"env": [HOME]}), pod, config)
    assert [mounts(each) for each in first["containers"]] == [PLANTED, PLANTED]
    assert [mounts(each) for each in second["containers"]] == [PLANTED]
    assert len(first["volumes"]) == len(second["volumes"]) == 1
