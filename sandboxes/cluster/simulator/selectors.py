"""Label and field selectors, as query parameters and as objects."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from sandboxes.cluster.simulator.errors import bad_request

type Labels = Mapping[str, str]
type Selector = Callable[[Labels], bool]

_KEY: Final = r"(?P<key>[A-Za-z0-9][A-Za-z0-9_./-]*)"
_VALUE: Final = r"(?P<value>[A-Za-z0-9_.-]*)"
_EQUALITY: Final = re.compile(rf"^{_KEY}\s*(?P<operator>==|=|!=)\s*{_VALUE}$")
_SET: Final = re.compile(rf"^{_KEY}\s+(?P<operator>in|notin)\s*\((?P<values>[^()]*)\)$")
_EXISTS: Final = re.compile(rf"^(?P<operator>!?)\s*{_KEY}$")
_COMMA: Final = re.compile(r",(?![^(]*\))")
_FIELDS: Final = frozenset(("metadata.name", "metadata.namespace", "spec.nodeName", "status.phase", "type"))


def everything(labels: Labels) -> bool:
    """The selector that leaves nothing out."""
    return True


def parse_labels(text: str) -> Selector:
    """The `labelSelector` parameter. 400 if it cannot be read."""
    if not text.strip():
        return everything
    tests = [_requirement(part.strip()) for part in _COMMA.split(text) if part.strip()]
    return lambda labels: all(test(labels) for test in tests)


def equalities(text: str) -> list[tuple[str, str]]:
    """The labels that a `labelSelector` parameter asks for by their value: what an index can look up."""
    matches = (_EQUALITY.fullmatch(part.strip()) for part in _COMMA.split(text))
    return [(match["key"], match["value"]) for match in matches if match and match["operator"] != "!="]


def _requirement(text: str) -> Selector:
    if match := _EQUALITY.fullmatch(text):
        return _test(match["key"], "NotIn" if match["operator"] == "!=" else "In", {match["value"]})
    if match := _SET.fullmatch(text):
        values = {value.strip() for value in match["values"].split(",")}
        return _test(match["key"], "In" if match["operator"] == "in" else "NotIn", values)
    if match := _EXISTS.fullmatch(text):
        return _test(match["key"], "DoesNotExist" if match["operator"] else "Exists", set())
    raise bad_request(f"unable to parse requirement: {text!r}")


def _test(key: str, operator: str, values: set[str]) -> Selector:
    if operator == "In":
        return lambda labels: labels.get(key) in values
    if operator == "NotIn":
        return lambda labels: labels.get(key) not in values
    if operator == "Exists":
        return lambda labels: key in labels
    if operator == "DoesNotExist":
        return lambda labels: key not in labels
    raise bad_request(f"{operator!r} is not a valid label selector operator")


def from_object(selector: Mapping[str, Any]) -> Selector:
    """A `LabelSelector`. An empty one selects everything."""
    tests = [_test(key, "In", {value}) for key, value in (selector.get("matchLabels") or {}).items()]
    tests += [
        _test(entry["key"], entry["operator"], set(entry.get("values") or ()))
        for entry in selector.get("matchExpressions") or ()
    ]
    return lambda labels: all(test(labels) for test in tests)


def parse_fields(text: str) -> Callable[[Mapping[str, Any]], bool]:
    """The `fieldSelector` parameter, for the few fields that are indexed everywhere."""
    tests = []
    for part in filter(None, text.split(",")):
        field, operator, value = re.split(r"(==|!=|=)", part, maxsplit=1) if "=" in part else ("", "", "")
        if field not in _FIELDS:
            raise bad_request(f"field label not supported: {field or part}")
        tests.append((field.split("."), operator != "!=", value))
    return lambda item: all((_field(item, path) == value) is equal for path, equal, value in tests)


def _field(item: Mapping[str, Any], path: list[str]) -> str:
    value: Any = item
    for name in path:
        value = value.get(name, "") if isinstance(value, dict) else ""
    return str(value)
