"""Field ownership: who set which field (the FieldsV1 format of managedFields).

An object is seen as leaves: a path to each value that is owned as a whole. Lists
are mostly one leaf. Some are keyed ("associative"): each item is owned by its key,
and its fields one by one, which is what lets two managers share a list. Path parts
are written as in FieldsV1: `f:name` for a field, `k:{...}` for a keyed item, `v:...`
for a member of a set, and `.` for the item itself. Which lists and maps are which
comes from the API's own schema (x-kubernetes-list-map-keys and the like).
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

type Json = dict[str, Any]
type Path = tuple[str, ...]
type Leaves = dict[Path, Any]

_KEYED: Final[Mapping[str, tuple[str, ...]]] = {
    "conditions": ("type",),
    "containers": ("name",),
    "env": ("name",),
    "hostAliases": ("ip",),
    "imagePullSecrets": ("name",),
    "initContainers": ("name",),
    "ownerReferences": ("uid",),
    "volumeMounts": ("mountPath",),
    "volumes": ("name",),
}
_DEFAULTS: Final = {"protocol": "TCP"}
_SETS: Final = frozenset(("finalizers",))
_ATOMIC_MAPS: Final = frozenset(("selector", "nodeSelector", "podSelector", "namespaceSelector", "roleRef"))
_SYSTEM: Final = frozenset(
    (
        *("creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation"),
        *("managedFields", "name", "namespace", "resourceVersion", "selfLink", "uid"),
    )
)


def list_keys(field: str, items: list[Any]) -> tuple[str, ...] | None:
    """The keys of an associative list, or None if the list is one value."""
    if not items or not all(isinstance(item, dict) for item in items):
        return None
    if field == "ports":
        if all("containerPort" in item for item in items):
            return ("containerPort", "protocol")
        # Ports of a Service; those of policies and slices are one value.
        return ("port", "protocol") if any("targetPort" in item for item in items) else None
    keys = _KEYED.get(field)
    return keys if keys and all(keys[0] in item for item in items) else None


def item_key(item: Json, keys: tuple[str, ...]) -> str:
    """The path part of a keyed item."""
    return "k:" + json.dumps({key: item.get(key, _DEFAULTS.get(key)) for key in keys}, separators=(",", ":"))


def is_set(field: str) -> bool:
    """Lists whose members are owned one by one."""
    return field in _SETS


def is_atomic(field: str) -> bool:
    """Maps that are owned as a whole."""
    return field in _ATOMIC_MAPS


def leaves(item: Json) -> Leaves:
    """All leaves of an object, without what the server itself keeps."""
    found: Leaves = {}
    for field, value in item.items():
        if field in ("apiVersion", "kind", "status"):
            continue
        if field == "metadata":
            for name, part in value.items():
                if name not in _SYSTEM:
                    _collect(name, part, ("f:metadata", f"f:{name}"), found)
        else:
            _collect(field, value, (f"f:{field}",), found)
    return found


def _collect(field: str, value: Any, path: Path, found: Leaves) -> None:
    if isinstance(value, dict) and value and not is_atomic(field):
        for name, part in value.items():
            _collect(name, part, (*path, f"f:{name}"), found)
        return
    if isinstance(value, list) and is_set(field):
        found.update(((*path, f"v:{json.dumps(member)}"), True) for member in value)
        return
    keys = list_keys(field, value) if isinstance(value, list) else None
    if keys is None:
        found[path] = value
        return
    for item in value:
        inner = (*path, item_key(item, keys))
        found[(*inner, ".")] = True
        for name, part in item.items():
            _collect(name, part, (*inner, f"f:{name}"), found)


def encode(paths: Iterable[Path]) -> Json:
    """FieldsV1 of a set of paths."""
    tree: Json = {}
    for path in sorted(paths):
        node = tree
        for part in path:
            node = node.setdefault(part, {})
    return tree


def decode(tree: Json) -> set[Path]:
    """The set of paths of a FieldsV1."""
    found: set[Path] = set()
    stack: list[tuple[Path, Json]] = [((), tree)]
    while stack:
        path, node = stack.pop()
        if not node and path:
            found.add(path)
        stack.extend(((*path, part), inner) for part, inner in node.items())
    return found


def readable(path: Path) -> str:
    """A path as conflict messages write it: .spec.containers[name="x"].image."""
    text = ""
    for part in path:
        if part.startswith("k:"):
            pairs = json.loads(part[2:]).items()
            text += "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in pairs) + "]"
        elif part != ".":
            text += "." + part[2:]
    return text
