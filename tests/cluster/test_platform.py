"""The platform manifests on a real cluster: each rule refuses what it should, and lets Petridish work.

The policies match by this run's own installation id, so nobody else's namespaces are touched.
"""

import base64
import copy
import json
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sandboxes.cluster.api import Api, StatusRefusedError
from sandboxes.cluster.canary import load_canary, render_canary, render_control
from sandboxes.cluster.capabilities import survey
from sandboxes.cluster.driver import Cluster, connect, connect_text
from sandboxes.cluster.kinds import NAMESPACE, PERSISTENT_VOLUME, Kind, kind
from sandboxes.cluster.names import WORKSPACE_POD
from sandboxes.cluster.platform import Platform, render_platform, whoami
from sandboxes.cluster.render import Rendered, Templates
from sandboxes.cluster.spec import KubeObject, Labels
from sandboxes.errors import ClusterRefusedError, TemporaryError
from tests.cluster import scenario
from tests.cluster.conftest import Subject, own_address, real_kubeconfig, wait_for, workspace_image
from tests.simulator import ROOT

pytestmark = [pytest.mark.cluster, pytest.mark.enable_socket]

POD, SERVICE = kind("v1", "Pod"), kind("v1", "Service")
POLICY = kind("networking.k8s.io/v1", "NetworkPolicy")
CONFIG_MAP = kind("v1", "ConfigMap")
CONTROLLERS = "system:serviceaccount:kube-system:"
UNFILTERED = {"seccompProfile": {"type": "Unconfined"}}
ENFORCE = "pod-security.kubernetes.io/enforce"
NEVER = {"there-is": "no-such-node"}
DRY = {"dryRun": "All"}
MERGE = "application/merge-patch+json"
_RBAC, _ADMISSION = "/apis/rbac.authorization.k8s.io/v1", "/apis/admissionregistration.k8s.io/v1"
_WHERE = {
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


@pytest.fixture(scope="module")
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
            admin.api.create(_WHERE[item["kind"]].collection(item["metadata"].get("namespace")), item)
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
        path = _WHERE[item["kind"]].path(item["metadata"].get("namespace"), item["metadata"]["name"])
        admin.api.delete(path)

    def gone() -> bool:
        selector = f"{Labels.INSTALLATION}={installation_id}"
        for item in admin.api.list(NAMESPACE, selector=selector, partial=True):
            with suppress(ClusterRefusedError):
                admin.api.delete(NAMESPACE.path(None, item["metadata"]["name"]))
        left = admin.api.list(NAMESPACE, selector=selector, partial=True)
        return all("deletionTimestamp" in item["metadata"] for item in left)

    wait_for(gone)


@pytest.fixture(scope="module")
def home(world: World) -> str:
    """A sandbox's namespace without Pod Security, so that our own policies alone refuse."""
    return world.bare


@pytest.fixture(scope="module")
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


def namespace(name: str, labels: dict[str, str]) -> KubeObject:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def config_map(name: str = "x") -> KubeObject:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}


def pod(image: str, container: KubeObject | None = None, **spec: Any) -> KubeObject:
    containers = [{"name": "c", "image": image, **(container or {})}]
    fields = {"containers": containers, "nodeSelector": NEVER, **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "x-"}, "spec": fields}


def refused(act: Callable[[], object], why: str) -> None:
    with pytest.raises(StatusRefusedError, match=rf"\(403\).*{why}"):
        act()


# ---- what may run


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


# ---- the seal


def seal_objects(rendered: Rendered) -> list[KubeObject]:
    kinds = ("NetworkPolicy", "ResourceQuota", "LimitRange", "ServiceAccount", "Role", "RoleBinding")
    return [item for item in (*rendered.seal, *rendered.access) if item["kind"] in kinds]


