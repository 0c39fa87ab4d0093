"""What expressions are worth, folded as far as their parts are known."""

import ast
from collections.abc import Sequence
from typing import Any, ClassVar

from sandboxes.screening.detectors import values
from sandboxes.screening.detectors.names_in_code import BUILTINS, Scope, renamed
from sandboxes.screening.detectors.powers import (
    POWERS,
    SECRET_NAME,
)
from sandboxes.screening.detectors.run_parts import (
    FUNCTIONS,
    dotted,
    item_name,
    items_of,
    path_origins,
)
from sandboxes.screening.detectors.run_state import DEPTH, State, TooMuch
from sandboxes.screening.detectors.values import (
    NOTHING,
    NOWHERE,
    UNKNOWN,
    Origin,
    Value,
    coming,
    constant,
    just,
    named,
)


class Expressions(State):
    """`value` is what everything asks for."""

    def value(self, node: ast.expr, scope: Scope) -> Value:
        self.steps -= 1
        if self.steps < 0:
            raise TooMuch
        kind = type(node)
        if kind is ast.Name:
            return self._name(node, scope)  # type: ignore[arg-type]  # the most frequent kind, without the way round
        if self.depth > DEPTH + 40:
            self.exhausted = True
            return NOTHING
        self.depth += 1
        handler = self._EXPRESSIONS.get(kind, Expressions._parts)
        made: Value = handler(self, node, scope)
        self.depth -= 1
        if isinstance(made.const, str | bytes) and len(made.const) > 1000:
            self.step(len(made.const) // 1000)
        return made

    def _parts(self, node: ast.expr, scope: Scope) -> Value:
        """Of any other expression: only where its parts come from."""
        origins = NOWHERE
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                origins |= self.value(child, scope).origins
        return coming(origins)

    def _constant(self, node: ast.Constant, scope: Scope) -> Value:
        return just(node.value) if not isinstance(node.value, complex) else NOTHING

    def _name(self, node: ast.Name, scope: Scope) -> Value:
        found = scope.look_up(node.id)
        if found is not NOTHING:
            return found
        if node.id in BUILTINS:
            return named(BUILTINS[node.id])
        for base in scope.star_modules():
            whole = renamed(f"{base}.{node.id}")
            if whole in POWERS or values.decodes(whole) or whole == "os.environ":
                return self._of_name(whole)
        if node.id == "__file__":
            return NOTHING
        return Value(name=node.id) if node.id in ("__loader__", "__spec__") else NOTHING

    def _attribute(self, node: ast.Attribute, scope: Scope) -> Value:
        key = dotted(node)
        if key:
            kept = scope.look_up(key)
            if kept is not NOTHING:
                return kept
        base = self.value(node.value, scope)
        return self.attribute(base, node.attr, scope)

    def attribute(self, base: Value, name: str, scope: Scope) -> Value:
        if isinstance(base.code, ast.ClassDef) or (base.owner is not None and base.code is None):
            owner = base.code or base.owner
            found = self.member(owner, name)
            if found is None:
                return coming(base.origins)
            return found._replace(owner=owner) if isinstance(found.code, FUNCTIONS) else found
        if name == "__dict__" and base.name:
            return Value(name=f"vars({base.name})")
        if base.name == "__builtins__" or base.name == "builtins":
            return Value(name=BUILTINS.get(name, name))
        if base.name:
            kept = base.const if base.name in ("open()", "pathlib.Path()") else UNKNOWN
            made = self._of_name(renamed(f"{base.name}.{name}"), base.origins)
            if base.read_from:
                made = made._replace(read_from=base.read_from)
            return made if kept is UNKNOWN else made._replace(const=kept)
        return coming(base.origins)

    def _of_name(self, name: str, origins: frozenset[Origin] = NOWHERE) -> Value:
        if name in ("os.environ", "os.environb"):
            origins |= {Origin.ENVIRONMENT}
        return named(name, origins)

    def _subscript(self, node: ast.Subscript, scope: Scope) -> Value:
        base = self.value(node.value, scope)
        if isinstance(node.slice, ast.Slice):
            return self._sliced(base, node.slice, scope)
        index = self.value(node.slice, scope)
        return self.item(base, index, scope)

    def item(self, base: Value, index: Value, scope: Scope) -> Value:
        if base.name in ("os.environ", "os.environb"):
            return self.variable(index)
        if base.known() and index.known():
            return constant(values.indexed(base.const, index.const), base.origins)
        if isinstance(index.const, str):
            if base.name.startswith("vars(") and base.name.endswith(")"):
                return self.attribute(Value(name=base.name[5:-1]), index.const, scope)
            if base.name == "sys.modules":
                return Value(name=index.const)
            if base.name == "globals()":
                found = self.globals.look_up(index.const)
                return found if found is not NOTHING else Value(name=BUILTINS.get(index.const, index.const))
            if base.name in ("__builtins__", "builtins"):
                return Value(name=BUILTINS.get(index.const, index.const))
        return Value(name=f"{base.name}[]" if base.name else "", origins=base.origins)

    def _sliced(self, base: Value, part: ast.Slice, scope: Scope) -> Value:
        edges = [
            self.value(each, scope) if each is not None else Value(const=None)
            for each in (part.lower, part.upper, part.step)
        ]
        if base.known() and all(each.known() for each in edges):
            try:
                cut = base.const[edges[0].const : edges[1].const : edges[2].const]
            except Exception:  # noqa: BLE001 - no such slice
                return coming(base.origins)
            backwards = edges[2].const == -1
            return constant(cut, base.origins | ({Origin.DECODED} if backwards else NOWHERE))
        return coming(base.origins)

    def variable(self, index: Value) -> Value:
        text = index.const if isinstance(index.const, str) else ""
        return Value(origins=frozenset({Origin.VARIABLE}) if SECRET_NAME.search(text) else NOWHERE)

    def _binary(self, node: ast.BinOp, scope: Scope) -> Value:
        # "a" + "b" + … is deep on its left side; it is gone through as a list.
        spine: list[ast.BinOp] = []
        left: ast.expr = node
        while isinstance(left, ast.BinOp):
            spine.append(left)
            left = left.left
            self.step()
        made = self.value(left, scope)
        for each in reversed(spine):
            made = self.two(each.op, made, self.value(each.right, scope))
        return made

    def two(self, operation: ast.operator, left: Value, right: Value) -> Value:
        origins = left.origins | right.origins
        if left.known() and right.known():
            return constant(values.binary(type(operation), left.const, right.const), origins)
        if isinstance(operation, ast.BitXor) and (left.origins or right.origins):
            origins |= {Origin.DECODED}
        if isinstance(left.const, str) and isinstance(operation, ast.Mod):
            return Value(const=left.const, origins=origins)
        if left.name.startswith("pathlib.") and isinstance(operation, ast.Div):
            text = (
                f"{left.const if isinstance(left.const, str) else ''}/{right.const if right.known() else ''}"
            )
            return Value(name="pathlib.Path()", const=text, origins=origins | path_origins(text))
        # A known part of an unknown text still tells what it is: os.path.expanduser("~") + "/.ssh/id_rsa".
        for each in (left, right):
            if isinstance(each.const, str) and isinstance(operation, ast.Add) and not each.name:
                whole = f"{each.const}{{}}" if each is left else f"{{}}{each.const}"
                return Value(const=whole, origins=origins | path_origins(each.const))
        return coming(origins)

    def _joined(self, node: ast.JoinedStr, scope: Scope) -> Value:
        pieces: list[str] | None = []
        origins = NOWHERE
        length = 0
        for each in node.values:
            inner = each.value if isinstance(each, ast.FormattedValue) else each
            made = self.value(inner, scope)
            origins |= made.origins
            plain = isinstance(made.const, str | int) and not getattr(each, "format_spec", None)
            length += len(made.const) if isinstance(made.const, str) else 1
            if pieces is not None and plain and length < values.LONGEST:
                pieces.append(str(made.const))
            elif pieces is not None:
                pieces = [*pieces, "{}"] if length < values.LONGEST else None
        text = "".join(pieces or ())
        return Value(const=text, origins=origins | path_origins(text))

    def _listed(self, node: Any, scope: Scope) -> Value:
        parts = [self.value(each, scope) for each in node.elts]
        origins = frozenset(origin for part in parts for origin in part.origins)
        if all(part.known() for part in parts):
            return constant([part.const for part in parts], origins)
        names = [part.name for part in parts if part.name]
        codes = [part.code for part in parts if part.code is not None]
        # Strings of a command are worth knowing though one of its arguments is not.
        known = [part.const if part.known() else "{}" for part in parts]
        return Value(
            const=known if any(part.known() for part in parts) else UNKNOWN,
            origins=origins,
            name=names[0] if len(names) == 1 and len(parts) == 1 else "",
            code=codes[0] if len(codes) == 1 else None,
        )

    def _mapping(self, node: ast.Dict, scope: Scope) -> Value:
        origins = NOWHERE
        for each in (*node.keys, *node.values):
            if each is not None:
                origins |= self.value(each, scope).origins
        return coming(origins)

    def _comprehension(self, node: Any, scope: Scope) -> Value:
        inner = Scope(parent=scope, owner=scope.owner)
        first = node.generators[0]
        over = self.value(first.iter, scope)
        element = getattr(node, "elt", None) or node.value
        if len(node.generators) == 1 and not first.ifs and items_of(over.const) is not None:
            folded = self._each(first.target, items_of(over.const) or [], element, inner)
            if folded is not None:
                return constant(folded[0], over.origins | folded[1])
        for generator in node.generators:
            made = self.value(generator.iter, inner if generator is not first else scope)
            self.bind(generator.target, Value(origins=made.origins, name=item_name(made)), inner, None)
            for test in generator.ifs:
                self.value(test, inner)
        if isinstance(node, ast.DictComp):
            self.value(node.key, inner)
        return Value(origins=self.value(element, inner).origins | over.origins)

    def _each(
        self, target: ast.expr, items: Sequence[Any], element: ast.expr, inner: Scope
    ) -> tuple[list[Any], frozenset[Origin]] | None:
        made: list[Any] = []
        origins = NOWHERE
        for item in items:
            self.bind(target, constant(item), inner, None)
            each = self.value(element, inner)
            if not each.known():
                return None
            made.append(each.const)
            origins |= each.origins
        return made, origins

    def _lambda(self, node: ast.Lambda, scope: Scope) -> Value:
        return Value(code=node, within=scope)

    def _choice(self, node: ast.IfExp, scope: Scope) -> Value:
        self.value(node.test, scope)
        yes, no = self.value(node.body, scope), self.value(node.orelse, scope)
        best = yes if yes.name or yes.known() or yes.code is not None else no
        return best._replace(origins=yes.origins | no.origins)

    def _compared(self, node: ast.Compare, scope: Scope) -> Value:
        self.value(node.left, scope)
        for each in node.comparators:
            self.value(each, scope)
        return NOTHING

    def _either(self, node: ast.BoolOp, scope: Scope) -> Value:
        parts = [self.value(each, scope) for each in node.values]
        best = next((each for each in parts if each.name or each.code is not None), parts[0])
        return best._replace(origins=frozenset(origin for each in parts for origin in each.origins))

    def _walrus(self, node: ast.NamedExpr, scope: Scope) -> Value:
        made = self.value(node.value, scope)
        self.bind(node.target, made, scope, node.value)
        return made

    def _through(self, node: Any, scope: Scope) -> Value:
        return self.value(node.value, scope) if node.value is not None else NOTHING

    def _negative(self, node: ast.UnaryOp, scope: Scope) -> Value:
        made = self.value(node.operand, scope)
        if isinstance(made.const, int) and isinstance(node.op, ast.USub):
            return made._replace(const=-made.const)
        return coming(made.origins)

    def _called(self, node: ast.Call, scope: Scope) -> Value:
        return self.call(node, scope)

    _EXPRESSIONS: ClassVar[dict[type, Any]] = {
        ast.Constant: _constant,
        ast.Name: _name,
        ast.Attribute: _attribute,
        ast.Subscript: _subscript,
        ast.BinOp: _binary,
        ast.JoinedStr: _joined,
        ast.List: _listed,
        ast.Tuple: _listed,
        ast.Set: _listed,
        ast.Dict: _mapping,
        ast.ListComp: _comprehension,
        ast.SetComp: _comprehension,
        ast.GeneratorExp: _comprehension,
        ast.DictComp: _comprehension,
        ast.Lambda: _lambda,
        ast.IfExp: _choice,
        ast.Compare: _compared,
        ast.BoolOp: _either,
        ast.NamedExpr: _walrus,
        ast.Call: _called,
        ast.Await: _through,
        ast.Starred: _through,
        ast.Yield: _through,
        ast.YieldFrom: _through,
        ast.UnaryOp: _negative,
    }
