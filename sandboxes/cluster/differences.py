"""How an object differs from what was rendered, and who is known to have changed it."""

from collections.abc import Iterator
from typing import Any, Final

from sandboxes.cluster.quantities import parse_quantity
from sandboxes.cluster.spec import FIELD_MANAGER, KubeObject, Labels

type Path = tuple[str, ...]

# Kinds where nothing may stand that we did not say. In the others controllers and webhooks write as well.
_EXACT: Final = frozenset(
    (
        *("NetworkPolicy", "ResourceQuota", "LimitRange", "Role", "RoleBinding"),
        *("ConfigMap", "Secret"),
    )
)
# What tells the items of a list apart when server-side apply merges them (x-kubernetes-list-map-keys).
_LIST_KEYS: Final = ("name", "mountPath", "containerPort", "ip")
_FRAME: Final = frozenset(("apiVersion", "kind", "metadata", "status"))


def label_differences(item: KubeObject, live: KubeObject) -> list[Path]:
    """Labels of ours that are gone or changed. The hash of the specification only says which it was."""
    there = live["metadata"].get("labels") or {}
    return [
        ("metadata", "labels", label)
        for label, value in item["metadata"]["labels"].items()
        if label != Labels.SPEC_HASH and there.get(label) != value
    ]


def differences(item: KubeObject, expected: KubeObject, live: KubeObject) -> list[Path]:
    """Where `live` is not what `item` says; `expected` is `item` as the server would write it."""
    said, made, there = (
        {field: value for field, value in each.items() if field not in _FRAME}
        for each in (item, expected, live)
    )
    if item["kind"] in _EXACT:
        return list(_unequal(made, there, ()))
    return list(_lacking(said, made, there, ()))


def _unequal(expected: Any, live: Any, path: Path) -> Iterator[Path]:
    """Where two values differ; lists are taken as a whole, and none is as good as an empty one."""
    if isinstance(expected, dict) and isinstance(live, dict):
        for field in (*expected, *(field for field in live if field not in expected)):
            yield from _unequal(expected.get(field), live.get(field), (*path, field))
    elif expected != live and not (expected in (None, []) and live in (None, [])):
        yield path


def _lacking(said: Any, expected: Any, live: Any, path: Path) -> Iterator[Path]:
    """Where `live` lacks something that was said; `expected` is the same in the server's own spelling."""
    if isinstance(said, dict) and isinstance(expected, dict) and isinstance(live, dict):
        for field, value in said.items():
            yield from _lacking(value, expected.get(field), live.get(field), (*path, field))
    elif (key := _list_key(said)) and isinstance(expected, list) and isinstance(live, list):
        for value in said:
            made, there = (_member(items, key, value[key]) for items in (expected, live))
            yield from _lacking(value, made, there, (*path, f"[{key}={value[key]}]"))
    elif not _is_same(expected, live):
        yield path


def _list_key(items: Any) -> str | None:
    """What tells the items of a list apart, as server-side apply merges them; None for a list that is one value."""
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        return None
    return next((key for key in _LIST_KEYS if items and all(key in item for item in items)), None)


def _member(items: list[Any], key: str, value: Any) -> Any:
    return next((item for item in items if isinstance(item, dict) and item.get(key) == value), None)


def _is_same(expected: Any, live: Any) -> bool:
    if expected == live or (expected in (None, [], {}) and live in (None, [], {})):
        return True
    try:
        return parse_quantity(str(expected)) == parse_quantity(str(live))
    except ValueError:
        return False


# ---- who


def managers(live: KubeObject, paths: list[Path]) -> tuple[str, ...]:
    """The others who own one of these fields (metadata.managedFields), the latest first."""
    entries = [
        entry
        for entry in live["metadata"].get("managedFields") or ()
        if entry.get("manager") != FIELD_MANAGER
        and entry.get("subresource") != "status"
        and any(_owns(entry.get("fieldsV1") or {}, path) for path in paths)
    ]
    entries.sort(key=lambda entry: str(entry.get("time", "")), reverse=True)
    return tuple(dict.fromkeys(str(entry.get("manager", "")) for entry in entries))


def _owns(fields: KubeObject, path: Path) -> bool:
    """Whether a FieldsV1 holds the field, something in it, or the whole of which it is a part."""
    for number, part in enumerate(path):
        if part.startswith("["):
            return True
        if f"f:{part}" not in fields:
            return bool(number) and not fields
        fields = fields[f"f:{part}"]
    return True
