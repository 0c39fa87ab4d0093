"""As much of JSON Schema as our OpenAPI document uses; any other keyword is an error, never passed over."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

type Schema = Mapping[str, Any]

_TYPES: dict[str, type | tuple[type, ...]] = {
    "array": list,
    "boolean": bool,
    "integer": int,
    "null": type(None),
    "number": (int, float),
    "object": dict,
    "string": str,
}
_NOTES = {"title", "description", "default"}
_CHECKED = {
    "$ref",
    "allOf",
    "anyOf",
    "type",
    "enum",
    "const",
    "format",
    "items",
    "properties",
    "required",
    "additionalProperties",
}
# Of what comes in, which Pydantic checks; known here, and not looked at.
_BOUNDS = {"minimum", "maximum", "maxLength"}


def fault(value: Any, schema: Schema, document: Schema, place: str = "$") -> str:
    """Where and why `value` does not fit, or ""."""
    unknown = set(schema) - _NOTES - _CHECKED - _BOUNDS
    assert not unknown, f"{place}: this checker does not know {unknown}"
    if "$ref" in schema:
        return fault(value, resolve(schema["$ref"], document), document, place)
    if "anyOf" in schema:
        faults = [fault(value, each, document, place) for each in schema["anyOf"]]
        return "" if "" in faults else "; ".join(faults)
    for each in schema.get("allOf", ()):
        if found := fault(value, each, document, place):
            return found
    return _own_fault(value, schema, place) or _inner_fault(value, schema, document, place)


def resolve(reference: str, document: Schema) -> Schema:
    """The schema a local reference names; KeyError if it names none."""
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    assert isinstance(found, dict)
    return found


def _own_fault(value: Any, schema: Schema, place: str) -> str:
    kind = schema.get("type")
    if kind and (not isinstance(value, _TYPES[kind]) or (kind == "integer" and isinstance(value, bool))):
        return f"{place}: {value!r} is no {kind}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{place}: {value!r} is none of {schema['enum']}"
    if "const" in schema and value != schema["const"]:
        return f"{place}: {value!r} is not {schema['const']!r}"
    if schema.get("format") == "date-time" and datetime.fromisoformat(value).tzinfo is None:
        return f"{place}: {value!r} has no time zone"
    return ""


def _inner_fault(value: Any, schema: Schema, document: Schema, place: str) -> str:
    if isinstance(value, list) and "items" in schema:
        faults = (fault(each, schema["items"], document, f"{place}[{i}]") for i, each in enumerate(value))
        return next(filter(None, faults), "")
    if not isinstance(value, dict):
        return ""
    properties = schema.get("properties", {})
    if missing := set(schema.get("required", ())) - set(value):
        return f"{place}: {missing} missing"
    others = schema.get("additionalProperties", not properties)  # ours name all their fields
    for name, each in value.items():
        inner = properties.get(name, others)
        if inner is False:
            return f"{place}: {name} is not in the document"
        if inner is not True and (found := fault(each, inner, document, f"{place}.{name}")):
            return found
    return ""
