"""What is seen of a cluster: on the simulated one and on a real one alike."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sandboxes.cluster import api
from sandboxes.cluster.kinds import NAMESPACE, kind
from sandboxes.cluster.observation import Drift, Inspection, inspect, listing
from sandboxes.cluster.render import Rendered
from sandboxes.cluster.spec import KubeObject, Labels
from sandboxes.cluster.watching import policy_changes
from tests.cluster.conftest import REAL, Subject, wait_for

pytestmark = pytest.mark.parametrize("subject", ["simulated", REAL], indirect=True)

MERGE = "application/merge-patch+json"
POLICY = kind("networking.k8s.io/v1", "NetworkPolicy")
BINDING = kind("rbac.authorization.k8s.io/v1", "RoleBinding")
SERVICE = kind("v1", "Service")
STATEFUL_SET = kind("apps/v1", "StatefulSet")
ALLOW_ALL: KubeObject = {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]}


def as_mallory(subject: Subject, path: str, patch: KubeObject, manager: str = "mallory") -> None:
    """Change something as somebody with the rights to do so."""
    subject.cluster.api._call("PATCH", path, {"fieldManager": manager}, patch, MERGE)


def add(subject: Subject, collection: str, item: KubeObject, manager: str = "mallory") -> None:
    subject.cluster.api._call("POST", collection, {"fieldManager": manager}, item)


def policy(name: str, spec: KubeObject) -> KubeObject:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": spec,
    }


def service(name: str, **spec: Any) -> KubeObject:
    fields = {"selector": {"a": "b"}, "ports": [{"port": 80}], **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": fields}


def open_sandbox(subject: Subject) -> tuple[str, Rendered]:
    """A sandbox as it is while its owner works in it."""
    spec, rendered, _ = subject.sealed()
    subject.cluster.apply((*rendered.workspace, *rendered.access))
    wait_for(lambda: subject.cluster.workspace(spec.namespace).ready)
    return spec.namespace, rendered


def digest(subject: Subject, name: str) -> str:
    return listing(subject.cluster, subject.installation_id).namespaces[name].digest


# ---- listing


def test_a_listing_knows_every_namespace_of_the_installation(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed = [subject.sealed() for _ in range(3)]
    monkeypatch.setattr(api, "PAGE_SIZE", 2)
    found = listing(subject.cluster, subject.installation_id).namespaces
    assert {name: seen.uid for name, seen in found.items()} == {
        spec.namespace: uid for spec, _, uid in sealed
    }
    for spec, _, _ in sealed:
        seen = found[spec.namespace]
        assert seen.phase == "Active"
        assert seen.labels[Labels.SANDBOX] == str(spec.sandbox_id)
        assert len(seen.digest) == 32
    assert len({seen.digest for seen in found.values()}) == 3
    assert listing(subject.cluster, "nobody").namespaces == {}


def test_a_listing_gets_no_object_and_no_secret(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    open_sandbox(subject)
    seen: list[tuple[str, str, KubeObject]] = []
    call = api.Api._call

    def spying(self: api.Api, method: str, path: str, *rest: Any, **more: Any) -> KubeObject:
        answer = call(self, method, path, *rest, **more)
        seen.append((method, path, answer))
        return answer

    monkeypatch.setattr(api.Api, "_call", spying)
    listing(subject.cluster, subject.installation_id)
    assert {method for method, _, _ in seen} == {"GET"}
    assert {answer["kind"] for _, _, answer in seen} == {"PartialObjectMetadataList"}
    assert not [
        item for _, _, answer in seen for item in answer["items"] or () if item.keys() & {"spec", "data"}
    ]


def test_applying_again_leaves_the_digest_alone(subject: Subject) -> None:
    name, rendered = open_sandbox(subject)
    before = wait_for(lambda: (now := digest(subject, name)) == digest(subject, name) and now)
    subject.cluster.apply((*rendered.seal, *rendered.workspace, *rendered.access))
    subject.cluster.start_probe(rendered.probe)  # a pod comes and goes: the quota's status, no change of ours
    wait_for(lambda: subject.cluster.probe(name))
    subject.cluster.delete_probe(name)
    wait_for(lambda: subject.cluster.pods_left(name) == 1)
    assert digest(subject, name) == before
    assert inspect(subject.cluster, rendered).digest == before


CHANGES: dict[str, Callable[[Subject, str], object]] = {
    "a foreign policy": lambda subject, name: add(subject, POLICY.collection(name), policy("x", ALLOW_ALL)),
    "a foreign service": lambda subject, name: add(subject, SERVICE.collection(name), service("x")),
    "a policy gone": lambda subject, name: subject.cluster.api.delete(POLICY.path(name, "deny-all")),
    "a policy changed": lambda subject, name: as_mallory(
        subject, POLICY.path(name, "deny-all"), {"spec": {"egress": [{}]}}
    ),
    "a quota raised": lambda subject, name: as_mallory(
        subject, kind("v1", "ResourceQuota").path(name, "sandbox"), {"spec": {"hard": {"pods": "99"}}}
    ),
    "a label of the namespace": lambda subject, name: as_mallory(
        subject, NAMESPACE.path(None, name), {"metadata": {"labels": {"x": "y"}}}
    ),
    "a workspace changed": lambda subject, name: as_mallory(
        subject, STATEFUL_SET.path(name, "workspace"), {"spec": {"replicas": 0}}
    ),
    "a label taken off": lambda subject, name: as_mallory(
        subject,
        kind("v1", "LimitRange").path(name, "sandbox"),
        {"metadata": {"labels": {Labels.INSTALLATION: None}}},
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_shows_in_the_digest(subject: Subject, change: str) -> None:
    name, _ = open_sandbox(subject)
    other, _, _ = subject.sealed()
    before = {each: digest(subject, each) for each in (name, other.namespace)}
    CHANGES[change](subject, name)
    assert digest(subject, name) != before[name]
    assert digest(subject, other.namespace) == before[other.namespace]


def test_a_namespace_that_is_going_says_so(subject: Subject) -> None:
    spec, _, uid = subject.sealed()
    item = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "x", "finalizers": ["example.com/x"]},
    }
    config_map = kind("v1", "ConfigMap")
    add(subject, config_map.collection(spec.namespace), item)
    subject.cluster.delete_namespace(spec.namespace, uid)
    try:
        seen = listing(subject.cluster, subject.installation_id).namespaces[spec.namespace]
        assert seen.phase == "Terminating"
    finally:
        as_mallory(subject, config_map.path(spec.namespace, "x"), {"metadata": {"finalizers": None}})


# ---- inspecting


def found_by(inspection: Inspection) -> dict[tuple[str, str], Drift]:
    return {(drift.kind, drift.name): drift for drift in inspection.drifts}


def test_a_sandbox_as_it_was_rendered_has_no_drift(subject: Subject) -> None:
    name, rendered = open_sandbox(subject)
    inspection = inspect(subject.cluster, rendered)
    assert inspection.drifts == ()
    assert not inspection.outdated
    assert inspection.digest == digest(subject, name)
    assert not inspect(subject.cluster, rendered, ("seal", "access")).drifts


def test_inspecting_changes_nothing(subject: Subject) -> None:
    name, rendered = open_sandbox(subject)
    before = {str(item) for item in subject.cluster.inventory(name)}
    inspect(subject.cluster, rendered)
    assert {str(item) for item in subject.cluster.inventory(name)} == before


def test_what_is_missing_is_named(subject: Subject) -> None:
    name, rendered = open_sandbox(subject)
    for path in (POLICY.path(name, "deny-all"), STATEFUL_SET.path(name, "workspace")):
        subject.cluster.api.delete(path)
    wait_for(lambda: subject.cluster.api.find(STATEFUL_SET.path(name, "workspace")) is None)
    found = found_by(inspect(subject.cluster, rendered))
    assert set(found) == {("NetworkPolicy", "deny-all"), ("StatefulSet", "workspace")}
    assert {drift.what for drift in found.values()} == {"missing"}
    assert found["NetworkPolicy", "deny-all"].seal
    assert not found["StatefulSet", "workspace"].seal


def test_what_was_changed_is_named_with_who_did_it(subject: Subject) -> None:
    name, rendered = open_sandbox(subject)
    as_mallory(subject, POLICY.path(name, "deny-all"), {"spec": {"egress": [{}]}}, "kubectl-edit")
    quota = kind("v1", "ResourceQuota").path(name, "sandbox")
    as_mallory(subject, quota, {"spec": {"hard": {"pods": "99"}}}, "first")
    as_mallory(subject, NAMESPACE.path(None, name), {"metadata": {"labels": {Labels.SANDBOX: "1234567"}}})
    secret = kind("v1", "Secret").path(name, "package-index")
    as_mallory(subject, secret, {"data": {"PIP_EXTRA_INDEX_URL": "aHR0cDovL3gv"}})
    image = {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 300}}}}
    as_mallory(subject, STATEFUL_SET.path(name, "workspace"), image)
    found = found_by(inspect(subject.cluster, rendered))
    told = {key: (drift.what, drift.managers, drift.seal) for key, drift in found.items()}
    assert told == {
        ("NetworkPolicy", "deny-all"): ("changed", ("kubectl-edit",), True),
        ("ResourceQuota", "sandbox"): ("changed", ("first",), True),
        ("Namespace", name): ("changed", ("mallory",), True),
        ("Secret", "package-index"): ("changed", ("mallory",), False),
        ("StatefulSet", "workspace"): ("changed", ("mallory",), False),
    }
    assert "spec.egress" in found["NetworkPolicy", "deny-all"].detail
    assert "aHR0" not in found["Secret", "package-index"].detail


def test_applying_again_takes_every_change_back(subject: Subject) -> None:
    """Also a rule that somebody added to a policy which has none: plain apply would leave it."""
    name, rendered = open_sandbox(subject)
    as_mallory(subject, POLICY.path(name, "deny-all"), {"spec": {"egress": [{}], "ingress": [{}]}})
    as_mallory(subject, POLICY.path(name, "allow-dns"), {"spec": {"egress": [{}]}})
    as_mallory(
        subject,
        kind("rbac.authorization.k8s.io/v1", "Role").path(name, "owner"),
        {"rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]},
    )
    assert len(inspect(subject.cluster, rendered).drifts) == 3
    subject.cluster.apply((*rendered.seal, *rendered.access))
    assert inspect(subject.cluster, rendered).drifts == ()


def test_who_changes_as_petridish_is_still_found(subject: Subject) -> None:
    """The field manager is what a client calls itself, so the comparison does not lean on it."""
    name, rendered = open_sandbox(subject)
    as_mallory(subject, POLICY.path(name, "deny-all"), {"spec": {"egress": [{}]}}, "petridish")
    (drift,) = inspect(subject.cluster, rendered).drifts
    assert (drift.name, drift.what, drift.managers) == ("deny-all", "changed", ())


def test_what_opens_a_way_and_is_not_ours_is_named(subject: Subject) -> None:
    name, rendered = open_sandbox(subject)
    add(subject, POLICY.collection(name), policy("allow-all", ALLOW_ALL), "kubectl-create")
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "owner"}
    user = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "mallory"}
    head = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "me-too"},
    }
    add(subject, BINDING.collection(name), {**head, "roleRef": role, "subjects": [user]})
    add(subject, SERVICE.collection(name), service("inside"))
    add(subject, SERVICE.collection(name), service("hole", externalIPs=["192.0.2.77"]))
    found = found_by(inspect(subject.cluster, rendered))
    assert {key: (drift.what, drift.managers, drift.seal) for key, drift in found.items()} == {
        ("NetworkPolicy", "allow-all"): ("foreign", ("kubectl-create",), True),
        ("RoleBinding", "me-too"): ("foreign", ("mallory",), True),
        ("Service", "inside"): ("foreign", ("mallory",), False),
        ("Service", "hole"): ("foreign", ("mallory",), True),
    }


def test_access_that_should_not_be_there_is_foreign(subject: Subject) -> None:
    _, rendered = open_sandbox(subject)
    found = found_by(inspect(subject.cluster, rendered, ("seal",)))
    assert found["RoleBinding", "owner"].what == "foreign"


def test_a_namespace_that_is_gone_is_the_only_drift(subject: Subject) -> None:
    _, rendered = subject.sandbox()
    (drift,) = inspect(subject.cluster, rendered).drifts
    assert (drift.kind, drift.what, drift.seal) == ("Namespace", "missing", True)


def test_a_newer_specification_is_told_apart(subject: Subject) -> None:
    _, rendered = open_sandbox(subject)
    newer = replace(rendered, spec_hash="of-a-newer-template")
    assert inspect(subject.cluster, newer).outdated


# ---- watching


def test_policy_changes_are_told_at_once(subject: Subject) -> None:
    spec, _, _ = subject.sealed()
    other, _, _ = subject.sealed()
    told: list[str] = []

    def watch() -> None:
        told.extend(policy_changes(subject.cluster, subject.installation_id, 4))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        threading.Event().wait(1)
        add(subject, POLICY.collection(spec.namespace), policy("x", ALLOW_ALL))
        subject.cluster.api.delete(POLICY.path(other.namespace, "deny-all"))
        labelled = {"metadata": {"labels": {Labels.INSTALLATION: "another-installation"}}}
        as_mallory(subject, POLICY.path(spec.namespace, "x"), labelled)
    finally:
        thread.join()
    ours = [name for name in told if name in (spec.namespace, other.namespace)]
    assert ours == [spec.namespace, other.namespace]


def test_a_quiet_watch_ends_by_itself(subject: Subject) -> None:
    begin = time.monotonic()
    list(policy_changes(subject.cluster, subject.installation_id, 1))
    assert 0.5 < time.monotonic() - begin < 10
