"""The contract of a sandbox's life, on both clusters: probed, entered, and removed."""

from functools import partial

import pytest

from sandboxes.cluster.kinds import NAMESPACE, kind
from sandboxes.cluster.names import WORKSPACE_POD
from sandboxes.errors import ClusterRefusedError, ClusterUnavailableError, TemporaryError
from tests.cluster.conftest import REAL, Subject, wait_for
from tests.cluster.contract import CONFIG_MAP, POD, config_map

pytestmark = pytest.mark.parametrize("subject", ["simulated", REAL], indirect=True)
POLICY = kind("networking.k8s.io/v1", "NetworkPolicy")


def may(
    subject: Subject,
    namespace: str,
    verb: str,
    resource: str,
    part: str = "",
    name: str = "",
    group: str = "",
) -> bool:
    """What the cluster says alice may do."""
    attributes = {"namespace": namespace, "verb": verb, "group": group, "resource": resource}
    attributes |= {"subresource": part, "name": name}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": "alice@example.com", "resourceAttributes": attributes},
    }
    answer = subject.cluster._api.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return bool(answer["status"]["allowed"])


# ---- the probe


def test_the_probe_passes_in_a_sealed_namespace(subject: Subject) -> None:
    spec, rendered, _ = subject.sealed()
    subject.cluster.start_probe(rendered.probe)
    subject.cluster.start_probe(rendered.probe)  # a doubled message changes nothing
    result = wait_for(lambda: subject.cluster.probe(spec.namespace))
    assert result is not None
    assert result.passed, result
    assert result.simulated is subject.simulated
    results = {attempt.target: attempt.result for attempt in result.attempts}
    assert results["api-server"] == results["metadata"] == "blocked"
    assert results["index"] == "open"
    subject.cluster.delete_probe(spec.namespace)
    wait_for(lambda: subject.cluster.pods_left(spec.namespace) == 0)


def test_the_probe_fails_without_policies(subject: Subject) -> None:
    spec, rendered, _ = subject.sealed()
    subject.cluster._api.delete(POLICY.collection(spec.namespace))
    subject.cluster.start_probe(rendered.probe)
    result = wait_for(lambda: subject.cluster.probe(spec.namespace))
    assert result is not None
    assert not result.passed
    assert any(attempt.target == "api-server" and attempt.result == "open" for attempt in result.attempts)


def test_the_probe_fails_if_the_index_is_cut_off(subject: Subject) -> None:
    spec, rendered, _ = subject.sealed()
    subject.cluster._api.delete(POLICY.path(spec.namespace, "allow-index"))
    subject.cluster.start_probe(rendered.probe)
    result = wait_for(lambda: subject.cluster.probe(spec.namespace))
    assert result is not None
    assert not result.passed
    reached = {attempt.target for attempt in result.attempts if attempt.result != "blocked"}
    assert reached <= {"cluster-dns"}


def test_a_probe_that_is_gone_must_run_again(subject: Subject) -> None:
    spec, _, _ = subject.sealed()
    with pytest.raises(TemporaryError, match="started again"):
        subject.cluster.probe(spec.namespace)


# ---- access


def test_the_owner_gets_in_only_by_the_binding(subject: Subject) -> None:
    spec, rendered, _ = subject.sealed()
    assert not may(subject, spec.namespace, "get", "pods")
    subject.cluster.apply(rendered.access)
    subject.cluster.apply(rendered.access)
    wait_for(lambda: may(subject, spec.namespace, "get", "pods"), 10)
    for verb, part in (("get", "log"), ("create", "exec"), ("create", "portforward")):
        assert may(subject, spec.namespace, verb, "pods", part, WORKSPACE_POD)
    for verb, resource in (("create", "pods"), ("get", "secrets"), ("delete", "networkpolicies")):
        assert not may(subject, spec.namespace, verb, resource)
    subject.cluster.revoke_access(spec.namespace)
    wait_for(lambda: not may(subject, spec.namespace, "get", "pods"), 10)
    assert not may(subject, spec.namespace, "create", "pods", "exec", WORKSPACE_POD)
    assert not [
        name for name in subject.cluster.inventory(spec.namespace) if str(name).startswith("Secret/package")
    ]


def test_the_owner_cannot_write_what_the_probe_says(subject: Subject) -> None:
    """By no way into its pod, into any pod that is not the workspace's, or to a pod of a name of one's choice."""
    spec, rendered, _ = subject.sealed()
    cluster, allowed = subject.cluster, partial(may, subject, spec.namespace)
    cluster.apply(rendered.access)
    cluster.apply(rendered.workspace)
    cluster.start_probe(rendered.probe)
    wait_for(lambda: allowed("create", "pods", "exec", WORKSPACE_POD), 10)
    names = {item["metadata"]["name"] for item in cluster.api.list(POD, spec.namespace)}
    assert rendered.probe[0]["metadata"]["name"] in names
    for name in (*(names - {WORKSPACE_POD}), "any-other", ""):
        for part in ("exec", "attach", "portforward", "proxy", "log", "ephemeralcontainers", "status"):
            for verb in ("create", "get", "update", "patch"):
                assert not allowed(verb, "pods", part, name), (verb, part, name)
    for verb in ("create", "update", "patch", "delete", "deletecollection"):
        assert not allowed(verb, "pods", name="probe")
        for resource in ("deployments", "statefulsets", "replicasets"):
            assert not allowed(verb, resource, group="apps")
        assert not allowed(verb, "jobs", group="batch")
        assert not allowed(verb, "roles", group="rbac.authorization.k8s.io")
        assert not allowed(verb, "rolebindings", group="rbac.authorization.k8s.io")


