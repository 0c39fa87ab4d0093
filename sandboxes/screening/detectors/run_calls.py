"""Calls: of functions and classes of the same file, which are entered, and of methods of what is known."""

import ast
from collections.abc import Sequence
from typing import Any, Final

from sandboxes.screening.detectors import values
from sandboxes.screening.detectors.names_in_code import Scope
from sandboxes.screening.detectors.run_parts import (
    DECODED,
    FUNCTIONS,
    all_origins,
    dotted,
    handed_origins,
    texts_of,
)
from sandboxes.screening.detectors.run_state import State
from sandboxes.screening.detectors.values import (
    NOTHING,
    NOWHERE,
    UNKNOWN,
    Origin,
    Value,
    coming,
    constant,
)
from sandboxes.screening.findings import Ability

_CALLS: Final = 12  # of functions that call each other
_AGAIN: Final = 3  # times that one function is entered


class Calls(State):
    """Also what stands before a call is worth something."""

    def call(self, node: ast.Call, scope: Scope) -> Value:
        base: Value = NOTHING
        if isinstance(node.func, ast.Attribute):
            key = dotted(node.func)
            kept = scope.look_up(key) if key else NOTHING
            base = self.value(node.func.value, scope)
            function = kept if kept is not NOTHING else self.attribute(base, node.func.attr, scope)
        else:
            function = self.value(node.func, scope)
        arguments = [self.value(each, scope) for each in node.args]
        words = {word.arg or "**": self.value(word.value, scope) for word in node.keywords}
        if not self.layers:
            self.line = self.line_of(node)
        if isinstance(node.func, ast.Attribute) and base.known() and not base.name:
            folded = values.method(base.const, node.func.attr, [each.const for each in arguments])
            origins = base.origins | all_origins(arguments)
            if folded is not UNKNOWN and all(each.known() for each in arguments):
                return constant(folded, origins | _unpacked(node.func.attr, arguments))
            if node.func.attr == "format" and isinstance(base.const, str):
                return Value(const=base.const, origins=origins | all_origins(words.values()))
            if not function.name and function.code is None:
                return coming(origins)
        if function.code is not None:
            return self.enter(function, arguments, words)
        if not function.name:
            return self._anonymous(node, base, function, arguments, words)
        return self.named_call(function, arguments, words, node)

    def _anonymous(
        self, node: ast.Call, base: Value, function: Value, arguments: list[Value], words: dict[str, Value]
    ) -> Value:
        """A method of nobody knows what: where things come from still flows through it."""
        origins = base.origins | function.origins | all_origins(arguments) | handed_origins(words)
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("write", "writelines"):
            self._wrote(base, origins)
        return coming(origins)

    def _wrote(self, base: Value, origins: frozenset[Origin]) -> None:
        self.event(
            Ability.FILES, "write", f"{base.name or 'file'}.write", origins, texts_of([base]), constant=False
        )

    def enter(self, function: Value, arguments: Sequence[Value], words: dict[str, Value]) -> Value:
        """Into a function or class of the same file."""
        code = function.code
        if isinstance(code, ast.ClassDef):
            return self._instance(code, arguments, words)
        times = self.entered.get(id(code), 0)
        self.entered[id(code)] = times + 1
        if times >= _AGAIN or self.deep >= _CALLS:
            return Value(origins=all_origins(arguments))
        self.deep += 1
        scope = Scope(parent=function.within or self.globals, is_function=True)
        self._bind_parameters(code, function, arguments, words, scope)
        if isinstance(code, ast.Lambda):
            made = self.value(code.body, scope)
        else:
            self.block(code.body, scope)
            made = _together(scope.returned)
        self.deep -= 1
        return made

    def _bind_parameters(
        self, code: Any, function: Value, arguments: Sequence[Value], words: dict[str, Value], scope: Scope
    ) -> None:
        names = [each.arg for each in (*code.args.posonlyargs, *code.args.args)]
        if isinstance(function.owner, ast.ClassDef) and names and not _is_static(code):
            scope.bind(names[0], Value(owner=function.owner))
            names = names[1:]
        defaults = dict(zip(reversed(names), reversed(code.args.defaults), strict=False))
        for name, default in defaults.items():
            scope.bind(name, self.value(default, self.globals))
        for name, given in zip(names, arguments, strict=False):
            scope.bind(name, given)
        for name, given in words.items():
            scope.bind(name, given)
        for rest in (code.args.vararg, code.args.kwarg):
            if rest is not None:
                scope.bind(rest.arg, Value(origins=all_origins(arguments) | all_origins(words.values())))

    def _instance(self, code: ast.ClassDef, arguments: Sequence[Value], words: dict[str, Value]) -> Value:
        for name in ("__new__", "__init__", "__post_init__", "__enter__"):
            self.method(code, name, arguments, words)
        inner = self.globals.classes.get(id(code))
        names = inner.base_names if inner is not None else []
        # An instance of `class T(Thread)` that is started runs `run`.
        if any(name.endswith(("Thread", "Process", "Timer")) for name in names):
            self.method(code, "run", [])
        return Value(owner=code, origins=all_origins(arguments))

    def method(
        self, code: Any, name: str, arguments: Sequence[Value], words: dict[str, Value] | None = None
    ) -> None:
        if isinstance(code, ast.ClassDef):
            found = self.member(code, name)
            if found is not None and isinstance(found.code, FUNCTIONS):
                self.enter(found._replace(owner=code), arguments, words or {})


def _together(returned: Sequence[Value]) -> Value:
    if not returned:
        return NOTHING
    best = next(
        (each for each in returned if each.known() or each.name or each.code is not None), returned[-1]
    )
    return best._replace(origins=all_origins(returned))


def _unpacked(name: str, arguments: Sequence[Value]) -> frozenset[Origin]:
    if name != "decode" or not arguments or not isinstance(arguments[0].const, str):
        return NOWHERE
    packed = arguments[0].const.lower().replace("-", "").replace("_", "")
    return DECODED if packed in ("hex", "base64", "rot13", "zlib", "bz2") else NOWHERE


def _is_static(code: Any) -> bool:
    return any(dotted(each) == "staticmethod" for each in getattr(code, "decorator_list", ()))
