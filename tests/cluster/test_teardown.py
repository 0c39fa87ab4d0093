"""Teardown on a real cluster: what its controllers do with a finalizer that never goes, and what we make of it."""

import os
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from portal.accounts.models import User
from sandboxes.cluster.driver import Cluster, connect
from sandboxes.cluster.kinds import NAMESPACE, kind
from sandboxes.cluster.spec import Labels
from sandboxes.lifecycle import clock, clusters, receipts, services, teardown
from sandboxes.lifecycle.models import Alarm, Receipt, Sandbox
from sandboxes.lifecycle.moves import move, start_ending
from sandboxes.lifecycle.phases import Phase
from tests.cluster.conftest import real_kubeconfig, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.enable_socket, pytest.mark.django_db]

CONFIG_MAP = kind("v1", "ConfigMap")
POD = kind("v1", "Pod")
NEVER = "example.com/never"


@pytest.fixture
def cluster(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> Iterator[Cluster]:
    settings.INSTALLATION_ID = f"teardown-{secrets.token_hex(4)}"
    settings.STUCK_AFTER = timedelta(seconds=5)
    context = os.environ.get("PETRIDISH_TEST_CONTEXT") or None
    real = connect(name="real", kubeconfig=real_kubeconfig(request.config), context=context)
    monkeypatch.setattr(clusters, "get", lambda name: real)
    try:
        yield real
    finally:
        for state in real.namespaces(settings.INSTALLATION_ID):
            let_go(real, CONFIG_MAP.path(state.name, "stays"))
            for pod in real._api.list(POD, state.name):
                let_go(real, POD.path(state.name, pod["metadata"]["name"]))
            real.delete_namespace(state.name, state.uid)
        real.close()


@pytest.fixture
def box(alice: User, cluster: Cluster, settings: Any) -> Sandbox:
    """A namespace of ours with a pod, a binding and a secret in it, as a ready sandbox has."""
    sandbox = services.open_sandbox(
        owner=alice, profile="python", lease=timedelta(hours=1), data_class="public", tools=[], by=None
    )
    Sandbox.objects.filter(pk=sandbox.pk).update(phase=Phase.PROVISIONING, cluster="real", charged=True)
    sandbox.refresh_from_db()
    name = f"sbx-teardown-{secrets.token_hex(4)}"
    labels = {Labels.SANDBOX: str(sandbox.pk), Labels.INSTALLATION: settings.INSTALLATION_ID}
    made = cluster._api.create(
        NAMESPACE.collection(),
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}},
    )
    sandbox.name, sandbox.namespace, sandbox.namespace_uid = name, name, made["metadata"]["uid"]
    sandbox.save(update_fields=["name", "namespace", "namespace_uid"])
    cluster.apply([_secret(name, labels), _binding(name, labels), _stateful_set(name, labels)])
    wait_for(lambda: cluster.pods_left(name))
    move(sandbox, Phase.PROBING)
    move(sandbox, Phase.READY, ready_at=clock.now())
    return sandbox


def _secret(namespace: str, labels: dict[str, str]) -> dict[str, Any]:
    metadata = {"name": "index", "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"url": "x"}}


def _binding(namespace: str, labels: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "owner", "namespace": namespace, "labels": labels},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "petridish:alice"}],
    }


def _stateful_set(namespace: str, labels: dict[str, str]) -> dict[str, Any]:
    image = os.environ.get("PETRIDISH_TEST_IMAGE") or "python:3.11"
    container = {"name": "main", "image": image, "command": ["sleep", "3600"]}
    template = {"metadata": {"labels": {"app": "workspace"}}, "spec": {"containers": [container]}}
    selector = {"matchLabels": {"app": "workspace"}}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "workspace", "namespace": namespace, "labels": labels},
        "spec": {"replicas": 1, "selector": selector, "template": template},
    }


def let_go(cluster: Cluster, path: str) -> None:
    if cluster._api.find(path) is not None:
        cluster._api.merge(path, {"metadata": {"finalizers": None}})


def work_until(sandbox: Sandbox, phase: Phase, *, meanwhile: Callable[[], None] = lambda: None) -> None:
    end = time.monotonic() + 90
    while sandbox.phase != phase:
        assert time.monotonic() < end, f"still {sandbox.phase}: {sandbox.blocker}"
        wait = teardown.take(sandbox)
        meanwhile()
        time.sleep(min(wait.total_seconds(), 1) if wait else 0)


def is_charged(sandbox: Sandbox) -> bool:
    return Sandbox.objects.filter(pk=sandbox.pk, charged=True).exists()


def alarm_of(sandbox: Sandbox) -> Alarm:
    return Alarm.objects.get(kind="stuck", subject=f"sandbox:{sandbox.pk}")


def test_a_finalizer_that_never_goes(box: Sandbox, cluster: Cluster) -> None:
    """Stuck, naming what holds it; nothing is forced; and a receipt once somebody has let go of it."""
    namespace = box.namespace or ""
    metadata = {"name": "stays", "namespace": namespace, "finalizers": [NEVER]}
    cluster.apply([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}])
    before = {one.uid for one in cluster.inventory(namespace)}
    start_ending(box, reason="expired")
    work_until(box, Phase.STUCK)
    assert "NamespaceFinalizersRemaining" in box.blocker
    assert f"ConfigMap/stays is held by finalizer {NEVER}" in box.blocker
    assert is_charged(box)
    assert alarm_of(box).cleared_at is None
    assert cluster._api.get(CONFIG_MAP.path(namespace, "stays"))["metadata"]["finalizers"] == [NEVER]

    let_go(cluster, CONFIG_MAP.path(namespace, "stays"))
    work_until(box, Phase.ENDED)
    assert not is_charged(box)
    assert alarm_of(box).cleared_at is not None
    receipt = Receipt.objects.get(sandbox=box)
    assert receipts.verify(receipt.document, receipt.key_id, receipt.signature).ok
    existed = receipt.document["existed"]
    assert before <= {one["uid"] for one in existed}
    assert all(one["deleted_at"] <= one["absent_at"] for one in existed)
    assert {"Namespace", "StatefulSet", "Pod", "RoleBinding", "Secret"} <= {one["kind"] for one in existed}
    (period,) = receipt.document["stuck"]
    assert NEVER in period["blocker"]
    assert cluster.namespace(namespace) is None


def test_a_pod_that_never_goes_keeps_the_namespace_and_its_policies(box: Sandbox, cluster: Cluster) -> None:
    namespace = box.namespace or ""
    pod = next(cluster._api.list(POD, namespace))["metadata"]["name"]
    cluster._api.merge(POD.path(namespace, pod), {"metadata": {"finalizers": [NEVER]}})
    start_ending(box, reason="expired")
    work_until(box, Phase.STUCK)
    assert f"Pod {pod} is held by finalizer {NEVER}" in box.blocker
    state = cluster.namespace(namespace)
    assert state is not None
    assert state.phase == "Active"
    let_go(cluster, POD.path(namespace, pod))
    work_until(box, Phase.ENDED)
    assert cluster.namespace(namespace) is None
