"""What JavaScript's own members and functions come to, and those of Node that matter."""

from __future__ import annotations

import re
from typing import Final

from sandboxes.screening.detectors.js_values import (
    ITEMS,
    LONGEST,
    UNKNOWN,
    Taint,
    Taints,
    Value,
    decoded,
    joined,
)
from sandboxes.screening.detectors.powers import places_in

_GLOBALS: Final = re.compile(r"^(?:globalThis|global|window|self)\.")
# Other ways to the same function.
_SAME: Final = {
    "module.require": "require",
    "require.main.require": "require",
    "process.mainModule.require": "require",
    "module.constructor._load": "require",
    "module._load": "require",
    "process.mainModule.constructor._load": "require",
    "process.getBuiltinModule": "require",
    "Buffer.Buffer": "Buffer",
    "buffer.Buffer": "Buffer",
    "process.default": "process",
    "child_process.default": "child_process",
}
_DECODERS: Final = {"atob": "base64", "unescape": "unescape", "decodeURIComponent": "unescape"}
_HOSTS: Final = frozenset(("os.hostname", "os.userInfo", "os.networkInterfaces"))
_READS: Final = frozenset(("fs.readFileSync", "fs.readFile", "fs.createReadStream"))
_HOMES: Final = frozenset(("process.env.HOME", "process.env.USERPROFILE"))
_SAME_TEXT: Final = frozenset(("toString", "trim", "valueOf", "normalize", "toLowerCase"))


def member_of(value: Value, name: str) -> Value:
    if value.function is not None:
        return Value(name="Function", taints=value.taints) if name == "constructor" else Value(function=None)
    if value.items is not None:
        if name.isdecimal():
            return value.items[int(name)] if int(name) < len(value.items) else UNKNOWN
        return Value(name=f"[].{name}" if name else "", taints=value.given)
    if value.text is not None:
        return Value(name=f"''.{name}" if name else "", taints=value.taints)
    if not value.name or not name:
        return Value(taints=value.taints)
    return _named(f"{value.name}.{name}", value.taints)


def _named(path: str, taints: Taints) -> Value:
    path = _GLOBALS.sub("", path).removesuffix(".default") if path != "globalThis.default" else path
    path = _SAME.get(path, path).replace("fs.promises.", "fs.")
    if path in _HOMES:
        return Value("~", taints=taints)
    if path.endswith((".bind", ".call", ".apply")):
        path = path.rpartition(".")[0]
    # The constructor of any function makes functions; of what is no function nobody calls it with a text.
    if re.search(r"(?:^\[\]\.\w+|^''\.\w+|\.constructor)\.constructor$", path):
        path = "Function"
    return Value(name=path[:200], taints=taints)


def returned(function: Value, base: Value, given: tuple[Value, ...]) -> Value | None:
    """Of functions that are known; None: it is none of them."""
    first = given[0] if given else UNKNOWN
    name = function.name
    if name in ("Buffer.from", "Buffer"):
        return _buffer(first, given[1].text if len(given) > 1 else None)
    if name in _DECODERS:
        return decoded(first, _DECODERS[name])
    if name in ("String.fromCharCode", "String.fromCodePoint"):
        return _characters(given)
    if name in ("module.createRequire", "module.Module.createRequire"):
        return Value(name="require")
    if name in ("path.join", "path.resolve", "path.posix.join"):
        return joined(list(given), "/")
    if name == "os.homedir":
        return Value("~")
    if name in _HOSTS:
        return Value(taints=frozenset({Taint.HOST}))
    if name in _READS:
        named = places_in(first.text) if first.text else []
        return Value(taints=first.taints | ({Taint.CREDENTIALS} if named else frozenset()))
    return _of_list(name, base, first) if base.items is not None else _of_text(name, base, given)


def called(function: Value, base: Value, given: tuple[Value, ...]) -> Value:
    """Of any other: what went in comes out."""
    taints = base.given | frozenset(taint for each in given for taint in each.given)
    if function.name in ("require", "Object"):
        return Value(taints=taints)
    return Value(name=f"{function.name[:180]}()" if function.name else "", taints=taints)


def _buffer(first: Value, way: str | None) -> Value:
    if way is None and first.items is not None:
        return _characters(first.items)
    return decoded(first, way) if way in ("base64", "base64url", "hex") else first


def _characters(numbers: tuple[Value, ...]) -> Value:
    if len(numbers) == 1 and numbers[0].items is not None:
        numbers = numbers[0].items
    texts = [each.text or "" for each in numbers[:ITEMS]]
    if not texts or not all(re.fullmatch(r"\d{1,6}|0x[0-9a-fA-F]{1,5}", text) for text in texts):
        return Value(taints=frozenset({Taint.DECODED}))
    codes = [int(text, 0) if text.startswith("0x") else int(text) for text in texts]
    letters = "".join(chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else "?" for code in codes)
    return Value(letters, taints=frozenset({Taint.DECODED, Taint.SPELLED}))


def _of_list(name: str, base: Value, first: Value) -> Value | None:
    items = base.items or ()
    if name == "[].join":
        return joined(list(items), first.text if first.text is not None else ",")
    if name == "[].reverse":
        return Value(items=items[::-1])
    if name in ("[].concat", "[].filter", "[].slice", "[].flat"):
        return Value(items=(*items, *(first.items or ()))[:ITEMS])
    return None


def _of_text(name: str, base: Value, given: tuple[Value, ...]) -> Value | None:
    if base.text is None or not name.startswith("''."):
        return None
    method, first = name[3:], given[0].text if given else None
    if method in _SAME_TEXT:
        return base
    if method == "concat":
        return joined([base, *given])
    if method == "split" and first is not None:
        parts = base.text.split(first) if first else list(base.text[:ITEMS])
        return Value(items=tuple(Value(part, taints=base.taints) for part in parts[:ITEMS]))
    if method == "replace" and first is not None and len(given) > 1 and given[1].text is not None:
        return Value(base.text.replace(first, given[1].text, 1)[:LONGEST], taints=base.taints)
    return Value(taints=base.taints)
