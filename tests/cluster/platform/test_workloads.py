"""What may run in a sandbox, whoever makes it: pods, ephemeral containers, and services."""

from typing import Any

import pytest

from sandboxes.cluster.kinds import kind
from sandboxes.cluster.spec import KubeObject
from tests.cluster.conftest import wait_for
from tests.cluster.platform.conftest import World
from tests.cluster.platform.objects import DRY, POD, SERVICE, pod, refused

pytestmark = [pytest.mark.cluster, pytest.mark.enable_socket]
UNFILTERED = {"seccompProfile": {"type": "Unconfined"}}


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, "no volumes of the node"),
        ({"volumes": [{"name": "v", "nfs": {"server": "x", "path": "/"}}]}, "no volumes of the node"),
        ({"volumes": [{"name": "v", "csi": {"driver": "x"}}]}, "no volumes of the node"),
        ({"hostNetwork": True}, "no network and no processes"),
        ({"hostPID": True}, "no network and no processes"),
        ({"hostIPC": True}, "no network and no processes"),
        ({"container": {"securityContext": {"privileged": True}}}, "privileged"),
        ({"container": {"ports": [{"containerPort": 80, "hostPort": 80}]}}, "no port of its node"),
        ({"image": "registry.example/python:3"}, "from nowhere else"),
        ({"image": "REGISTRY.evil.example/python:3"}, "from nowhere else"),
        ({"image": "python:3", "evil": True}, "from nowhere else"),
        ({"image": "0" * 64}, "from nowhere else|its number"),
        ({"initContainers": [{"name": "i", "image": "registry.example/x"}]}, "from nowhere else"),
        (
            {"initContainers": [{"name": "i", "image": "=", "securityContext": {"privileged": True}}]},
            "privileged",
        ),
        ({"container": {"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}}, "capabilities"),
        (
            {"container": {"securityContext": {"capabilities": {"add": ["NET_BIND_SERVICE", "ALL"]}}}},
            "capabilities",
        ),
        ({"container": {"securityContext": UNFILTERED}}, "seccomp"),
        ({"securityContext": UNFILTERED}, "seccomp"),
        ({"container": {"securityContext": {"procMount": "Unmasked"}}, "hostUsers": False}, "/proc"),
        (
            {
                "initContainers": [
                    {"name": "i", "image": "=", "securityContext": {"capabilities": {"add": ["NET_RAW"]}}}
                ]
            },
            "capabilities",
        ),
        ({"initContainers": [{"name": "i", "image": "=", "securityContext": UNFILTERED}]}, "seccomp"),
        (
            {
                "initContainers": [{"name": "i", "image": "=", "securityContext": {"procMount": "Unmasked"}}],
                "hostUsers": False,
            },
            "/proc",
        ),
    ],
    ids=str,
)
def test_what_may_not_run(world: World, home: str, spec: dict[str, Any], why: str) -> None:
    good = world.subject.image
    fields = {name: value for name, value in spec.items() if name not in ("image", "evil", "container")}
    image = spec.get("image", good).replace("REGISTRY", world.platform.registries[0].split("/")[0])
    if spec.get("evil") and world.platform.registries[0].startswith("docker.io"):
        pytest.skip("Docker's library is allowed here")
    for item in fields.get("initContainers", ()):
        item["image"] = item["image"].replace("=", good)
    item = pod(image, spec.get("container"), **fields)
    refused(lambda: world.by("eve").create(POD.collection(home), item, dry_run=True), why)


def test_what_may_run(world: World, home: str) -> None:
    volumes = [
        {"name": "a", "emptyDir": {}},
        {"name": "b", "configMap": {"name": "x"}},
        {"name": "c", "secret": {"secretName": "x"}},
        {"name": "d", "downwardAPI": {}},
        {"name": "e", "projected": {"sources": []}},
    ]
    item = pod(
        world.subject.image,
        {"securityContext": {"capabilities": {"add": ["NET_BIND_SERVICE"]}, "procMount": "Default"}},
        volumes=volumes,
        initContainers=[{"name": "i", "image": world.subject.image}],
        securityContext={"seccompProfile": {"type": "RuntimeDefault"}},
    )
    world.by("eve").create(POD.collection(home), item, dry_run=True)


def test_elsewhere_everything_goes(world: World, elsewhere: str) -> None:
    item = pod("registry.example/x", volumes=[{"name": "v", "hostPath": {"path": "/"}}], hostNetwork=True)
    path = kind("v1", "ServiceAccount").path(elsewhere, "default")
    wait_for(lambda: world.admin.api.find(path))
    world.by("eve").create(POD.collection(elsewhere), item, dry_run=True)


@pytest.mark.parametrize(
    ("container", "why"),
    [
        ({"image": "registry.example/debug"}, "from nowhere else"),
        ({"securityContext": {"privileged": True}}, "privileged"),
        ({"securityContext": {"capabilities": {"add": ["SYS_PTRACE"]}}}, "capabilities"),
        ({"securityContext": UNFILTERED}, "seccomp"),
        ({"securityContext": {"procMount": "Unmasked"}}, "/proc"),
        ({}, ""),
    ],
)
def test_an_ephemeral_container_is_no_way_around(
    world: World, home: str, container: dict[str, Any], why: str
) -> None:
    eve = world.by("eve")
    there = pod(world.subject.image, hostUsers=False)  # or the API takes no other procMount anyway
    name = eve.create(POD.collection(home), there)["metadata"]["name"]
    path = f"{POD.path(home, name)}/ephemeralcontainers"
    added = [{"name": "debug", "image": world.subject.image, **container}]
    body = {"spec": {"ephemeralContainers": added}}

    def add() -> KubeObject:
        return eve._call("PATCH", path, DRY, body, "application/strategic-merge-patch+json")

    if why:
        refused(add, why)
    else:
        add()


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"type": "NodePort"}, "of type ClusterIP"),
        ({"type": "LoadBalancer"}, "of type ClusterIP"),
        ({"type": "ExternalName", "externalName": "example.org"}, "of type ClusterIP"),
        ({"externalIPs": ["192.0.2.99"]}, "no external addresses"),
        ({}, ""),
        ({"clusterIP": "None"}, ""),
    ],
    ids=str,
)
def test_services(world: World, home: str, spec: dict[str, Any], why: str) -> None:
    item = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "x"},
        "spec": {"ports": [{"port": 80}], "selector": {"a": "b"}, **spec},
    }

    def create() -> KubeObject:
        return world.by("eve").create(SERVICE.collection(home), item, dry_run=True)

    if why:
        refused(create, why)
    else:
        create()
