"""What the API server refuses because of the object itself (422), and what it fills in."""

import re
from collections.abc import Iterator
from typing import Any, Final

from sandboxes.cluster.quantities import parse_quantity
from sandboxes.cluster.simulator.errors import bad_request, invalid
from sandboxes.cluster.simulator.podspec import fill_defaults
from sandboxes.cluster.simulator.resources import (
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    PODS,
    QUOTAS,
    REPLICA_SETS,
    ROLE_BINDINGS,
    ROLES,
    SECRETS,
    STATEFUL_SETS,
    Resource,
)

type Json = dict[str, Any]
type Cause = tuple[str, str, str]

_LABEL: Final = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
_SUBDOMAIN: Final = re.compile(r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")
_LABEL_VALUE: Final = re.compile(r"^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$")
_RFC_1123: Final = "a lowercase RFC 1123 name must consist of lower case alphanumeric characters or '-'"
WORKLOADS: Final = (DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, JOBS)
# Fields that may never change, by resource.
_IMMUTABLE: Final[dict[Resource, tuple[tuple[str, ...], ...]]] = {
    DEPLOYMENTS: (("spec", "selector"),),
    REPLICA_SETS: (("spec", "selector"),),
    JOBS: (("spec", "template"),),
    ROLE_BINDINGS: (("roleRef",),),
    SECRETS: (("type",),),
}

# Of a stateful set it is the other way round: these may change, nothing else.
_MAY_CHANGE: Final = (
    *("replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit"),
    *("persistentVolumeClaimRetentionPolicy", "minReadySeconds"),
)
_POLICIES: Final[tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]] = (
    (("podManagementPolicy",), ("OrderedReady", "Parallel")),
    (("updateStrategy", "type"), ("RollingUpdate", "OnDelete")),
)


def check_shape(resource: Resource, namespace: str, body: Json) -> None:
    """400 if the body is not an object of this resource and namespace."""
    if body.get("apiVersion") != resource.api_version or body.get("kind") != resource.kind:
        found = f"{body.get('apiVersion')}, Kind={body.get('kind')}"
        raise bad_request(
            f"the object provided is unrecognized: {found} is not {resource.api_version}, Kind={resource.kind}"
        )
    if not isinstance(body.get("metadata"), dict):
        raise bad_request("metadata must be an object")
    given = body["metadata"].get("namespace", namespace)
    if resource.namespaced and given != namespace:
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )


