"""JSON merge patch, and the parts of it that a strategic merge patch needs."""

import copy
from typing import Any

type Json = dict[str, Any]


def merge_patch(target: Any, patch: Any) -> Any:
    """JSON merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return copy.deepcopy(result)


def without_nulls(patch: Json) -> Json:
    """What a patch sets."""
    return {
        key: without_nulls(value) if isinstance(value, dict) else value
        for key, value in patch.items()
        if value is not None
    }


def only_nulls(patch: Json) -> Json:
    """What a patch removes."""
    found: Json = {}
    for key, value in patch.items():
        if value is None:
            found[key] = None
        elif isinstance(value, dict) and (inner := only_nulls(value)):
            found[key] = inner
    return found
