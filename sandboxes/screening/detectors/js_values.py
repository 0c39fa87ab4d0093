"""What an expression of JavaScript comes to, as far as its text says: texts, names, functions, and where they are from.

Nothing is run. What is not known is `UNKNOWN`, which is no reason to think ill of it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from tree_sitter import Node

LONGEST: Final = 100_000  # characters of a text
ITEMS: Final = 300  # of a list
HOLE: Final = "{}"  # in a text, for what is not known


class Taint(StrEnum):
    DECODED = "decoded"  # was base64, hexadecimal, numbers
    SPELLED = "spelled"  # was put together from pieces
    DOWNLOADED = "downloaded"
    ENVIRONMENT = "environment"  # all of it
    CREDENTIALS = "credentials"  # a file of such
    HOST = "host"  # who and where this is


type Taints = frozenset[Taint]
NONE: Final[Taints] = frozenset()


@dataclass(frozen=True, slots=True)
class Function:
    node: Node
    scope: Scope


@dataclass(frozen=True, slots=True)
class Value:
    text: str | None = None
    name: str = ""  # "child_process.exec"; of what a call returned: "https.request()"
    items: tuple[Value, ...] | None = None
    taints: Taints = NONE
    function: Function | None = None

    def tainted(self, *more: Taint) -> Value:
        return Value(self.text, self.name, self.items, self.taints | frozenset(more), self.function)

    @property
    def given(self) -> Taints:
        """What goes along where this is handed on as a value."""
        inside = frozenset(taint for each in self.items or () for taint in each.given)
        whole = {Taint.ENVIRONMENT} if self.name == "process.env" else NONE
        return self.taints | inside | whole


UNKNOWN: Final = Value()


@dataclass(slots=True)
class Scope:
    outer: Scope | None = None
    names: dict[str, Value] = field(default_factory=dict)

    def look_up(self, name: str) -> Value | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.outer
        return None

    def assign(self, name: str, value: Value) -> None:
        scope: Scope | None = self
        while scope is not None and name not in scope.names:
            scope = scope.outer
        (scope or self).names[name] = value


def joined(parts: list[Value], between: str = "") -> Value:
    """One text; where a part is not known, with a hole."""
    taints = frozenset(taint for part in parts for taint in part.given)
    known = [HOLE if part.text is None else part.text for part in parts]
    if all(part.text is None for part in parts):
        return Value(taints=taints)
    literal = sum(part.text is not None for part in parts) > 1
    return Value(between.join(known)[:LONGEST], taints=taints | ({Taint.SPELLED} if literal else NONE))


def decoded(value: Value, way: str) -> Value:
    """By `Buffer.from(…, way)`, `atob`, `unescape`."""
    if value.text is None:
        return Value(taints=value.taints | {Taint.DECODED})
    try:
        return Value(_WAYS[way](value.text[:LONGEST]), taints=value.taints | {Taint.DECODED})
    except (KeyError, ValueError, binascii.Error):
        return Value(value.text, taints=value.taints)


def _base64(text: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9+/]", "", text.replace("-", "+").replace("_", "/"))
    return base64.b64decode(plain[: len(plain) - (len(plain) % 4 == 1)] + "=" * (-len(plain) % 4)).decode(
        "utf-8", "replace"
    )


def _hex(text: str) -> str:
    digits = re.match(r"(?:[0-9a-fA-F]{2})*", text)
    return bytes.fromhex(digits[0] if digits else "").decode("utf-8", "replace")


_WAYS: Final[dict[str, Callable[[str], str]]] = {
    "base64": _base64,
    "base64url": _base64,
    "hex": _hex,
    "unescape": unquote,
}

_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0", "\n": ""}
_ESCAPE: Final = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|u\{([0-9a-fA-F]{1,6})\}|([\s\S]))")


def unescaped(text: str) -> Value:
    """What stands between quotes. Letters that are written as numbers hide, so that is remembered."""
    if "\\" not in text:
        return Value(text[:LONGEST])
    plain = _ESCAPE.sub(_character, text[:LONGEST])
    hides = re.search(r"\\(?:x[4-7]|u00[4-7])", text) is not None and re.search(r"[A-Za-z]{3}", plain)
    return Value(plain, taints=frozenset({Taint.SPELLED}) if hides else NONE)


def _character(match: re.Match[str]) -> str:
    digits = match[1] or match[2] or match[3]
    if digits:
        number = int(digits, 16)
        return chr(number) if number < 0x110000 and not 0xD800 <= number < 0xE000 else "?"
    return _ESCAPES.get(match[4], match[4])