def test_only_petridish_touches_the_seal(world: World, sealed: tuple[str, Rendered]) -> None:
    name, rendered = sealed
    objects = seal_objects(rendered)
    assert len({item["kind"] for item in objects}) == 6
    for item in objects:
        where = kind(item["apiVersion"], item["kind"])
        path = where.path(name, item["metadata"]["name"])
        another = {**item, "metadata": {**item["metadata"], "name": "another"}}
        label = {"metadata": {"labels": {"x": "y"}}}
        for who in ("eve", world.platform.user):
            api = world.by(who)
            acts: list[Callable[[], object]] = [
                lambda: api.create(where.collection(name), another, dry_run=True),  # noqa: B023 -- called here
                lambda: api._call("PATCH", path, DRY, label, MERGE),  # noqa: B023
                lambda: api._call("DELETE", path, DRY),  # noqa: B023
            ]
            for act in acts:
                if who == "eve":
                    refused(act, "seal, which only Petridish changes")
                else:
                    act()


def test_controllers_do_their_part_and_no_more(world: World, sealed: tuple[str, Rendered]) -> None:
    name, _ = sealed
    deny_all = POLICY.path(name, "deny-all")
    for controller in ("namespace-controller", "generic-garbage-collector"):
        api = world.by(CONTROLLERS + controller)
        api._call("DELETE", deny_all, DRY)
        relabel = {"metadata": {"labels": {"x": "y"}}}
        refused(lambda: api._call("PATCH", deny_all, DRY, relabel, MERGE), "seal")  # noqa: B023 -- called here
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "x"}}
    where = kind("v1", "ServiceAccount").collection(name)
    world.by(f"{CONTROLLERS}service-account-controller").create(where, account, dry_run=True)
    refused(lambda: world.by(f"{CONTROLLERS}default").create(where, account, dry_run=True), "seal")


def test_a_quotas_status_is_the_clusters_own(world: World, sealed: tuple[str, Rendered]) -> None:
    path = f"{kind('v1', 'ResourceQuota').path(sealed[0], 'sandbox')}/status"
    more = {"status": {"hard": {"pods": "1000"}}}
    refused(lambda: world.by("eve")._call("PATCH", path, DRY, more, MERGE), "seal")


@pytest.mark.parametrize("part", ["", "/status", "/finalize"])
@pytest.mark.parametrize(
    "labels",
    [
        {"pod-security.kubernetes.io/enforce": "privileged"},
        {Labels.INSTALLATION: None},
        {Labels.INSTALLATION: "another"},
        {"somebody": "else"},
    ],
    ids=str,
)
def test_a_sandboxs_labels_stay(
    world: World, sealed: tuple[str, Rendered], labels: dict[str, str | None], part: str
) -> None:
    path, eve = NAMESPACE.path(None, sealed[0]), world.by("eve")
    if part == "/finalize":  # takes no patches
        whole = eve.get(path)
        kept = {**whole["metadata"]["labels"], **labels}
        whole["metadata"]["labels"] = {key: value for key, value in kept.items() if value is not None}
        refused(lambda: eve._call("PUT", path + part, DRY, whole), "only Petridish makes")
        return
    body = {"metadata": {"labels": labels}}
    refused(lambda: eve._call("PATCH", path + part, DRY, body, MERGE), "only Petridish makes")


def test_a_sandboxs_namespace_is_not_made_deleted_or_captured_by_others(
    world: World, sealed: tuple[str, Rendered], elsewhere: str
) -> None:
    eve, path = world.by("eve"), NAMESPACE.path(None, sealed[0])
    labels = {Labels.INSTALLATION: world.platform.installation_id}
    refused(lambda: eve._call("DELETE", path, DRY), "only Petridish makes")
    fake = namespace(f"sbx-fake-{secrets.token_hex(4)}", labels)
    refused(lambda: eve.create(NAMESPACE.collection(), fake, dry_run=True), "only Petridish makes")
    attach = {"metadata": {"labels": labels}}
    foreign = NAMESPACE.path(None, elsewhere)
    refused(lambda: eve._call("PATCH", foreign, DRY, attach, MERGE), "only Petridish makes")
    note = {"metadata": {"annotations": {"somebody": "else"}}}
    eve._call("PATCH", path, DRY, note, MERGE)  # annotations are for people


