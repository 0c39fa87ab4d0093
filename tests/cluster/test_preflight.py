"""A preflight of a real cluster: its policies are really tried, and nothing of the trial stays."""

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import config as kube_config

from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.kinds import NAMESPACE
from sandboxes.lifecycle import clusters, offers, preflight, specs
from sandboxes.lifecycle.preflight import Report
from tests.cluster.conftest import own_address, real_kubeconfig, remove_installation

pytestmark = [pytest.mark.cluster, pytest.mark.enable_socket, pytest.mark.django_db]


@pytest.fixture
def real(request: pytest.FixtureRequest, settings: Any) -> Iterator[Cluster]:
    """The environment's cluster is the real one; something listens where the index would."""
    kubeconfig = real_kubeconfig(request.config)
    _, current = kube_config.list_kube_config_contexts(kubeconfig)  # type: ignore[no-untyped-call]
    context = os.environ.get("PETRIDISH_TEST_CONTEXT") or str(current["name"])
    settings.KUBECONFIG, settings.KUBE_CONTEXT, settings.CLUSTER_NAME = kubeconfig, context, context
    settings.WORKSPACE_IMAGE = os.environ.get("PETRIDISH_TEST_IMAGE", "")
    settings.EGRESS_PROXY_URL = ""
    settings.INSTALLATION_ID = f"preflight-{os.getpid()}"
    _forget()
    with socket.create_server((own_address(kubeconfig), 0)) as index:
        settings.INDEX_URL = "http://{}:{}".format(*index.getsockname()[:2])
        cluster = clusters.get(context)
        try:
            yield cluster
        finally:
            remove_installation(cluster, settings.INSTALLATION_ID)
            _forget()


def _forget() -> None:
    clusters.get.cache_clear()
    specs.templates.cache_clear()
    offers.profiles.cache_clear()
    specs.forget_facts()


def test_a_cluster_that_enforces_policies_is_usable(real: Cluster) -> None:
    report = preflight.check(real.name)
    told = "\n".join(f"{line.state:8} {line.what}: {line.found}" for line in report.lines)
    assert report.usable, told
    for what in ("Seal", "Quotas and limits", "Images", "Teardown", "DNS", "Permissions"):
        assert _state(report, what) == "ok", told
    left = [item["metadata"]["name"] for item in real.api.list(NAMESPACE)]
    assert not [name for name in left if name.startswith("petridish-check")]


def test_a_seal_with_a_hole_is_found_on_the_cluster_itself(
    real: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One policy too many in the throw-away namespace, as a careless admin might add: the probe gets through."""
    apply = type(real).apply

    def with_a_hole(self: Cluster, objects: Any) -> None:
        given = list(objects)
        apply(self, given)
        namespace = given[0]["metadata"]["namespace"]
        if namespace.startswith("petridish-check"):
            apply(self, [_hole(namespace)])

    monkeypatch.setattr(type(real), "apply", with_a_hole)
    report = preflight.check(real.name)
    assert _state(report, "Seal") == "missing"
    assert not report.usable
    assert _state(report, "Teardown") == "ok"


def _hole(namespace: str) -> dict[str, Any]:
    metadata = {"name": "hole", "namespace": namespace}
    spec = {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": spec,
    }


def _state(report: Report, what: str) -> str:
    return next(line.state for line in report.lines if line.what == what)
