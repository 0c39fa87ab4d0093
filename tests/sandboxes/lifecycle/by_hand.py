"""What people do to a cluster by hand, past Petridish: another client, under another field manager."""

import json
from typing import Any

from kubernetes import client as kube
from kubernetes import config as kube_config

MANAGER = "kubectl-edit"


class ByHand:
    """`kubectl` of somebody who may do anything."""

    def __init__(self, kubeconfig: str) -> None:
        configuration = kube.Configuration()
        load: Any = kube_config.load_kube_config
        load(kubeconfig, client_configuration=configuration, persist_config=False)
        configuration.proxy = None
        self._client: Any = kube.ApiClient(configuration)
        self.core: Any = kube.CoreV1Api(self._client)
        self.apps: Any = kube.AppsV1Api(self._client)
        self.networking: Any = kube.NetworkingV1Api(self._client)
        self.rbac: Any = kube.RbacAuthorizationV1Api(self._client)

    def close(self) -> None:
        self._client.rest_client.pool_manager.clear()

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request as it is, for what the typed client reads too strictly."""
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"Content-Type": kind, "Accept": "application/json"}
        self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        url = f"{self._client.configuration.host}{path}?fieldManager={MANAGER}"
        answer = self._client.call_api(method, url, headers, body)
        found: dict[str, Any] = json.loads(answer.read() or b"{}")
        assert answer.status < 300, found
        return found

    def raise_quota(self, namespace: str) -> None:
        patch = {"spec": {"hard": {"pods": "100"}}}
        self.call("PATCH", f"/api/v1/namespaces/{namespace}/resourcequotas/sandbox", patch)

    def pods_allowed(self, namespace: str) -> str:
        quota = self.call("GET", f"/api/v1/namespaces/{namespace}/resourcequotas/sandbox")
        return str(quota["spec"]["hard"]["pods"])

    def label(self, namespace: str, **labels: str | None) -> None:
        """`kubectl label namespace`; None takes one off. Of the names, `_` stands for `petridish.dev/`."""
        given = {name.replace("_", "petridish.dev/", 1): value for name, value in labels.items()}
        self.core.patch_namespace(namespace, {"metadata": {"labels": given}}, field_manager=MANAGER)

    def delete_policy(self, namespace: str, name: str) -> None:
        self.networking.delete_namespaced_network_policy(name, namespace)

    def allow_all(self, namespace: str, name: str = "open-sesame") -> None:
        """A foreign policy that opens everything: policies only ever add."""
        spec = {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]}
        self.networking.create_namespaced_network_policy(
            namespace,
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": {"name": name},
                "spec": spec,
            },
            field_manager=MANAGER,
        )

    def scale(self, namespace: str, replicas: int) -> None:
        self.apps.patch_namespaced_stateful_set(
            "workspace", namespace, {"spec": {"replicas": replicas}}, field_manager=MANAGER
        )

    def make_namespace(self, name: str, labels: dict[str, str]) -> str:
        """Its uid."""
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        made = self.core.create_namespace(body, field_manager=MANAGER)
        return str(made.metadata.uid)

    def make_volume(self, name: str, *, claim: str, labels: dict[str, str] | None = None) -> str:
        """A volume whose claim is, or was, in that namespace; its uid."""
        spec = {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": "/nowhere"},
            "claimRef": {"namespace": claim, "name": "data"},
        }
        metadata = {"name": name, "labels": labels or {}}
        body = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": spec}
        made = self.core.create_persistent_volume(body, field_manager=MANAGER)
        return str(made.metadata.uid)

    def namespaces(self) -> set[str]:
        return {item.metadata.name for item in self.core.list_namespace().items}

    def policies(self, namespace: str) -> set[str]:
        found = self.networking.list_namespaced_network_policy(namespace).items
        return {item.metadata.name for item in found}
