"""What Petridish itself may do: all of its work, and nothing elsewhere."""

import secrets

import pytest

from sandboxes.cluster.api import Api, StatusRefusedError
from sandboxes.cluster.canary import load_canary, render_canary
from sandboxes.cluster.capabilities import survey
from sandboxes.cluster.entering import inventory_command
from sandboxes.cluster.kinds import NAMESPACE, PERSISTENT_VOLUME, kind
from sandboxes.cluster.names import WORKSPACE_POD
from sandboxes.cluster.platform import whoami
from sandboxes.cluster.render import Rendered
from sandboxes.cluster.spec import Labels
from tests.cluster import scenario
from tests.cluster.conftest import wait_for
from tests.cluster.platform.conftest import World, impersonating
from tests.cluster.platform.objects import CONFIG_MAP, DRY, MERGE, POD, config_map, namespace, refused
from tests.simulator import ROOT

pytestmark = [pytest.mark.cluster, pytest.mark.enable_socket]
ENFORCE = "pod-security.kubernetes.io/enforce"


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
    # But for the one script, to its last character.
    assert world.petridish.installed(name)["complete"]
    script = inventory_command()
    longer = [*script[:3], f"{script[3]}\nprint(1)"]
    refused(
        lambda: world.petridish.api.execute(
            f"{POD.path(name, WORKSPACE_POD)}/exec",
            container="workspace",
            command=longer,
            seconds=9,
            most=9,
        ),
        "enters no pod",
    )
    refused(lambda: enter(alice.api, "probe"), r'User "alice@example.com" cannot create resource "pods/exec"')
    refused(lambda: enter(world.admin.api, "probe"), "nobody enters the pod that tests the seal")


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