# ---- Petridish itself


def test_petridish_changes_nothing_elsewhere(world: World, elsewhere: str) -> None:
    api, ours = world.petridish.api, {Labels.INSTALLATION: world.platform.installation_id}
    outside = "outside of its sandboxes"
    refused(lambda: api.create(CONFIG_MAP.collection(elsewhere), config_map(), dry_run=True), outside)
    refused(lambda: api.create(CONFIG_MAP.collection("kube-system"), config_map(), dry_run=True), outside)
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "x"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
    }
    roles = kind("rbac.authorization.k8s.io/v1", "Role").collection("kube-system")
    refused(lambda: api.create(roles, binding, dry_run=True), outside)
    path, mine = NAMESPACE.path(None, elsewhere), "no namespaces but its sandboxes'"
    refused(lambda: api._call("DELETE", path, DRY), mine)
    attach = {"metadata": {"labels": {**ours, ENFORCE: "restricted"}}}
    refused(lambda: api._call("PATCH", path, DRY, attach, MERGE), mine)
    other = namespace(f"platform-other-{secrets.token_hex(4)}", {})
    refused(lambda: api.create(NAMESPACE.collection(), other, dry_run=True), mine)


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {ENFORCE: "privileged"},
        {ENFORCE: "baseline"},
        {ENFORCE: "restricted", f"{ENFORCE}-version": "v1.0"},
    ],
    ids=str,
)
def test_petridish_makes_no_sandbox_without_pod_security(
    world: World, sealed: tuple[str, Rendered], labels: dict[str, str]
) -> None:
    """A stolen token opens no namespace where root runs with every capability."""
    api, why = world.by(world.platform.user), "enforces Pod Security restricted"
    ours = {Labels.INSTALLATION: world.platform.installation_id}
    new = namespace(f"sbx-lax-{secrets.token_hex(4)}", {**ours, **labels})
    refused(lambda: api.create(NAMESPACE.collection(), new, dry_run=True), why)
    lax = {"metadata": {"labels": {ENFORCE: None, f"{ENFORCE}-version": None, **labels}}}
    for part in ("", "/status"):
        path = NAMESPACE.path(None, sealed[0]) + part
        refused(lambda: api._call("PATCH", path, DRY, lax, MERGE), why)  # noqa: B023 -- called here


def test_a_namespace_older_than_the_policies_can_still_go(world: World, home: str) -> None:
    note = {"metadata": {"annotations": {"somebody": "else"}}}
    world.petridish.api._call("PATCH", NAMESPACE.path(None, home), DRY, note, MERGE)
    world.petridish.api._call("DELETE", NAMESPACE.path(None, home), DRY)


def test_the_canarys_namespace_is_admitted(world: World) -> None:
    given = {"installation_id": world.platform.installation_id, "image": world.subject.image}
    objects, _ = render_canary(load_canary(ROOT / "k8s-templates"), **given)
    (home,) = (item for item in objects if item["kind"] == "Namespace")
    fresh = {**home, "metadata": {**home["metadata"], "name": f"petridish-canary-{secrets.token_hex(4)}"}}
    world.petridish.api.create(NAMESPACE.collection(), fresh, dry_run=True)


