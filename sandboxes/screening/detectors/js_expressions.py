"""What an expression in a syntax tree of JavaScript comes to, calls apart."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from sandboxes.screening.detectors.js_calls import member_of
from sandboxes.screening.detectors.js_values import ITEMS, UNKNOWN, Scope, Taint, Value, joined, unescaped

if TYPE_CHECKING:
    from tree_sitter import Node


class Expressions(ABC):
    """Half of `js_following.Following`: each method is for one kind of node."""

    world: dict[str, Value]  # what was made global

    @abstractmethod
    def value(self, node: Node, scope: Scope) -> Value:
        """Of any node."""

    def string_(self, node: Node, scope: Scope) -> Value:
        return unescaped(text_of(node)[1:-1])

    def template_(self, node: Node, scope: Scope) -> Value:
        parts = []
        for child in node.named_children:
            if child.type == "template_substitution":
                parts.append(self.value(child.named_children[0], scope) if child.named_children else UNKNOWN)
            else:
                parts.append(unescaped(text_of(child)))
        if any(part.text is None for part in parts) or len(parts) > 1:
            return joined(parts)
        return parts[0] if parts else Value("")

    def identifier_(self, node: Node, scope: Scope) -> Value:
        name = text_of(node)
        found = scope.look_up(name)
        return found if found is not None else self.world.get(name, member_of(Value(name="globalThis"), name))

    def member_(self, node: Node, scope: Scope) -> Value:
        inner, name = node.child_by_field_name("object"), node.child_by_field_name("property")
        if inner is None or name is None:
            return UNKNOWN
        found = member_of(self.value(inner, scope), text_of(name))
        return self.world.get(found.name, found)

    def subscript_(self, node: Node, scope: Scope) -> Value:
        inner, index = node.child_by_field_name("object"), node.child_by_field_name("index")
        if inner is None or index is None:
            return UNKNOWN
        base, key = self.value(inner, scope), self.value(index, scope)
        found = member_of(base, key.text if key.text is not None else "")
        found = self.world.get(found.name, found)
        return found.tainted(*(key.taints & {Taint.SPELLED, Taint.DECODED})) if found.name else found

    def number_(self, node: Node, scope: Scope) -> Value:
        return Value(text_of(node))

    def binary_(self, node: Node, scope: Scope) -> Value:
        """Its left side as a chain: a sum of a thousand texts is a thousand deep."""
        parts: list[Node] = []
        operators = set()
        here: Node | None = node
        while here is not None and here.type == "binary_expression" and len(parts) < 10_000:
            right, left = here.child_by_field_name("right"), here.child_by_field_name("left")
            operators.add(text_of(here.child_by_field_name("operator")))
            if right is not None:
                parts.append(right)
            here = left
        values = [self.value(each, scope) for each in ([here] if here is not None else []) + parts[::-1]]
        if operators == {"+"}:
            return joined(values)
        return next((each for each in values if each.name or each.text is not None), UNKNOWN)

    def either_(self, node: Node, scope: Scope) -> Value:
        values = [self.value(each, scope) for each in node.named_children]
        said = values[1:] if node.type == "ternary_expression" else values[-1:]
        taints = frozenset(taint for each in said for taint in each.taints)
        first = next((each for each in said if each.name or each.text is not None or each.function), UNKNOWN)
        return first.tainted(*taints)

    def array_(self, node: Node, scope: Scope) -> Value:
        items = tuple(self.value(each, scope) for each in node.named_children[:ITEMS])
        return Value(items=items)

    def object_(self, node: Node, scope: Scope) -> Value:
        """Of what is in it only where that is from."""
        taints: set[Taint] = set()
        for each in node.named_children[: 10 * ITEMS]:
            if each.type == "pair":
                given = each.child_by_field_name("value")
                taints |= self.value(given, scope).given if given is not None else set()
            elif each.type == "spread_element" and each.named_children:
                taints |= self.value(each.named_children[0], scope).given
            elif each.type == "shorthand_property_identifier":
                taints |= self.identifier_(each, scope).given
            else:
                self.value(each, scope)
        return Value(taints=frozenset(taints))

    def spread_(self, node: Node, scope: Scope) -> Value:
        return self.value(node.named_children[0], scope) if node.named_children else UNKNOWN


def text_of(node: Node | None) -> str:
    return (node.text or b"").decode("utf-8", "replace") if node is not None else ""
