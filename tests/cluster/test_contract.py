"""The driver's contract, one for both: what holds on the simulated cluster holds on a real one."""

import json
import socket
from pathlib import Path

import pytest

from sandboxes.cluster import api
from sandboxes.cluster.driver import connect
from sandboxes.cluster.kinds import NAMESPACE, kind
from sandboxes.cluster.spec import KubeObject, Labels
from sandboxes.errors import ClusterRefusedError, ClusterUnavailableError, InvalidInputError
from tests.cluster.conftest import REAL, Subject
from tests.cluster.contract import CONFIG_MAP, config_map, find

pytestmark = pytest.mark.parametrize("subject", ["simulated", REAL], indirect=True)


def by_another(subject: Subject, path: str, item: KubeObject, *, force: bool = False) -> KubeObject:
    """Server-side apply as somebody else."""
    query = {"fieldManager": "somebody-else", **({"force": "true"} if force else {})}
    return subject.cluster._api._call("PATCH", path, query, json.dumps(item), "application/apply-patch+yaml")


def namespace_object(name: str, labels: dict[str, str]) -> KubeObject:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


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
