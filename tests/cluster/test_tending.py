"""What the driver does to sandboxes that exist: on the simulated cluster and on a real one alike."""

import secrets
from pathlib import Path

import pytest
import yaml

from sandboxes.cluster.driver import connect_text
from sandboxes.cluster.kinds import NAMESPACE, PERSISTENT_VOLUME, kind
from sandboxes.cluster.spec import KubeObject, Labels
from sandboxes.cluster.tending import QUARANTINED
from sandboxes.errors import ClusterRefusedError, InvalidInputError
from tests.cluster.conftest import REAL, Subject, wait_for

pytestmark = pytest.mark.parametrize("subject", ["simulated", REAL], indirect=True)

ELSE = "00000000-0000-0000-0000-000000000000"
POLICY = kind("networking.k8s.io/v1", "NetworkPolicy")
BINDING = kind("rbac.authorization.k8s.io/v1", "RoleBinding")
FOREIGN_BINDING: KubeObject = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "RoleBinding",
    "metadata": {"name": "back-door"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "mallory"}],
}


def test_a_cluster_is_known_by_its_uid(subject: Subject) -> None:
    uid = subject.cluster.uid()
    assert len(uid) == 36
    assert uid == subject.cluster.uid()


def test_a_workspace_sleeps_and_wakes(subject: Subject) -> None:
    cluster = subject.cluster
    spec, rendered, _ = subject.sealed()
    cluster.apply(rendered.workspace)
    wait_for(lambda: cluster.workspace(spec.namespace).ready)
    for _ in range(2):
        cluster.scale_workspace(spec.namespace, 0)
    wait_for(lambda: cluster.pods_left(spec.namespace) == 0)
    cluster.scale_workspace(spec.namespace, 1)
    wait_for(lambda: cluster.workspace(spec.namespace).ready)
    cluster.scale_workspace(spec.namespace, 0)
    cluster.apply(rendered.workspace)  # being applied again wakes it as well
    wait_for(lambda: cluster.workspace(spec.namespace).ready)
    cluster.scale_workspace("there-is-no-such-namespace", 0)


def test_activity_is_unknown_without_a_workspace_and_told_with_one(subject: Subject) -> None:
    cluster = subject.cluster
    spec, rendered, _ = subject.sealed()
    assert cluster.workspace_activity(spec.namespace) is None
    cluster.apply(rendered.workspace)
    wait_for(lambda: cluster.workspace(spec.namespace).ready)
    if subject.simulated:  # a real one needs two reports, which takes minutes
        activity = cluster.workspace_activity(spec.namespace)
        assert activity is not None
        assert activity.processes >= 0
        assert 0 <= activity.cpu_millis < 5
    else:
        cluster.workspace_activity(spec.namespace)


def test_pruning_leaves_only_what_is_to_be_kept(subject: Subject) -> None:
    spec, _, _ = subject.sealed()
    pruned = subject.cluster.prune_policies(spec.namespace, frozenset(("deny-all", "allow-dns")))
    assert "allow-index" in pruned
    left = {item["metadata"]["name"] for item in subject.cluster.api.list(POLICY, spec.namespace)}
    assert left == {"deny-all", "allow-dns"}
    assert subject.cluster.prune_policies(spec.namespace, frozenset(left)) == []
    assert subject.cluster.prune_policies("there-is-no-such-namespace", frozenset()) == []
    with pytest.raises(ClusterRefusedError, match="lacks our labels"):
        subject.cluster.prune_policies("kube-system", frozenset())


def test_quarantine_cuts_off_and_deletes_nothing_that_runs(subject: Subject) -> None:
    cluster = subject.cluster
    spec, rendered, uid = subject.sealed()
    cluster.apply((*rendered.workspace, *rendered.access))
    wait_for(lambda: cluster.workspace(spec.namespace).ready)
    cluster.api.create(BINDING.collection(spec.namespace), FOREIGN_BINDING)
    hole: KubeObject = {"spec": {"egress": [{}]}}
    path = POLICY.path(spec.namespace, "deny-all")
    cluster.api._call("PATCH", path, {"fieldManager": "mallory"}, hole, "application/merge-patch+json")
    for _ in range(2):
        cluster.quarantine(spec.namespace, uid, subject.templates.isolated)
    (policy,) = cluster.api.list(POLICY, spec.namespace)
    assert policy["metadata"]["name"] == "deny-all"
    assert not policy["spec"].get("egress")
    state = cluster.namespace(spec.namespace)
    assert state is not None
    assert state.labels[QUARANTINED] == "true"
    left = [str(item) for item in cluster.inventory(spec.namespace)]
    assert "StatefulSet/workspace" in left
    assert not [name for name in left if name.startswith("RoleBinding/") or name == "Secret/package-index"]