def test_petridish_puts_its_label_back_and_captures_nothing(world: World, elsewhere: str) -> None:
    """On what it made, which says so in an annotation; nobody can take the label off while the policies hold."""
    own = {Labels.INSTALLATION: world.platform.installation_id}
    labels = {**own, Labels.SANDBOX: "998", ENFORCE: "restricted", f"{ENFORCE}-version": "latest"}
    name, edited = (f"sbx-unlabelled-{secrets.token_hex(4)}" for _ in range(2))
    bare = namespace(name, {})
    bare["metadata"]["annotations"] = own
    other = namespace(edited, {Labels.INSTALLATION: "another"})
    other["metadata"]["annotations"] = own
    for item in (bare, other):
        uid = world.admin.api.create(NAMESPACE.collection(), item)["metadata"]["uid"]
        world.petridish.label_namespace(item["metadata"]["name"], uid, labels)
        state = world.petridish.namespace(item["metadata"]["name"])
        assert state is not None
        assert labels.items() <= state.labels.items()
    state = world.petridish.namespace(elsewhere)
    assert state is not None
    refused(lambda: world.petridish.label_namespace(elsewhere, state.uid, labels), "no namespaces but")
    claim = {"metadata": {"annotations": own}}
    path = NAMESPACE.path(None, elsewhere)
    refused(lambda: world.petridish.api._call("PATCH", path, DRY, claim, MERGE), "no namespaces but")


def test_petridish_does_not_let_a_sandbox_go(world: World, sealed: tuple[str, Rendered]) -> None:
    detach = {"metadata": {"labels": {Labels.INSTALLATION: None}}}
    path = NAMESPACE.path(None, sealed[0])
    refused(lambda: world.petridish.api._call("PATCH", path, DRY, detach, MERGE), "no namespaces but")


def test_petridish_deletes_only_sandboxes_volumes(world: World) -> None:
    run = secrets.token_hex(4)
    paths = {}
    for claim in ("somebodys", "sbx-gone"):
        name = f"platform-{run}-{claim}"
        spec = {
            "capacity": {"storage": "1Mi"},
            "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": "/nowhere"},
            "claimRef": {"namespace": f"{claim}-{run}", "name": "x"},
        }
        item = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}
        world.admin.api.create(PERSISTENT_VOLUME.collection(), item)
        paths[claim] = PERSISTENT_VOLUME.path(None, name)
    try:
        api = world.petridish.api
        refused(lambda: api._call("DELETE", paths["somebodys"], DRY), "no volumes but those of sandboxes")
        api._call("DELETE", paths["sbx-gone"], DRY)
    finally:
        for path in paths.values():
            world.admin.api.delete(path)


def test_owners_enter_their_pods_and_petridish_does_not(world: World, sealed: tuple[str, Rendered]) -> None:
    name, rendered = sealed
    world.petridish.apply(rendered.workspace)
    world.petridish.start_probe(rendered.probe)
    wait_for(lambda: world.petridish.workspace(name).ready)
    query = {"command": "true", "stdout": "true"}

    def enter(api: Api, pod: str = WORKSPACE_POD) -> object:
        return api._call("POST", f"{POD.path(name, pod)}/exec", query)

    alice = impersonating(world.kubeconfig, "alice@example.com", "system:authenticated")
    # 400: an exec wants to upgrade its connection, which this client does not; it was let in so far.
    with pytest.raises(StatusRefusedError, match=r"\(400\).*[Uu]pgrade"):
        wait_for(lambda: enter(alice.api))
    refused(lambda: enter(world.petridish.api), "enters no pod")
    refused(lambda: enter(alice.api, "probe"), r'User "alice@example.com" cannot create resource "pods/exec"')
    refused(lambda: enter(world.admin.api, "probe"), "nobody enters the pod that tests the seal")


# ---- the probe's testimony

FORGED = "only Petridish makes and changes the pod that tests the seal"
STRATEGIC = "application/strategic-merge-patch+json"


@pytest.fixture(scope="module")
def eve(world: World) -> Iterator[Api]:
    """Somebody with the cluster's own role "edit" in every namespace."""
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"}
    name = f"{world.platform.name}-eve"
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": role,
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}],
    }
    where = _WHERE["ClusterRoleBinding"]
    world.admin.api.create(where.collection(), binding)
    api = impersonating(world.kubeconfig, name, "system:authenticated").api
    try:
        wait_for(lambda: _may_list_pods(api))
        yield api
    finally:
        world.admin.api.delete(where.path(None, name))


