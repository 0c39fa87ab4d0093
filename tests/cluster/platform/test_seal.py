"""The seal of a sandbox, its labels, and its namespace: nobody but Petridish touches them."""

import secrets
from collections.abc import Callable

import pytest

from sandboxes.cluster.kinds import NAMESPACE, kind
from sandboxes.cluster.render import Rendered
from sandboxes.cluster.spec import KubeObject, Labels
from tests.cluster.platform.conftest import World
from tests.cluster.platform.objects import CONTROLLERS, DRY, MERGE, namespace, refused

pytestmark = [pytest.mark.cluster, pytest.mark.enable_socket]
POLICY = kind("networking.k8s.io/v1", "NetworkPolicy")


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