def test_quarantine_is_for_exactly_one_namespace(subject: Subject) -> None:
    spec, _, _ = subject.sealed()
    with pytest.raises(ClusterRefusedError, match="another one than ours"):
        subject.cluster.quarantine(spec.namespace, ELSE, subject.templates.isolated)
    with pytest.raises(ClusterRefusedError, match="lacks our labels"):
        subject.cluster.quarantine("kube-system", ELSE, subject.templates.isolated)
    subject.cluster.quarantine("there-is-no-such-namespace", ELSE, subject.templates.isolated)
    state = subject.cluster.namespace(spec.namespace)
    assert state is not None
    assert QUARANTINED not in state.labels


def test_labels_are_given_to_exactly_one_namespace(subject: Subject) -> None:
    spec, _, uid = subject.sealed()
    before = subject.cluster.namespace(spec.namespace)
    with pytest.raises(ClusterRefusedError, match=r"(?i)\buid\b"):
        subject.cluster.label_namespace(spec.namespace, ELSE, {Labels.SANDBOX: "1"})
    assert subject.cluster.namespace(spec.namespace) == before
    off = {"metadata": {"labels": {Labels.SANDBOX: None, Labels.INSTALLATION: None}}}
    subject.cluster.api.merge(NAMESPACE.path(None, spec.namespace), off)
    with pytest.raises(ClusterRefusedError, match="lacks our labels"):
        subject.cluster.revoke_access(spec.namespace)
    own = {Labels.SANDBOX: str(spec.sandbox_id), Labels.INSTALLATION: spec.installation_id}
    subject.cluster.label_namespace(spec.namespace, uid, own)
    assert subject.cluster.namespace(spec.namespace) == before
    subject.cluster.revoke_access(spec.namespace)


def volume(name: str, claim: str, labels: dict[str, str] | None = None) -> KubeObject:
    spec = {
        "capacity": {"storage": "1Mi"},
        "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": "/nowhere"},
        **({"claimRef": {"namespace": claim, "name": "x"}} if claim else {}),
    }
    metadata = {"name": name, "labels": labels or {}}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": spec}


def test_volumes_that_a_sandbox_left(subject: Subject) -> None:
    cluster, run = subject.cluster, secrets.token_hex(4)
    spec, _, _ = subject.sealed()
    labels = {Labels.INSTALLATION: subject.installation_id, Labels.SANDBOX: "7"}
    wanted = {
        "labelled": volume(f"{run}-labelled", "", labels),
        "claimed": volume(f"{run}-claimed", f"sbx-gone-{run}"),
        "in-use": volume(f"{run}-in-use", spec.namespace),
        "anothers": volume(f"{run}-anothers", f"sbx-x-{run}", {Labels.INSTALLATION: "another"}),
        "foreign": volume(f"{run}-foreign", f"database-{run}"),
    }
    uids = {
        name: cluster.api.create(PERSISTENT_VOLUME.collection(), item)["metadata"]["uid"]
        for name, item in wanted.items()
    }
    try:
        found = {
            each.name.removeprefix(f"{run}-"): each
            for each in cluster.volumes(subject.installation_id)
            if each.name.startswith(run)
        }
        assert set(found) == {"labelled", "claimed", "in-use"}
        assert (found["labelled"].sandbox_label, found["labelled"].namespace) == ("7", "")
        assert found["claimed"].namespace == f"sbx-gone-{run}"
        with pytest.raises(ClusterRefusedError, match="no sandbox's"):
            cluster.delete_volume(f"{run}-foreign", uids["foreign"])
        with pytest.raises(ClusterRefusedError, match="still claimed"):
            cluster.delete_volume(f"{run}-in-use", uids["in-use"])
        with pytest.raises(ClusterRefusedError, match="another one than ours"):
            cluster.delete_volume(f"{run}-claimed", ELSE)
        for name in ("claimed", "labelled"):
            for _ in range(2):
                cluster.delete_volume(f"{run}-{name}", uids[name])
        names = [f"{run}-claimed", f"{run}-labelled"]
        wait_for(lambda: not any(cluster.api.find(PERSISTENT_VOLUME.path(None, name)) for name in names))
    finally:
        for name in wanted:
            cluster.api.delete(PERSISTENT_VOLUME.path(None, f"{run}-{name}"))


def test_a_kubeconfig_given_as_text_works_if_it_is_only_data(subject: Subject) -> None:
    text = Path(subject.kubeconfig).read_text()
    asked = []
    cluster = connect_text("text", text, None, lambda: asked.append(1))
    assert cluster.uid() == subject.cluster.uid()
    assert asked == [1]
    cluster.close()
    config = yaml.safe_load(text)
    config["users"][0]["user"] = {"exec": {"command": "touch", "args": ["/x"]}}
    with pytest.raises(InvalidInputError, match="run a program here"):
        connect_text("text", yaml.safe_dump(config), None)