def _may_list_pods(api: Api) -> bool:
    try:
        return list(api.list(POD, "default")) is not None
    except ClusterRefusedError:
        return False


@pytest.fixture
def probed(world: World, sealed: tuple[str, Rendered]) -> tuple[str, KubeObject]:
    """A sandbox's namespace with its probe in it, which waits for a node that never comes."""
    name, rendered = sealed
    (probe,) = copy.deepcopy(rendered.probe)
    probe["spec"]["nodeSelector"] = NEVER
    world.petridish.delete_probe(name)
    wait_for(lambda: world.petridish.api.find(POD.path(name, "probe")) is None)
    world.petridish.start_probe([probe])
    return name, probe


@pytest.mark.parametrize("stage", ["probe", "control"])
def test_the_probe_is_not_doubled_by_labels(world: World, eve: Api, home: str, stage: str) -> None:
    """A pod of another name, which a list by labels would show first."""
    item = pod(world.subject.image)
    item["metadata"] = {"name": "a", "labels": {Labels.SANDBOX: "999", Labels.STAGE: stage}}
    refused(lambda: eve.create(POD.collection(home), item, dry_run=True), FORGED)
    controller = world.by(f"{CONTROLLERS}replicaset-controller")  # by a workload of hers
    refused(lambda: controller.create(POD.collection(home), item, dry_run=True), FORGED)
    world.petridish.api.create(POD.collection(home), item, dry_run=True)
    item["metadata"]["labels"][Labels.STAGE] = "workspace"
    eve.create(POD.collection(home), item, dry_run=True)


def test_the_probe_is_not_made_by_others_under_its_name(eve: Api, home: str, world: World) -> None:
    item = pod(world.subject.image)
    item["metadata"] = {"name": "probe"}
    refused(lambda: eve.create(POD.collection(home), item, dry_run=True), FORGED)
    world.petridish.api.create(POD.collection(home), item, dry_run=True)
    item["metadata"] = {"generateName": "probe"}
    eve.create(POD.collection(home), item, dry_run=True)  # gets another name


def test_the_probe_runs_no_other_image_and_nothing_beside_it(
    world: World, eve: Api, probed: tuple[str, KubeObject]
) -> None:
    name, probe = probed
    path, image = POD.path(name, "probe"), world.subject.image
    swap = {"spec": {"containers": [{"name": "probe", "image": f"{image}-other"}]}}
    limits = probe["spec"]["containers"][0]["securityContext"]
    beside = {"spec": {"ephemeralContainers": [{"name": "x", "image": image, "securityContext": limits}]}}
    beside_path = f"{path}/ephemeralcontainers"
    refused(lambda: eve._call("PATCH", path, DRY, swap, STRATEGIC), FORGED)
    refused(lambda: eve._call("PATCH", beside_path, DRY, beside, STRATEGIC), "cannot patch resource")
    for where, body in ((path, swap), (beside_path, beside)):
        # An admin's role, and whoever is granted debugging beside "edit", goes further.
        refused(lambda: world.by("eve")._call("PATCH", where, DRY, body, STRATEGIC), FORGED)  # noqa: B023
        world.by(world.platform.user)._call("PATCH", where, DRY, body, STRATEGIC)


