"""Following one file of JavaScript through its syntax tree: what its names stand for, and what it calls.

Names are tracked through `require`, `import`, destructuring, aliases and texts that are put together or decoded.
Branches are all taken, loops once, and of the file's own functions what they return is known where that is one
expression. A function runs at load if what runs at load calls it, or gives it to something as a callback.
Depth, steps and sizes are bounded; what is left out then is told by `cut`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandboxes.screening.detectors.js_calls import called, member_of, returned
from sandboxes.screening.detectors.js_expressions import Expressions, text_of
from sandboxes.screening.detectors.js_values import (
    ITEMS,
    UNKNOWN,
    Function,
    Scope,
    Taint,
    Taints,
    Value,
    joined,
)

if TYPE_CHECKING:
    from tree_sitter import Node

_DEEPEST: Final = 100  # nodes inside of each other, but for chains of operators
_INLINED: Final = 4  # calls inside of each other that are followed for what they return
_FUNCTIONS: Final = frozenset(
    ("function_declaration", "function_expression", "arrow_function", "method_definition",
     "generator_function", "generator_function_declaration")
)  # fmt: skip
_DECLARED: Final = frozenset(("function_declaration", "generator_function_declaration"))
_GLOBAL: Final = ("global", "window", "self")
_HOLDERS: Final = frozenset(("assignment_pattern", "object_assignment_pattern", "rest_pattern"))
_MEMBERS: Final = frozenset(("member_expression", "subscript_expression"))
_THROUGH: Final = frozenset(("parenthesized_expression", "await_expression", "non_null_expression"))


@dataclass(frozen=True, slots=True)
class Call:
    """`name` was called, by the function `owner` (None: by the file itself)."""

    name: str
    arguments: tuple[Value, ...]
    taints: Taints  # of what it belongs to: `x` in `x.send()`
    owner: int | None
    line: int


class Following(Expressions):
    def __init__(self, root: Node, steps: int) -> None:
        """`steps`: nodes that are looked at."""
        self.calls: list[Call] = []
        self.required: list[str] = []  # files, as they are named
        self.left = steps
        self.cut = False
        self._calls_between: list[tuple[int | None, int]] = []
        self._inlined = 0
        self._depth = 0
        self._owner: int | None = None
        self.world = {}
        self._block(root, Scope())

    def at_load(self) -> frozenset[int | None]:
        """The owners of what runs when the file is loaded."""
        found: set[int | None] = {None}
        fresh: set[int | None] = {None}
        while fresh:
            reached: set[int | None] = {to for owner, to in self._calls_between if owner in fresh}
            fresh = reached - found
            found |= fresh
        return frozenset(found)

    # ---- statements

    def _block(self, node: Node, scope: Scope) -> None:
        children = node.named_children
        for child in children:
            if child.type in _DECLARED and (name := text_of(child.child_by_field_name("name"))):
                scope.names[name] = Value(function=Function(child, scope))
        for child in children:
            self.value(child, scope)

    def value(self, node: Node, scope: Scope) -> Value:
        self.left -= 1
        if self.left <= 0 or self._depth >= _DEEPEST:
            self.cut = True
            return UNKNOWN
        self._depth += 1
        try:
            return self._value(node, scope)
        finally:
            self._depth -= 1

    def _value(self, node: Node, scope: Scope) -> Value:
        kind = node.type
        if kind in _FUNCTIONS:
            return self._function(node, scope)
        if kind in _THROUGH:
            inner = node.named_children
            return self.value(inner[0], scope) if inner else UNKNOWN
        judged = _KINDS.get(kind)
        if judged is not None:
            return judged(self, node, scope)
        self._block(node, scope)
        return UNKNOWN

    def _function(self, node: Node, scope: Scope, given: tuple[Value, ...] = ()) -> Value:
        """Its body, with parameters that nobody knows, or that somebody gave."""
        inside = Scope(scope)
        if name := text_of(node.child_by_field_name("name")):
            inside.names[name] = Value(function=Function(node, scope))
        self._bind_parameters(node, inside, given)
        body = node.child_by_field_name("body")
        owner, self._owner = self._owner, node.id
        if body is not None:
            self.value(body, inside)
        self._owner = owner
        return Value(function=Function(node, scope))

    def _bind_parameters(self, node: Node, inside: Scope, given: tuple[Value, ...]) -> None:
        single = node.child_by_field_name("parameter")
        listed = node.child_by_field_name("parameters")
        parameters = [single] if single is not None else listed.named_children if listed is not None else []
        for number, parameter in enumerate(parameters[:ITEMS]):
            self._bind(parameter, given[number] if number < len(given) else UNKNOWN, inside, fresh=True)

    def _bind(self, target: Node, value: Value, scope: Scope, *, fresh: bool) -> None:
        kind = target.type
        if kind in ("identifier", "shorthand_property_identifier_pattern"):
            name = text_of(target)
            if fresh:
                scope.names[name] = value
            else:
                scope.assign(name, value)
        elif kind == "object_pattern":
            for each in target.named_children[:ITEMS]:
                self._bind_property(each, value, scope, fresh=fresh)
        elif kind == "array_pattern":
            for number, each in enumerate(target.named_children[:ITEMS]):
                known = value.items is not None and number < len(value.items)
                item = value.items[number] if known and value.items else Value(taints=value.taints)
                self._bind(each, item, scope, fresh=fresh)
        elif kind in _HOLDERS and target.named_children:
            self._bind(target.named_children[0], value, scope, fresh=fresh)
        else:
            self._bind_member(target, value, scope)

    def _bind_member(self, target: Node, value: Value, scope: Scope) -> None:
        """`global.x = y` is a name everywhere."""
        path = self.value(target, scope).name if target.type in _MEMBERS else ""
        if path.isidentifier() and text_of(target).startswith(_GLOBAL):
            self.world[path] = value

    def _bind_property(self, each: Node, value: Value, scope: Scope, *, fresh: bool) -> None:
        if each.type == "pair_pattern":
            key, inner = each.child_by_field_name("key"), each.child_by_field_name("value")
            if key is not None and inner is not None:
                self._bind(inner, member_of(value, self._key(key, scope)), scope, fresh=fresh)
        elif each.type == "rest_pattern":
            self._bind(each, value, scope, fresh=fresh)
        else:
            name = each.named_children[0] if each.type == "object_assignment_pattern" else each
            self._bind(name, member_of(value, text_of(name)), scope, fresh=fresh)

    def _key(self, key: Node, scope: Scope) -> str:
        if key.type == "string":
            return self.value(key, scope).text or ""
        if key.type == "computed_property_name":
            return self.value(key.named_children[0], scope).text or "" if key.named_children else ""
        return text_of(key)

    def declared_(self, node: Node, scope: Scope) -> Value:
        name, given = node.child_by_field_name("name"), node.child_by_field_name("value")
        value = self.value(given, scope) if given is not None else UNKNOWN
        if name is not None:
            self._bind(name, value, scope, fresh=True)
        return UNKNOWN

    def assigned_(self, node: Node, scope: Scope) -> Value:
        left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
        value = self.value(right, scope) if right is not None else UNKNOWN
        if node.type == "augmented_assignment_expression" and left is not None:
            value = joined([self.value(left, scope), value])
        if left is not None:
            self._bind(left, value, scope, fresh=False)
        return value

    def loop_(self, node: Node, scope: Scope) -> Value:
        left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
        listed = self.value(right, scope) if right is not None else UNKNOWN
        if left is not None:
            item = listed.items[0] if listed.items else Value(taints=listed.given)
            self._bind(left, item, scope, fresh=True)
        body = node.child_by_field_name("body")
        return self.value(body, scope) if body is not None else UNKNOWN

    def caught_(self, node: Node, scope: Scope) -> Value:
        parameter, body = node.child_by_field_name("parameter"), node.child_by_field_name("body")
        if parameter is not None:
            self._bind(parameter, UNKNOWN, scope, fresh=True)
        return self.value(body, scope) if body is not None else UNKNOWN

    def imported_(self, node: Node, scope: Scope) -> Value:
        source = node.child_by_field_name("source")
        named = self.value(source, scope).text if source is not None else None
        module = self._module(named or "")
        for clause in node.named_children:
            for each in clause.named_children if clause.type == "import_clause" else ():
                if each.type == "named_imports":
                    for one in each.named_children:
                        name, alias = one.child_by_field_name("name"), one.child_by_field_name("alias")
                        scope.names[text_of(alias or name)] = member_of(module, text_of(name))
                elif each.type == "namespace_import" and each.named_children:
                    scope.names[text_of(each.named_children[0])] = module
                else:
                    scope.names[text_of(each)] = module
        return UNKNOWN

    def exported_(self, node: Node, scope: Scope) -> Value:
        source = node.child_by_field_name("source")
        if source is not None:
            self._module(self.value(source, scope).text or "")
            return UNKNOWN
        self._block(node, scope)
        return UNKNOWN

    def _module(self, name: str) -> Value:
        if name.startswith((".", "/")):
            self.required.append(name)
            return UNKNOWN
        return Value(name=name.removeprefix("node:").replace("/", "."))

    # ---- calls

    def call_(self, node: Node, scope: Scope) -> Value:
        target = node.child_by_field_name("constructor" if node.type == "new_expression" else "function")
        listed = node.child_by_field_name("arguments")
        if target is None:
            return UNKNOWN
        function = self.value(target, scope) if target.type != "import" else Value(name="require")
        base = self._base(target, scope)
        given = tuple(self._argument(each, scope, function, base) for each in _arguments(listed))
        self._noted(node, function, base, given)
        if function.name == "require":
            return self._required(given)
        made = returned(function, base, given)
        if made is not None:
            return made
        return self._own(function, base, given)

    def _base(self, target: Node, scope: Scope) -> Value:
        """What the function belongs to; looked at already, so nothing is noted twice."""
        inner = target.child_by_field_name("object")
        if inner is None:
            return UNKNOWN
        calls, between, required = len(self.calls), len(self._calls_between), len(self.required)
        found = self.value(inner, scope)
        del self.calls[calls:], self._calls_between[between:], self.required[required:]
        return found

    def _argument(self, node: Node, scope: Scope, function: Value, base: Value) -> Value:
        if node.type not in _FUNCTIONS:
            value = self.value(node, scope)
            if value.function is not None:
                self._calls_between.append((self._owner, value.function.node.id))
            return value
        self._calls_between.append((self._owner, node.id))
        taints = (base.taints | function.taints) - {Taint.SPELLED}
        if _FETCHES.search(function.name) or _FETCHES.search(base.name):
            taints |= {Taint.DOWNLOADED}
        if base.items is not None and len(base.items) <= ITEMS and function.name.endswith("map"):
            return Value(function=Function(node, scope))
        return self._function(node, scope, (Value(taints=taints), Value(taints=taints)))

    def _noted(self, node: Node, function: Value, base: Value, given: tuple[Value, ...]) -> None:
        if function.function is not None:
            self._calls_between.append((self._owner, function.function.node.id))
        if function.name:
            line = node.start_point[0] + 1
            taints = base.taints | function.taints
            self.calls.append(Call(function.name, given, taints, self._owner, line))

    def _required(self, given: tuple[Value, ...]) -> Value:
        first = given[0] if given else UNKNOWN
        if first.text is None:
            return UNKNOWN
        return self._module(first.text).tainted(*(first.taints & {Taint.SPELLED, Taint.DECODED}))

    def _own(self, function: Value, base: Value, given: tuple[Value, ...]) -> Value:
        """What a function of the file returns, if that is one expression."""
        mapped = base.items is not None and given and given[0].function is not None
        if mapped and function.name.endswith("map"):
            own = given[0].function
            return Value(items=tuple(self._result(own, (item,)) for item in base.items or ()))
        if function.function is not None and not function.name:
            return self._result(function.function, given)
        return called(function, base, given)

    def _result(self, own: Function | None, given: tuple[Value, ...]) -> Value:
        expression = _returned_by(own.node) if own is not None else None
        if own is None or expression is None or self._inlined >= _INLINED:
            return Value(taints=frozenset(taint for each in given for taint in each.given))
        self._inlined += 1
        inside = Scope(own.scope)
        self._bind_parameters(own.node, inside, given)
        calls, between = len(self.calls), len(self._calls_between)
        found = self.value(expression, inside)
        del self.calls[calls:], self._calls_between[between:]  # its body is looked at by itself
        self._inlined -= 1
        return found


def _arguments(listed: Node | None) -> list[Node]:
    if listed is None:
        return []
    return [listed] if listed.type == "template_string" else listed.named_children[:ITEMS]


def _returned_by(function: Node) -> Node | None:
    body = function.child_by_field_name("body")
    if body is None or body.type != "statement_block":
        return body
    statements = [each for each in body.named_children if each.type != "comment"]
    last = statements[-1] if statements and len(statements) <= 3 else None
    if last is None or last.type != "return_statement" or not last.named_children:
        return None
    return last.named_children[0]


def _nothing(following: Following, node: Node, scope: Scope) -> Value:
    return UNKNOWN


_FETCHES: Final = re.compile(
    r"^(?:https?\.(?:get|request)|fetch|axios|got|node-fetch|request|undici\.(?:fetch|request)|net\.connect"
    r"|net\.createConnection|bent|superagent|needle|ws|WebSocket|socket\.io-client)\b"
)
_KINDS: Final[dict[str, Callable[[Following, Node, Scope], Value]]] = {
    "comment": _nothing,
    "regex": _nothing,
    "string": Following.string_,
    "template_string": Following.template_,
    "identifier": Following.identifier_,
    "number": Following.number_,
    "member_expression": Following.member_,
    "subscript_expression": Following.subscript_,
    "binary_expression": Following.binary_,
    "ternary_expression": Following.either_,
    "sequence_expression": Following.either_,
    "array": Following.array_,
    "object": Following.object_,
    "spread_element": Following.spread_,
    "call_expression": Following.call_,
    "new_expression": Following.call_,
    "variable_declarator": Following.declared_,
    "assignment_expression": Following.assigned_,
    "augmented_assignment_expression": Following.assigned_,
    "for_in_statement": Following.loop_,
    "catch_clause": Following.caught_,
    "import_statement": Following.imported_,
    "export_statement": Following.exported_,
}