# ---- removing


def test_teardown_in_order_leaves_nothing(subject: Subject) -> None:
    cluster = subject.cluster
    spec, rendered, uid = subject.sealed()
    cluster.apply(rendered.workspace)
    cluster.apply(rendered.access)
    wait_for(lambda: cluster.workspace(spec.namespace).ready)
    assert cluster.leftovers(spec.namespace, spec.installation_id, spec.sandbox_id)
    for _ in range(2):
        cluster.revoke_access(spec.namespace)
        cluster.delete_workloads(spec.namespace)
    wait_for(lambda: cluster.pods_left(spec.namespace) == 0)
    left = [str(item) for item in cluster.inventory(spec.namespace)]
    assert not [name for name in left if name.startswith(("StatefulSet", "Pod"))]
    assert "NetworkPolicy/deny-all" in left
    cluster.delete_namespace(spec.namespace, uid)
    cluster.delete_namespace(spec.namespace, uid)
    wait_for(lambda: cluster.namespace(spec.namespace) is None)
    cluster.delete_namespace(spec.namespace, uid)
    cluster.delete_workloads(spec.namespace)
    assert cluster.leftovers(spec.namespace, spec.installation_id, spec.sandbox_id) == []


def test_a_namespace_with_another_uid_is_not_deleted(subject: Subject) -> None:
    spec, _, uid = subject.sealed()
    other = "00000000-0000-0000-0000-000000000000"
    with pytest.raises(ClusterRefusedError, match="another one than ours"):
        subject.cluster.delete_namespace(spec.namespace, other)
    # The server itself refuses too, should the namespace be replaced after we looked.
    with pytest.raises(ClusterRefusedError, match=r"(?i)precondition"):
        subject.cluster._api.delete(NAMESPACE.path(None, spec.namespace), {"preconditions": {"uid": other}})
    state = subject.cluster.namespace(spec.namespace)
    assert state is not None
    assert (state.uid, state.phase) == (uid, "Active")


def test_a_namespace_replaced_after_we_looked_is_not_deleted(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, rendered, uid = subject.sealed()
    seen = subject.cluster.namespace(spec.namespace)
    subject.cluster.delete_namespace(spec.namespace, uid)
    wait_for(lambda: subject.cluster.namespace(spec.namespace) is None)
    other = subject.cluster.ensure_namespace(rendered.seal[0])
    with monkeypatch.context() as past:
        past.setattr(subject.cluster, "_ours", lambda name: seen)
        with pytest.raises(ClusterRefusedError, match=r"(?i)precondition"):
            subject.cluster.delete_namespace(spec.namespace, uid)
    state = subject.cluster.namespace(spec.namespace)
    assert state is not None
    assert (state.uid, state.phase) == (other, "Active")


def test_a_pod_may_ask_for_a_runtime_class(subject: Subject) -> None:
    """The simulator takes the field and has every class; a real cluster names the one it lacks."""
    _, rendered, _ = subject.sealed(runtime_class="there-is-no-such-runtime")
    if subject.simulated:
        subject.cluster.apply(rendered.probe)
        return
    with pytest.raises(ClusterRefusedError, match="there-is-no-such-runtime"):
        subject.cluster.apply(rendered.probe)


def test_a_finalizer_that_never_goes_is_named(subject: Subject) -> None:
    cluster = subject.cluster
    spec, rendered, uid = subject.sealed()
    stuck = config_map(spec.namespace, "stuck")
    stuck["metadata"]["finalizers"] = ["example.com/never"]
    cluster.apply([stuck])
    cluster.delete_namespace(spec.namespace, uid)
    try:
        state = wait_for(lambda: (state := cluster.namespace(spec.namespace)) and state.conditions and state)
        assert state
        assert state.phase == "Terminating"
        assert any("example.com/never" in condition for condition in state.conditions)
        assert cluster.leftovers(spec.namespace, spec.installation_id, spec.sandbox_id)
        with pytest.raises(ClusterUnavailableError, match="still being deleted"):
            cluster.ensure_namespace(rendered.seal[0])
    finally:
        cluster._api._call(
            "PATCH",
            CONFIG_MAP.path(spec.namespace, "stuck"),
            None,
            {"metadata": {"finalizers": None}},
            "application/merge-patch+json",
        )
    wait_for(lambda: cluster.namespace(spec.namespace) is None)
