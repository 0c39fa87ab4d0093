"""The driver's contract, one file for both: what holds on the simulated cluster holds on a real one."""

import json
import socket
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sandboxes.cluster import api
from sandboxes.cluster.driver import connect
from sandboxes.cluster.kinds import NAMESPACE, kind
from sandboxes.cluster.names import WORKSPACE_POD
from sandboxes.cluster.spec import KubeObject, Labels, SandboxSpec
from sandboxes.errors import ClusterRefusedError, ClusterUnavailableError, InvalidInputError, TemporaryError
from tests.cluster.conftest import REAL, Subject, wait_for

pytestmark = pytest.mark.parametrize("subject", ["simulated", REAL], indirect=True)

CONFIG_MAP = kind("v1", "ConfigMap")
POD = kind("v1", "Pod")
STATEFUL_SET = kind("apps/v1", "StatefulSet")
POLICY = kind("networking.k8s.io/v1", "NetworkPolicy")


def find(subject: Subject, path: str) -> KubeObject:
    found = subject.cluster._api.find(path)
    assert found is not None
    return found


def by_another(subject: Subject, path: str, item: KubeObject, *, force: bool = False) -> KubeObject:
    """Server-side apply as somebody else."""
    query = {"fieldManager": "somebody-else", **({"force": "true"} if force else {})}
    return subject.cluster._api._call("PATCH", path, query, json.dumps(item), "application/apply-patch+yaml")


def namespace_object(name: str, labels: dict[str, str]) -> KubeObject:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def config_map(namespace: str, name: str, **fields: Any) -> KubeObject:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **fields}


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


# ---- the cluster


def test_info_says_whether_it_is_simulated(subject: Subject) -> None:
    info = subject.cluster.info()
    assert info.version.startswith("v1.")
    assert info.simulated is subject.simulated
    assert info.nodes >= 1


def test_blocked_targets_name_the_api_server_and_the_metadata_service(subject: Subject) -> None:
    targets = subject.cluster.default_blocked_targets()
    assert {"api-server", "metadata"} <= {target.name for target in targets}
    assert not any(target.host.startswith("127.") for target in targets)


def test_dns_addresses_are_addresses(subject: Subject) -> None:
    for dns in subject.cluster.dns_addresses():
        socket.inet_pton(socket.AF_INET6 if ":" in dns.address else socket.AF_INET, dns.address)


# ---- making


def test_applying_twice_changes_nothing(subject: Subject) -> None:
    spec, rendered, uid = subject.sealed()
    paths = [
        kind(item["apiVersion"], item["kind"]).path(spec.namespace, item["metadata"]["name"])
        for item in rendered.seal[1:]
        if item["kind"] not in ("ResourceQuota", "ServiceAccount")  # controllers write to these
    ]
    before = [find(subject, path)["metadata"]["resourceVersion"] for path in paths]
    subject.cluster.apply(rendered.seal)
    assert [find(subject, path)["metadata"]["resourceVersion"] for path in paths] == before
    assert subject.cluster.ensure_namespace(rendered.seal[0]) == uid


def test_the_namespace_carries_our_labels_and_annotations(subject: Subject) -> None:
    spec, rendered, uid = subject.sealed()
    state = subject.cluster.namespace(spec.namespace)
    assert state is not None
    assert (state.uid, state.phase) == (uid, "Active")
    assert state.labels[Labels.SANDBOX] == str(spec.sandbox_id)
    assert state.labels[Labels.SPEC_HASH] == rendered.spec_hash
    assert state.annotations[Labels.OWNER] == "alice@example.com"


def test_a_foreign_namespace_is_never_adopted(subject: Subject) -> None:
    spec, rendered = subject.sandbox()
    foreign = namespace_object(spec.namespace, {"owner": "somebody"})
    uid = subject.cluster._api.create(NAMESPACE.collection(), foreign)["metadata"]["uid"]
    try:
        with pytest.raises(ClusterRefusedError, match="is not this sandbox's"):
            subject.cluster.apply(rendered.seal)
        for destroy in (
            subject.cluster.delete_workloads,
            subject.cluster.revoke_access,
            lambda name: subject.cluster.delete_namespace(name, uid),
        ):
            with pytest.raises(ClusterRefusedError, match="lacks our labels"):
                destroy(spec.namespace)
        assert Labels.SANDBOX not in find(subject, NAMESPACE.path(None, spec.namespace))["metadata"]["labels"]
    finally:
        subject.cluster._api.delete(NAMESPACE.path(None, spec.namespace), {"preconditions": {"uid": uid}})


def test_another_sandboxs_namespace_is_never_adopted(subject: Subject) -> None:
    spec, _, _ = subject.sealed()
    _, other = subject.sandbox(namespace=spec.namespace)
    with pytest.raises(ClusterRefusedError, match=r"petridish.dev/sandbox"):
        subject.cluster.ensure_namespace(other.seal[0])


