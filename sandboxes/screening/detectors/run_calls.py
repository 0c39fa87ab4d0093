"""Calls: of functions and classes of the same file, which are entered, and of methods of what is known."""

import ast
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from sandboxes.screening.detectors import values
from sandboxes.screening.detectors.names_in_code import BUILTINS, Scope, renamed
from sandboxes.screening.detectors.powers import FOREIGN_COMMAND, POWERS
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
_AGAIN: Final = 3  # times that one function is entered with the same arguments
_OTHERWISE: Final = 12  # times that it is entered altogether
# Words for what has power, and the modules that have it.
_TELLING: Final = frozenset(
    part
    for name, (_, kind) in {**POWERS, "base64.b64decode": (Ability.EXECUTE, "load")}.items()
    if kind in ("process", "execute", "load", "shellcode")
    for part in (name, *name.split("."))
)
# Names out of which others are made.
_LOOKED_UP: Final = (
    "__import__",
    "importlib.import_module",
    "getattr",
    "globals",
    "vars",
    "builtins",
    "__builtins__",
)
_WRAPPERS: Final = ("wraps", "update_wrapper", "isinstance", "callable", "getattr", "hasattr", "setattr")
_LONG: Final = 300  # characters of a text that may be code
_ITEMS: Final = 20  # of a list by which calls are told apart


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
        if not self._enters(code, arguments, words):
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

    def _enters(self, code: Any, arguments: Sequence[Value], words: dict[str, Value]) -> bool:
        """Whether it may; what is not looked at for that is told, unless it was with all that matters."""
        given = (
            id(code),
            self.rebound,
            *_told_apart(arguments),
            *sorted(words),
            *_told_apart(words.values()),
        )
        times, alike = self.entered.get(id(code), 0), self.given.get(given, 0)
        self.entered[id(code)], self.given[given] = times + 1, alike + 1
        if alike >= _AGAIN:
            return False
        if times < _OTHERWISE and self.deep < _CALLS:
            return True
        self.exhausted |= self.deep >= _CALLS or self._weighs(code, (*arguments, *words.values()))
        return False

    def _weighs(self, code: Any, given: Sequence[Value]) -> bool:
        """Whether a function may do more with these than with what it was given before."""
        if any(map(_is_power, given)) and _hands_on(code, nested=True):
            return True
        functions = [each.code for each in given if each.code is not None]
        followed = functions if functions and _hands_on(code, nested=False) else ()
        if any(self._has_power(node) for each in followed for node in ast.walk(each)):
            return True
        return any(map(_is_telling, given)) and self._reaches_power(code, set())

    def _reaches_power(self, code: Any, seen: set[int]) -> bool:
        """By itself, or through functions of the same file."""
        seen.add(id(code))
        for node in ast.walk(code):
            if self._has_power(node):
                return True
            if isinstance(node, ast.Call):
                if not isinstance(node.func, ast.Name | ast.Attribute):
                    return True  # out of a table, or what another call returned
                called = self.globals.look_up(dotted(node.func)).code
                if called is not None and id(called) not in seen and self._reaches_power(called, seen):
                    return True
        return False

    def _has_power(self, node: ast.AST) -> bool:
        if not isinstance(node, ast.Name | ast.Attribute):
            return False
        first, _, rest = dotted(node).partition(".")
        found = self.globals.look_up(first).name or BUILTINS.get(first, first)
        name = renamed(f"{found}.{rest}" if rest else found)
        return name in POWERS or name in _LOOKED_UP or values.decodes(name)

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


def _is_power(given: Value) -> bool:
    return given.name in POWERS or given.name in _TELLING or values.decodes(given.name)


def _hands_on(code: Any, *, nested: bool) -> bool:
    """Whether it calls one of its arguments, or gives it away. `nested`: or a function in it does, as decorators do
    with what they wrap."""
    names = {each.arg for each in ast.walk(code.args) if isinstance(each, ast.arg)}
    left: list[ast.AST] = list(code.body) if isinstance(code.body, list) else [code.body]
    while left:
        node = left.pop()
        if not nested and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            left += getattr(node, "decorator_list", ())
            continue
        if isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] not in _WRAPPERS:
            inside = (each for each in ast.walk(node) if isinstance(each, ast.Name))
            if any(each.id in names for each in inside):
                return True
        left += ast.iter_child_nodes(node)
    return False


def _is_telling(given: Value) -> bool:
    texts = values.texts(given.const) if given.known() else ()
    return bool(given.origins) or any(
        len(each) > _LONG or each in _TELLING or FOREIGN_COMMAND.search(each) is not None for each in texts
    )


def _told_apart(given: Iterable[Value]) -> Iterator[object]:
    """What sets one call's arguments apart from another's, as far as a function can do something else with it."""
    for each in given:
        const = each.const
        if isinstance(const, list | tuple):
            scalars = len(const) <= _ITEMS and all(isinstance(item, str | bytes | int) for item in const)
            const = tuple(const) if scalars else id(const)
        yield each.name, each.origins, id(each.code), const


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
