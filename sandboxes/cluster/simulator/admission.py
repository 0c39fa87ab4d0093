"""Admission: what else the API server looks at before it lets an object in.

In the order of the real plugins: the namespace must be alive, the service account
must exist, limits get their defaults, Pod Security, and last the quota, so that a
refused object uses none of it.
"""

from typing import Any

from sandboxes.cluster.simulator import quota
from sandboxes.cluster.simulator.errors import forbidden, not_found
from sandboxes.cluster.simulator.podsecurity import violations
from sandboxes.cluster.simulator.podspec import containers
from sandboxes.cluster.simulator.resources import (
    CLAIMS,
    LIMIT_RANGES,
    NAMESPACES,
    PODS,
    QUOTAS,
    SERVICE_ACCOUNTS,
    SERVICES,
    Resource,
)
from sandboxes.cluster.simulator.store import Store

type Json = dict[str, Any]

_ENFORCE = "pod-security.kubernetes.io/enforce"


def admit(store: Store, resource: Resource, item: Json) -> None:
    """Let a new object in (filling defaults), or raise 403 or 404."""
    if not resource.namespaced:
        return
    namespace = _live_namespace(store, resource, item)
    if resource is PODS:
        _check_account(store, item)
        _fill_limits(store, item)
        _check_security(namespace, item)
    _check_quotas(store, resource, item)


def _live_namespace(store: Store, resource: Resource, item: Json) -> Json:
    name = item["metadata"]["namespace"]
    row = store.get(NAMESPACES, "", name)
    if row is None:
        raise not_found(NAMESPACES, name)
    if "deletionTimestamp" in row.data["metadata"]:
        message = f"unable to create new content in namespace {name} because it is being terminated"
        text = f"namespace {name} is being terminated"
        cause = {"reason": "NamespaceTerminating", "message": text, "field": "metadata.namespace"}
        raise forbidden(resource, item["metadata"]["name"], message, [cause])
    return row.data


def _check_account(store: Store, pod: Json) -> None:
    namespace, account = pod["metadata"]["namespace"], pod["spec"]["serviceAccountName"]
    if store.get(SERVICE_ACCOUNTS, namespace, account) is None:
        missing = f'serviceaccount "{account}" not found'
        message = f"error looking up service account {namespace}/{account}: {missing}"
        raise forbidden(PODS, pod["metadata"]["name"], message)


def _fill_limits(store: Store, pod: Json) -> None:
    """LimitRange: defaults for containers that do not say (its minima and maxima are not simulated)."""
    for row in store.rows(LIMIT_RANGES, pod["metadata"]["namespace"]):
        for entry in row.data["spec"].get("limits") or ():
            if entry.get("type") != "Container":
                continue
            for container in containers(pod["spec"]):
                resources = container["resources"]
                limits = {**(entry.get("default") or {}), **(resources.get("limits") or {})}
                defaults = entry.get("defaultRequest") or entry.get("default") or {}
                requests = {**defaults, **(resources.get("requests") or {})}
                container["resources"] = {"limits": limits, "requests": requests}


def _check_security(namespace: Json, pod: Json) -> None:
    labels = namespace["metadata"].get("labels") or {}
    level = labels.get(_ENFORCE, "privileged")
    found = violations(level, pod["spec"])
    if found:
        version = labels.get(f"{_ENFORCE}-version", "latest")
        text = f'violates PodSecurity "{level}:{version}": {", ".join(found)}'
        raise forbidden(PODS, pod["metadata"]["name"], text)


def _check_quotas(store: Store, resource: Resource, item: Json) -> None:
    namespace = item["metadata"]["namespace"]
    for row in store.rows(QUOTAS, namespace):
        refusal = quota.check(row.data, resource, item, counted(store, namespace))
        if refusal is not None:
            raise refusal


def counted(store: Store, namespace: str) -> list[quota.Item]:
    """Everything in a namespace that a quota may count."""
    kinds = (PODS, SERVICES, CLAIMS)
    return [(kind, row.data) for kind in kinds for row in store.rows(kind, namespace)]