def test_a_pod_beyond_the_quota_is_refused(subject: Subject) -> None:
    spec, rendered, _ = subject.sealed()
    pod = json.loads(json.dumps(rendered.probe[0]))
    pod["spec"]["containers"][0]["resources"]["limits"]["cpu"] = "64"
    with pytest.raises(ClusterRefusedError, match="exceeded quota: sandbox"):
        subject.cluster.apply([pod])
    assert subject.cluster.pods_left(spec.namespace) == 0


def test_a_privileged_pod_is_refused(subject: Subject) -> None:
    _, rendered, _ = subject.sealed()
    pod = json.loads(json.dumps(rendered.probe[0]))
    pod["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    with pytest.raises(ClusterRefusedError, match='violates PodSecurity "restricted'):
        subject.cluster.apply([pod])


# ---- field managers


def test_our_fields_win_and_other_managers_keep_theirs(subject: Subject) -> None:
    spec, _, _ = subject.sealed()
    path = CONFIG_MAP.path(spec.namespace, "shared")
    subject.cluster.apply([config_map(spec.namespace, "shared", data={"ours": "1", "dropped": "1"})])
    theirs = config_map(spec.namespace, "shared", data={"ours": "2", "theirs": "1"})
    with pytest.raises(ClusterRefusedError, match=r"\(409\).*conflict with \"petridish\".*\.data\.ours"):
        by_another(subject, path, theirs)
    by_another(subject, path, theirs, force=True)
    subject.cluster.apply([config_map(spec.namespace, "shared", data={"ours": "1"})])
    assert find(subject, path)["data"] == {"ours": "1", "theirs": "1"}


# ---- the workspace


def test_the_workspace_becomes_ready(subject: Subject) -> None:
    spec, rendered, _ = subject.sealed()
    assert not subject.cluster.workspace(spec.namespace).ready
    subject.cluster.apply(rendered.workspace)
    state = wait_for(lambda: (state := subject.cluster.workspace(spec.namespace)).ready and state)
    assert state
    assert not state.failed
    assert "StatefulSet/workspace" in map(str, subject.cluster.inventory(spec.namespace))


def test_a_workspace_whose_image_does_not_exist_fails_and_says_so(subject: Subject) -> None:
    spec, rendered, _ = subject.sealed(image="images.invalid/nothing:1")
    subject.cluster.apply(rendered.workspace)
    state = wait_for(lambda: (state := subject.cluster.workspace(spec.namespace)).failed and state)
    assert state
    assert not state.ready
    assert "ImagePullBackOff" in state.message


def test_a_workspace_that_the_quota_refuses_fails_and_says_so(subject: Subject) -> None:
    spec, rendered, _ = subject.sealed()
    workspace = json.loads(json.dumps(rendered.workspace[0]))
    workspace["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"] = "64"
    subject.cluster.apply([workspace])
    state = wait_for(lambda: (state := subject.cluster.workspace(spec.namespace)).failed and state)
    assert state
    assert "exceeded quota" in state.message


def workspace_pod(subject: Subject, spec: SandboxSpec) -> KubeObject:
    """The only pod of a sandbox that is up."""
    (pod,) = subject.cluster.api.list(POD, spec.namespace)
    return pod


@pytest.mark.parametrize("image", [None, "images.invalid/nothing:1"])
def test_a_workspace_that_changed_gets_a_new_pod_of_the_same_name(
    subject: Subject, image: str | None
) -> None:
    """One that never came up as well: nobody has to delete it first."""
    spec, rendered, _ = subject.sealed(**({"image": image} if image else {}))
    subject.cluster.apply(rendered.workspace)
    wait_for(lambda: (state := subject.cluster.workspace(spec.namespace)).ready or state.failed)
    before = workspace_pod(subject, spec)
    workspace = json.loads(json.dumps(rendered.workspace[0]))
    (container,) = workspace["spec"]["template"]["spec"]["containers"]
    container["image"] = subject.image
    container["env"].append({"name": "CHANGED", "value": "yes"})
    subject.cluster.apply([workspace])
    assert not subject.cluster.workspace(spec.namespace).ready
    wait_for(lambda: subject.cluster.workspace(spec.namespace).ready)
    after = workspace_pod(subject, spec)
    assert [pod["metadata"]["name"] for pod in (before, after)] == [WORKSPACE_POD] * 2
    assert before["metadata"]["uid"] != after["metadata"]["uid"]
    assert after["metadata"]["labels"]["controller-revision-hash"] == status(subject, spec)["updateRevision"]


def status(subject: Subject, spec: SandboxSpec) -> KubeObject:
    found: KubeObject = find(subject, STATEFUL_SET.path(spec.namespace, "workspace"))["status"]
    return found


def test_what_a_workspace_reports_of_itself(subject: Subject) -> None:
    spec, rendered, _ = subject.sealed()
    subject.cluster.apply(rendered.workspace)
    wait_for(lambda: subject.cluster.workspace(spec.namespace).ready)
    one = dict.fromkeys(
        ("replicas", "readyReplicas", "availableReplicas", "currentReplicas", "updatedReplicas"), 1
    )
    wait_for(lambda: one.items() <= status(subject, spec).items())
    revision = status(subject, spec)["updateRevision"]
    assert (status(subject, spec)["currentRevision"], status(subject, spec)["observedGeneration"]) == (
        revision,
        1,
    )
    subject.cluster.scale_workspace(spec.namespace, 0)
    wait_for(lambda: subject.cluster.pods_left(spec.namespace) == 0)
    nothing = {"replicas": 0, "availableReplicas": 0, "observedGeneration": 2, "updateRevision": revision}
    wait_for(lambda: nothing.items() <= status(subject, spec).items())
    assert not {"readyReplicas", "currentReplicas", "updatedReplicas"} & status(subject, spec).keys()


@pytest.mark.parametrize(
    "change", [{"serviceName": "other"}, {"podManagementPolicy": "OrderedReady"}], ids=str
)
def test_most_of_a_stateful_set_never_changes(subject: Subject, change: dict[str, str]) -> None:
    spec, rendered, _ = subject.sealed()
    (workspace,) = rendered.workspace
    subject.cluster.apply([{**workspace, "spec": {**workspace["spec"], "replicas": 0}}])
    path = STATEFUL_SET.path(spec.namespace, "workspace")
    with pytest.raises(
        ClusterRefusedError, match=r"\(422\).*updates to statefulset spec for fields other than"
    ):
        subject.cluster.api.merge(path, {"spec": change})


@pytest.mark.parametrize(
    ("wrong", "known"),
    [
        ({"podManagementPolicy": "Odd"}, "'OrderedReady' or 'Parallel'"),
        ({"updateStrategy": {"type": "Odd"}}, "'RollingUpdate' or 'OnDelete'"),
    ],
    ids=str,
)
def test_a_stateful_set_knows_its_own_words(subject: Subject, wrong: dict[str, Any], known: str) -> None:
    _, rendered, _ = subject.sealed()
    (workspace,) = rendered.workspace
    with pytest.raises(ClusterRefusedError, match=rf"\(422\).*Invalid value: .*must be {known}"):
        subject.cluster.apply([{**workspace, "spec": {**workspace["spec"], **wrong}}])


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


# ---- lists


def test_lists_are_paged(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = set()
    for _ in range(5):
        spec, rendered = subject.sandbox()
        subject.cluster.ensure_namespace(rendered.seal[0])
        wanted.add(spec.namespace)
    monkeypatch.setattr(api, "PAGE_SIZE", 2)
    names = [state.name for state in subject.cluster.namespaces(subject.installation_id)]
    assert len(names) == 5
    assert set(names) == wanted
    assert list(subject.cluster.namespaces("nobody")) == []


# ---- errors


def test_wrong_credentials_are_refused(subject: Subject, tmp_path: Path) -> None:
    text = Path(subject.kubeconfig).read_text()
    config = json.loads(text) if text.startswith("{") else __import__("yaml").safe_load(text)
    for user in config["users"]:
        user["user"] = {"token": "wrong"}
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    cluster = connect(name="wrong", kubeconfig=str(tmp_path / "kubeconfig"), context=None)
    with pytest.raises(ClusterRefusedError, match="401"):
        next(cluster.namespaces("nobody"), None)
    cluster.close()


def test_a_missing_namespace_is_refused(subject: Subject) -> None:
    with pytest.raises(ClusterRefusedError, match=r"\(404\).*not found"):
        subject.cluster.apply([config_map("there-is-no-such-namespace", "x")])
    assert subject.cluster.namespace("there-is-no-such-namespace") is None


def test_a_taken_name_is_refused(subject: Subject) -> None:
    spec, _, _ = subject.sealed()
    item = config_map(spec.namespace, "package-settings")
    with pytest.raises(ClusterRefusedError, match=r"\(409\).*already exists"):
        subject.cluster._api.create(CONFIG_MAP.collection(spec.namespace), item)


def test_an_invalid_object_is_refused(subject: Subject) -> None:
    spec, rendered, _ = subject.sealed()
    pod = json.loads(json.dumps(rendered.probe[0]))
    pod["spec"]["containers"] = []
    with pytest.raises(ClusterRefusedError, match=r"\(422\).*spec.containers"):
        subject.cluster.apply([pod])
    with pytest.raises(InvalidInputError, match="not made of"):
        subject.cluster.apply([{**config_map(spec.namespace, "x"), "kind": "Secrets"}])


def test_an_unreachable_cluster_is_unavailable(subject: Subject, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = {
        "clusters": [{"name": "x", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "x", "user": {"token": "x"}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "current-context": "x",
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    cluster = connect(name="gone", kubeconfig=str(tmp_path / "kubeconfig"), context=None)
    with pytest.raises(ClusterUnavailableError, match="gone does not answer"):
        cluster.info()
    cluster.close()


def test_a_bad_kubeconfig_is_invalid(subject: Subject, tmp_path: Path) -> None:
    for text in ("", "[]", "clusters: 1", "{"):
        (tmp_path / "kubeconfig").write_text(text)
        with pytest.raises(InvalidInputError, match="kubeconfig"):
            connect(name="bad", kubeconfig=str(tmp_path / "kubeconfig"), context=None)
    with pytest.raises(InvalidInputError, match="kubeconfig"):
        connect(name="bad", kubeconfig=subject.kubeconfig, context="no-such-context")
