"""The platform manifests on a real cluster: each rule refuses what it should, and lets Petridish work.

The policies match by this run's own installation id, so nobody else's namespaces are touched.
"""

import base64
import json
import secrets
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sandboxes.cluster.api import Api, StatusRefusedError
from sandboxes.cluster.driver import Cluster, connect, connect_text
from sandboxes.cluster.kinds import NAMESPACE, Kind, kind
from sandboxes.cluster.platform import Platform, render_platform
from sandboxes.cluster.render import Rendered, Templates
from sandboxes.cluster.spec import KubeObject, Labels
from sandboxes.errors import ClusterRefusedError
from tests.cluster.conftest import Subject, own_address, real_kubeconfig, wait_for, workspace_image
from tests.cluster.platform.objects import CONFIG_MAP, config_map, namespace
from tests.simulator import ROOT

_RBAC, _ADMISSION = "/apis/rbac.authorization.k8s.io/v1", "/apis/admissionregistration.k8s.io/v1"
WHERE = {
    "ServiceAccount": kind("v1", "ServiceAccount"),
    "Namespace": NAMESPACE,
    "ClusterRole": Kind(_RBAC, "clusterroles", False),
    "ClusterRoleBinding": Kind(_RBAC, "clusterrolebindings", False),
    "ValidatingAdmissionPolicy": Kind(_ADMISSION, "validatingadmissionpolicies", False),
    "ValidatingAdmissionPolicyBinding": Kind(_ADMISSION, "validatingadmissionpolicybindings", False),
}


@dataclass
class World:
    """A cluster with the manifests installed, and everybody who may try something there."""

    kubeconfig: str
    admin: Cluster
    petridish: Cluster
    platform: Platform
    subject: Subject
    bare: str  # a namespace of ours that is older than the policies
    others: dict[str, Cluster] = field(default_factory=dict)

    def by(self, user: str) -> Api:
        """Somebody who may do everything, as far as roles go."""
        if user not in self.others:
            self.others[user] = impersonating(self.kubeconfig, user, "system:masters")
        return self.others[user].api


def impersonating(kubeconfig: str, user: str, group: str) -> Cluster:
    """The driver as somebody else, which an admin's credentials may say (user impersonation)."""
    cluster = connect(user, kubeconfig, None)
    headers = cluster.api._client.default_headers
    headers.update({"Impersonate-User": user, "Impersonate-Group": group})
    return cluster


@pytest.fixture(scope="package")
def world(request: pytest.FixtureRequest, templates: Templates) -> Iterator[World]:
    kubeconfig = real_kubeconfig(request.config)
    run = secrets.token_hex(4)
    admin, image = connect("admin", kubeconfig, None), workspace_image(templates)
    registry = image.rpartition("/")[0] or "docker.io/library"
    platform = Platform(
        installation_id=f"platform-{run}",
        registries=(registry,),
        user=f"system:serviceaccount:platform-{run}:petridish",
        name=f"platform-{run}",
        namespace=f"platform-{run}",
    )
    objects = render_platform(ROOT / "k8s-templates", platform)
    listener = socket.create_server((own_address(kubeconfig), 0))
    address, port = listener.getsockname()[:2]
    try:
        bare = _bare(admin, platform.installation_id)
        for item in objects:
            admin.api.create(WHERE[item["kind"]].collection(item["metadata"].get("namespace")), item)
        own = connect_text("petridish", _own_kubeconfig(admin, platform, kubeconfig), None)
        subject = Subject(
            own, False, kubeconfig, image, address, port, templates, installation_id=platform.installation_id
        )
        world = World(kubeconfig, admin, own, platform, subject, bare)
        wait_for(lambda: _in_force(world))
        yield world
    finally:
        _uninstall(admin, objects, platform.installation_id)
        listener.close()


def _own_kubeconfig(admin: Cluster, platform: Platform, kubeconfig: str) -> str:
    """As an admin would paste it: inline data and the service account's token (TokenRequest)."""
    path = f"/api/v1/namespaces/{platform.namespace}/serviceaccounts/{platform.account}/token"
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 3600},
    }
    token = admin.api.create(path, body)["status"]["token"]
    configuration = admin.api._client.configuration
    authority = base64.b64encode(Path(configuration.ssl_ca_cert).read_bytes()).decode()
    server = {"server": configuration.host, "certificate-authority-data": authority}
    return json.dumps(
        {
            "clusters": [{"name": "x", "cluster": server}],
            "users": [{"name": "x", "user": {"token": token}}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
            "current-context": "x",
        }
    )


def _bare(admin: Cluster, installation_id: str) -> str:
    """A sandbox's namespace without Pod Security, which nobody could make once the policies are there."""
    name = f"sbx-bare-{secrets.token_hex(4)}"
    labels = {Labels.INSTALLATION: installation_id, Labels.SANDBOX: "999"}
    admin.api.create(NAMESPACE.collection(), namespace(name, labels))
    path = kind("v1", "ServiceAccount").path(name, "default")
    wait_for(lambda: admin.api.find(path))  # the cluster's own controller furnishes it
    return name


def _in_force(world: World) -> bool:
    """A new policy takes a moment to reach the API server's own memory: wait until each one refuses something."""
    name = f"early-{secrets.token_hex(3)}"
    labels = {Labels.INSTALLATION: world.platform.installation_id}
    try:
        world.by("eve").create(NAMESPACE.collection(), namespace(name, labels), dry_run=True)
        return False
    except StatusRefusedError:
        pass
    try:
        world.petridish.api.create(CONFIG_MAP.collection("default"), config_map(), dry_run=True)
    except StatusRefusedError as error:
        return "outside of its sandboxes" in str(error)
    return False


def _uninstall(admin: Cluster, objects: list[KubeObject], installation_id: str) -> None:
    """Policies first: while they hold, not even the admin deletes a sandbox's namespace."""
    for item in reversed(objects):
        path = WHERE[item["kind"]].path(item["metadata"].get("namespace"), item["metadata"]["name"])
        admin.api.delete(path)

    def gone() -> bool:
        selector = f"{Labels.INSTALLATION}={installation_id}"
        for item in admin.api.list(NAMESPACE, selector=selector, partial=True):
            with suppress(ClusterRefusedError):
                admin.api.delete(NAMESPACE.path(None, item["metadata"]["name"]))
        left = admin.api.list(NAMESPACE, selector=selector, partial=True)
        return all("deletionTimestamp" in item["metadata"] for item in left)

    wait_for(gone)


@pytest.fixture(scope="package")
def home(world: World) -> str:
    """A sandbox's namespace without Pod Security, so that our own policies alone refuse."""
    return world.bare


@pytest.fixture(scope="package")
def sealed(world: World) -> tuple[str, Rendered]:
    spec, rendered, _ = world.subject.sealed()
    world.petridish.apply(rendered.access)
    return spec.namespace, rendered


@pytest.fixture
def elsewhere(world: World) -> Iterator[str]:
    """A namespace that has nothing to do with Petridish."""
    name = f"platform-elsewhere-{secrets.token_hex(4)}"
    world.admin.api.create(NAMESPACE.collection(), namespace(name, {}))
    yield name
    world.admin.api.delete(NAMESPACE.path(None, name))
