"""Server-side apply: merging what a manager applies, and who owns what afterwards.

The rules (kubernetes.io, "Server-Side Apply"): a manager owns the fields it last
applied. Another value for a field that somebody else owns is a conflict, unless
forced; then ownership moves. A field that a manager applied before, does not apply
now, and shares with nobody is removed.
"""

import copy
from typing import Any

from sandboxes.cluster.simulator.errors import apply_conflict
from sandboxes.cluster.simulator.fields import (
    Json,
    Leaves,
    Path,
    decode,
    encode,
    is_atomic,
    is_set,
    item_key,
    leaves,
    list_keys,
    readable,
)

type Owners = list[tuple[Json, set[Path]]]


def apply(live: Json, applied: Json, *, manager: str, force: bool, now: str) -> Json:
    """The merged object. 409 with every conflict if others own other values."""
    wanted, present = leaves(applied), leaves(live)
    owners = _owners(live)
    own = next((entry for entry in owners if _is(entry[0], manager, "Apply")), None)
    others = [entry for entry in owners if entry is not own]
    conflicts = _conflicts(others, wanted, present)
    if conflicts and not force:
        raise apply_conflict([_cause(entry, path) for entry, path in conflicts])
    for entry, path in conflicts:
        next(paths for other, paths in others if other is entry).discard(path)
    merged = merge(live, applied)
    before = own[1] if own else set()
    shared = set().union(*(paths for _, paths in others))
    # Whole items first: without its key, an item could no longer be found.
    for path in sorted(before - wanted.keys() - shared, key=lambda path: (path[-1] != ".", -len(path))):
        if path[-1] != "." or not _below(path[:-1], shared):
            _remove(merged, path)
    entry = _entry(manager, "Apply", applied["apiVersion"], now)
    if own and before == wanted.keys():
        entry["time"] = own[0]["time"]
    merged["metadata"]["managedFields"] = _encoded([*others, (entry, set(wanted))])
    return merged


def track_update(live: Json | None, updated: Json, *, manager: str, now: str) -> None:
    """After a create, replace or patch: changed fields belong to `manager` now."""
    before: Leaves = leaves(live) if live else {}
    after = leaves(updated)
    changed = {path for path, value in after.items() if path not in before or before[path] != value}
    owners: Owners = []
    for entry, paths in _owners(live) if live else []:
        if _is(entry, manager, "Update"):
            changed |= paths & after.keys()
        else:
            owners.append((entry, (paths - changed) & after.keys()))
    owners.append((_entry(manager, "Update", updated["apiVersion"], now), changed))
    updated["metadata"]["managedFields"] = _encoded(owners)


def merge(live: Json, applied: Json) -> Json:
    """`live` with everything in `applied` laid over it; keyed lists item by item."""
    merged = copy.deepcopy(live)
    _merge_map(merged, {key: value for key, value in applied.items() if key != "status"})
    return merged


def _merge_map(target: Json, source: Json) -> None:
    for field, value in source.items():
        old = target.get(field)
        if isinstance(value, dict) and isinstance(old, dict) and not is_atomic(field):
            _merge_map(old, value)
        elif isinstance(value, list) and isinstance(old, list):
            target[field] = _merged_list(field, old, value)
        else:
            target[field] = copy.deepcopy(value)


def _merged_list(field: str, old: list[Any], new: list[Any]) -> list[Any]:
    if is_set(field):
        return [*new, *(member for member in old if member not in new)]
    keys = list_keys(field, new)
    if keys is None or list_keys(field, old) is None:
        return copy.deepcopy(new)
    items = {item_key(item, keys): item for item in old}
    result = []
    for item in new:
        known = items.pop(item_key(item, keys), {})
        _merge_map(known, item)
        result.append(known)
    return [*result, *items.values()]


def _conflicts(others: Owners, wanted: Leaves, present: Leaves) -> list[tuple[Json, Path]]:
    return [
        (entry, path)
        for entry, paths in others
        for path in sorted(paths & wanted.keys())
        if path in present and present[path] != wanted[path]
    ]


def _cause(entry: Json, path: Path) -> Json:
    who = f'conflict with "{entry["manager"]}"'
    if entry["operation"] != "Apply":
        who += f" using {entry['apiVersion']}"
    return {"reason": "FieldManagerConflict", "message": who, "field": readable(path)}


def _below(prefix: Path, paths: set[Path]) -> bool:
    return any(path[: len(prefix)] == prefix for path in paths)


def _remove(item: Json, path: Path) -> None:
    """Take the value at `path` out, and maps that are empty because of it."""
    trail: list[tuple[Json, str]] = []
    node: Any = item
    for number, part in enumerate(path):
        if part.startswith("f:"):
            if not isinstance(node, dict) or part[2:] not in node:
                return
            trail.append((node, part[2:]))
            node = node[part[2:]]
            continue
        parent, field = trail[-1]
        if part.startswith("v:") or path[number + 1 :] == (".",):
            parent[field] = [member for member in node if not _is_member(field, member, part)]
            _prune(trail)
            return
        node = next((member for member in node if _is_member(field, member, part)), None)
    parent, field = trail[-1]
    del parent[field]
    _prune(trail[:-1])


def _is_member(field: str, member: Any, part: str) -> bool:
    if part.startswith("k:"):
        keys = list_keys(field, [member])
        return keys is not None and item_key(member, keys) == part
    return next(iter(leaves({field: [member]})))[-1] == part


def _prune(trail: list[tuple[Json, str]]) -> None:
    for parent, field in reversed(trail):
        if field in ("metadata", "spec") or parent.get(field):
            return
        parent.pop(field, None)


def _owners(live: Json) -> Owners:
    return [(entry, decode(entry["fieldsV1"])) for entry in live["metadata"].get("managedFields") or ()]


def _is(entry: Json, manager: str, operation: str) -> bool:
    return bool(entry["manager"] == manager and entry["operation"] == operation)


def _encoded(owners: Owners) -> list[Json]:
    """Without managers that own nothing; in one order, so that the same again changes nothing at all."""
    entries = [{**entry, "fieldsV1": encode(paths)} for entry, paths in owners if paths]
    return sorted(entries, key=lambda entry: (entry["manager"], entry["operation"]))


def _entry(manager: str, operation: str, api_version: str, now: str) -> Json:
    return {
        "manager": manager,
        "operation": operation,
        "apiVersion": api_version,
        "time": now,
        "fieldsType": "FieldsV1",
    }
