"""Small questions that all parts of a run ask: what a node is called, where values come from."""

import ast
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sandboxes.screening.detectors import values
from sandboxes.screening.detectors.powers import (
    places_in,
)
from sandboxes.screening.detectors.values import (
    NOWHERE,
    Origin,
    Value,
)

FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
CREDENTIALS: Final = frozenset({Origin.CREDENTIALS})
DECODED: Final = frozenset({Origin.DECODED})
ENVIRONMENT: Final = frozenset({Origin.ENVIRONMENT})


def dotted(node: ast.expr) -> str:
    """ "a.b.c" of plain names; empty for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute) and len(parts) < 8:
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def item_name(over: Value) -> str:
    return f"{over.name}[]" if over.name else ""


def items_of(content: Any) -> Sequence[Any] | None:
    return content if isinstance(content, str | bytes | list | tuple) else None


def all_origins(given: Iterable[Value]) -> frozenset[Origin]:
    origins = NOWHERE
    for each in given:
        if each.origins:
            origins |= each.origins
    return origins


def handed_origins(words: dict[str, Value]) -> frozenset[Origin]:
    """The environment that a program or a tool is to run in is not in what comes back."""
    origins = NOWHERE
    for name, each in words.items():
        origins |= each.origins - ENVIRONMENT if name in ("env", "environ") else each.origins
    return origins


def texts_of(given: Iterable[Value]) -> tuple[str, ...]:
    return tuple(text[:2000] for each in given if each.known() for text in values.texts(each.const))[:50]


def path_origins(text: str) -> frozenset[Origin]:
    return CREDENTIALS if 4 < len(text) < 2000 and places_in(text) else NOWHERE
