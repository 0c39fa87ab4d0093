"""The probe's testimony: nobody else says it."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from sandboxes.cluster.api import Api
from sandboxes.cluster.canary import load_canary, render_canary, render_control
from sandboxes.cluster.render import Rendered
from sandboxes.cluster.spec import KubeObject, Labels
from sandboxes.errors import ClusterRefusedError, TemporaryError
from tests.cluster.conftest import wait_for
from tests.cluster.platform.conftest import WHERE, World, impersonating
from tests.cluster.platform.objects import CONTROLLERS, DRY, MERGE, NEVER, POD, pod, refused
from tests.simulator import ROOT

pytestmark = [pytest.mark.cluster, pytest.mark.enable_socket]
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
    where = WHERE["ClusterRoleBinding"]
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
    path = WHERE["ValidatingAdmissionPolicy"].path(None, f"{world.platform.name}-seal")
    policy = world.admin.api.get(path)
    assert not policy.get("status", {}).get("typeChecking", {}).get("expressionWarnings")
    (rule,) = (
        each for each in policy["spec"]["matchConstraints"]["resourceRules"] if group in each["apiGroups"]
    )
    assert (rule["resources"], rule["scope"]) == (["*"], "Namespaced")