def fill(resource: Resource, item: Json) -> None:
    """Defaults, and forms that are only ever written."""
    if resource is PODS:
        fill_defaults(item.setdefault("spec", {}))
    elif resource in WORKLOADS:
        spec = item.setdefault("spec", {})
        fill_defaults(spec.setdefault("template", {}).setdefault("spec", {}))
        if resource is not JOBS:
            spec.setdefault("replicas", 1)
        if resource is STATEFUL_SETS:
            _fill_stateful_set(spec)
    elif resource is SECRETS:
        item.setdefault("type", "Opaque")
    elif resource is NAMESPACES:
        item.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
        item["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = item["metadata"]["name"]


def _fill_stateful_set(spec: Json) -> None:
    spec.setdefault("serviceName", "")
    spec.setdefault("podManagementPolicy", "OrderedReady")
    strategy = spec.setdefault("updateStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)


def check(resource: Resource, item: Json) -> None:
    """422 with all mistakes."""
    causes = [*_metadata(resource, item["metadata"])]
    if resource is PODS:
        causes += _pod(item.get("spec") or {}, "spec")
    elif resource in WORKLOADS:
        causes += _workload(resource, item.get("spec") or {})
    elif resource is QUOTAS:
        causes += _quantities(item.get("spec", {}).get("hard") or {}, "spec.hard")
    if causes:
        raise invalid(resource, item["metadata"].get("name", ""), causes)


def check_update(resource: Resource, old: Json, new: Json) -> None:
    """422 if a field changed that must not."""
    causes: list[Cause] = [
        ("FieldValueInvalid", ".".join(path), "Invalid value: field is immutable")
        for path in _IMMUTABLE.get(resource, ())
        if _at(old, path) != _at(new, path)
    ]
    if resource is STATEFUL_SETS and _kept(old["spec"]) != _kept(new["spec"]):
        listed = ", ".join(f"'{field}'" for field in _MAY_CHANGE[:-1])
        message = (
            "Forbidden: updates to statefulset spec for fields other than "
            f"{listed} and '{_MAY_CHANGE[-1]}' are forbidden"
        )
        causes.append(("FieldValueForbidden", "spec", message))
    if resource is PODS and _fixed(old["spec"]) != _fixed(new["spec"]):
        message = "Forbidden: pod updates may not change fields other than `spec.containers[*].image`"
        causes.append(("FieldValueForbidden", "spec", message))
    if causes:
        raise invalid(resource, new["metadata"]["name"], causes)


def _metadata(resource: Resource, metadata: Json) -> list[Cause]:
    name = metadata.get("name")
    if not name:
        return [("FieldValueRequired", "metadata.name", "Required value: name or generateName is required")]
    rule = _LABEL if resource is NAMESPACES else _SUBDOMAIN
    # Names of roles may hold anything that fits into a path.
    known = resource in (ROLES, ROLE_BINDINGS) or (isinstance(name, str) and rule.fullmatch(name))
    causes: list[Cause] = []
    if not known:
        causes.append(("FieldValueInvalid", "metadata.name", f'Invalid value: "{name}": {_RFC_1123}'))
    for key, value in (metadata.get("labels") or {}).items():
        if not isinstance(value, str) or not _LABEL_VALUE.fullmatch(value):
            causes.append(("FieldValueInvalid", "metadata.labels", f'Invalid value: "{value}" ({key})'))
    for key, value in (metadata.get("annotations") or {}).items():
        if not isinstance(value, str):
            causes.append(("FieldValueInvalid", "metadata.annotations", f"Invalid value: {value!r} ({key})"))
    return causes


def _pod(spec: Json, path: str) -> list[Cause]:
    if not spec.get("containers"):
        return [("FieldValueRequired", f"{path}.containers", "Required value")]
    causes: list[Cause] = []
    for number, container in enumerate(spec["containers"]):
        field = f"{path}.containers[{number}]"
        missing = [name for name in ("name", "image") if not container.get(name)]
        causes += [("FieldValueRequired", f"{field}.{name}", "Required value") for name in missing]
        for section in ("requests", "limits"):
            listed = (container.get("resources") or {}).get(section) or {}
            causes += _quantities(listed, f"{field}.resources.{section}")
    return causes


def _workload(resource: Resource, spec: Json) -> list[Cause]:
    template = spec.get("template") or {}
    causes = _pod(template.get("spec") or {}, "spec.template.spec")
    if resource is JOBS:
        return causes
    if resource is STATEFUL_SETS:
        causes += _policies(spec)
    wanted = (spec.get("selector") or {}).get("matchLabels") or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    if not wanted:
        causes.append(("FieldValueRequired", "spec.selector", "Required value"))
    elif not wanted.items() <= labels.items():
        message = f"Invalid value: {labels}: `selector` does not match template `labels`"
        causes.append(("FieldValueInvalid", "spec.template.metadata.labels", message))
    return causes


def _policies(spec: Json) -> Iterator[Cause]:
    for path, known in _POLICIES:
        value = _at(spec, path)
        if value not in known:
            message = f"Invalid value: \"{value}\": must be '{known[0]}' or '{known[1]}'"
            yield "FieldValueInvalid", ".".join(("spec", *path)), message


def _quantities(listed: Json, path: str) -> list[Cause]:
    causes = []
    for name, value in listed.items():
        try:
            parse_quantity(str(value))
        except ValueError:
            causes.append(("FieldValueInvalid", f"{path}[{name}]", f'Invalid value: "{value}"'))
    return causes


def _kept(spec: Json) -> Json:
    """A stateful set's specification without what may change."""
    return {field: value for field, value in spec.items() if field not in _MAY_CHANGE}


def _fixed(spec: Json) -> Json:
    """A pod's specification without what may change."""
    containers = [{**item, "image": ""} for item in spec.get("containers") or ()]
    return {**spec, "containers": containers, "activeDeadlineSeconds": 0, "tolerations": [], "nodeName": ""}


def _at(item: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        item = (item or {}).get(name)
    return item