def test_the_probe_keeps_its_labels_and_lends_them_to_nobody(
    world: World, eve: Api, probed: tuple[str, KubeObject], home: str
) -> None:
    path = POD.path(probed[0], "probe")
    for labels in ({Labels.STAGE: None}, {Labels.RUN: "another"}):
        body = {"metadata": {"labels": labels}}
        refused(lambda: eve._call("PATCH", path, DRY, body, MERGE), FORGED)  # noqa: B023 -- called here
    note = {"metadata": {"annotations": {"somebody": "else"}}}
    eve._call("PATCH", path, DRY, note, MERGE)
    own = eve.create(POD.collection(home), pod(world.subject.image))["metadata"]["name"]
    lent = {"metadata": {"labels": {Labels.STAGE: "probe"}}}
    refused(lambda: eve._call("PATCH", POD.path(home, own), DRY, lent, MERGE), FORGED)


def test_the_probe_has_a_control_that_nobody_replaces(world: World, eve: Api) -> None:
    """In the canary's namespace its name is enough; elsewhere a pod may be called so."""
    given: dict[str, Any] = {
        "installation_id": world.platform.installation_id,
        "image": world.subject.image,
    }
    templates = load_canary(ROOT / "k8s-templates")
    objects, _ = render_canary(templates, **given)
    control = render_control(templates, **given, name="control-1", targets=[])
    where = control["metadata"]["namespace"]
    try:
        wait_for(lambda: _made(world, objects))
        for labels in (control["metadata"]["labels"], {"app": "control"}):
            control["metadata"]["labels"] = labels
            refused(lambda: eve.create(POD.collection(where), control, dry_run=True), FORGED)
        query = {"command": "true", "stdout": "true"}
        refused(
            lambda: eve._call("POST", f"{POD.path(where, 'control-1')}/exec", query),
            "nobody enters|not found",
        )
        elsewhere = pod(world.subject.image)
        elsewhere["metadata"] = {"name": "control-1"}
        eve.create(POD.collection(world.bare), elsewhere, dry_run=True)
    finally:
        world.petridish.delete_canary(where)
        wait_for(lambda: world.petridish.namespace(where) is None)


def _made(world: World, objects: tuple[KubeObject, ...]) -> bool:
    """Its quota has to be counted first."""
    try:
        world.petridish.make_canary(objects)
    except TemporaryError:
        return False
    return True


@pytest.mark.parametrize(
    "group", ["cilium.io", "crd.projectcalico.org", "projectcalico.org", "policy.networking.k8s.io"]
)
def test_no_network_plugins_policy_gets_beside_the_seal_that_the_probe_tests(
    world: World, group: str
) -> None:
    """The server took the rule as it is written; whether it has such a resource depends on the plugin."""
    path = _WHERE["ValidatingAdmissionPolicy"].path(None, f"{world.platform.name}-seal")
    policy = world.admin.api.get(path)
    assert not policy.get("status", {}).get("typeChecking", {}).get("expressionWarnings")
    (rule,) = (
        each for each in policy["spec"]["matchConstraints"]["resourceRules"] if group in each["apiGroups"]
    )
    assert (rule["resources"], rule["scope"]) == (["*"], "Namespaced")


def test_petridish_does_all_its_work_as_its_own_account(world: World) -> None:
    """The whole driver, once, with the rights and under the policies that the manifests make."""
    assert whoami(world.petridish) == world.platform.user
    scenario.everything(world.subject)


def test_the_survey_sees_the_rights_and_the_policies(world: World) -> None:
    found = survey(world.petridish)
    assert found.missing == ()
    ours = [
        policy for policy in found.admission or () if policy.installation_id == world.platform.installation_id
    ]
    assert {policy.name.removeprefix(f"{world.platform.name}-") for policy in ours} == {
        *("workloads", "services", "seal", "probe", "namespaces", "reach"),
    }
    assert all(policy.enforced and not policy.warnings for policy in ours)


def test_the_survey_of_somebody_without_rights_says_so(world: World) -> None:
    found = survey(impersonating(world.kubeconfig, "nobody", "system:authenticated"))
    assert found.user == "nobody"
    assert (found.nodes, found.uid) == ((), "")
    assert {found.admission, found.storage_classes, found.runtime_classes} == {None}
    assert len(found.missing) == len(found.permissions)
