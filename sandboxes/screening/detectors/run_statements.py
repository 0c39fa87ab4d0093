"""What statements do: names are bound, blocks entered, functions and classes defined."""

import ast
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from sandboxes.screening.detectors.names_in_code import Scope, imported, renamed
from sandboxes.screening.detectors.run_parts import (
    dotted,
    item_name,
)
from sandboxes.screening.detectors.run_state import DEPTH, State
from sandboxes.screening.detectors.values import (
    UNKNOWN,
    Value,
    constant,
)


class Statements(State):
    """Each is looked at once, in order."""

    def block(self, statements: Sequence[ast.stmt], scope: Scope) -> None:
        self.depth += 1
        if self.depth <= DEPTH:
            for statement in statements:
                self.step()
                handler = self._STATEMENTS.get(type(statement), Statements._other)
                handler(self, statement, scope)
        else:
            self.exhausted = True
        self.depth -= 1

    def _other(self, node: ast.AST, scope: Scope) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.value(child, scope)

    def _expression(self, node: ast.Expr, scope: Scope) -> None:
        if type(node.value) is not ast.Constant:  # as docstrings are
            self.value(node.value, scope)

    def _import(self, node: ast.Import, scope: Scope) -> None:
        for name, bound in imported(node):
            self.imports.add(bound)
            scope.bind(name, Value(name=bound))

    def _import_from(self, node: ast.ImportFrom, scope: Scope) -> None:
        base = self._absolute(node)
        self.imports.add(base)
        for each in node.names:
            if each.name == "*":
                scope.stars.append(base)
                continue
            whole = f"{base}.{each.name}" if base else each.name
            self.imports.add(whole)
            scope.bind(each.asname or each.name, Value(name=renamed(whole)))

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.module.split(".")
        keep = len(parts) - node.level + (1 if self.is_package else 0)
        return ".".join([*parts[: max(keep, 0)], *([node.module] if node.module else [])])

    def _define(self, node: Any, scope: Scope) -> None:
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self.value(default, scope)
        within = scope if scope.owner is None else scope.parent
        made = Value(code=node, owner=scope.owner, within=within)
        scope.bind(node.name, made)
        for each in reversed(node.decorator_list):
            self._decorate(each, made, scope)

    def _define_class(self, node: ast.ClassDef, scope: Scope) -> None:
        bases = [self.value(each, scope) for each in node.bases]
        for word in node.keywords:
            self.value(word.value, scope)
        inner = Scope(parent=scope, owner=node)
        self.globals.classes[id(node)] = inner
        inner.bases = [each.code for each in bases if isinstance(each.code, ast.ClassDef)]
        inner.base_names = [each.name for each in bases if each.name]
        self.block(node.body, inner)
        made = Value(code=node)
        scope.bind(node.name, made)
        for base in inner.bases:
            self.method(base, "__init_subclass__", [made])
        for word in node.keywords:
            if word.arg == "metaclass":
                meta = self.value(word.value, scope)
                for name in ("__new__", "__init__", "__prepare__"):
                    self.method(meta.code, name, [])
        for each in reversed(node.decorator_list):
            self._decorate(each, made, scope)

    def _decorate(self, decorator: ast.expr, made: Value, scope: Scope) -> None:
        self.line = self.line_of(decorator)
        called = self.value(decorator, scope)
        if called.code is not None:
            self.enter(called, [made], {})
        elif called.name:
            self.named_call(called, [made], {}, decorator)

    def _assign(self, node: ast.Assign, scope: Scope) -> None:
        made = self.value(node.value, scope)
        for target in node.targets:
            self.bind(target, made, scope, node.value)

    def _ann_assign(self, node: ast.AnnAssign, scope: Scope) -> None:
        if node.value is not None:
            self.bind(node.target, self.value(node.value, scope), scope, node.value)

    def _aug_assign(self, node: ast.AugAssign, scope: Scope) -> None:
        before, added = self.value(node.target, scope), self.value(node.value, scope)
        self.bind(node.target, self.two(node.op, before, added), scope, None)

    def bind(self, target: ast.expr, made: Value, scope: Scope, source: ast.expr | None) -> None:
        if isinstance(target, ast.Name):
            before = self.globals.names.get(target.id)
            scope.bind(target.id, made)
            if before is not None and before.name != self.globals.names[target.id].name:
                self.rebound += 1
        elif isinstance(target, ast.Tuple | ast.List):
            self._bind_each(target, made, scope, source)
        elif isinstance(target, ast.Starred):
            self.bind(target.value, Value(origins=made.origins), scope, None)
        elif isinstance(target, ast.Attribute):
            self._bind_attribute(target, made, scope)
        elif isinstance(target, ast.Subscript):
            base = self.value(target.value, scope)
            self.value(target.slice, scope)
            if isinstance(target.value, ast.Name) and made.origins - base.origins:
                scope.bind(target.value.id, base._replace(origins=base.origins | made.origins, const=UNKNOWN))

    def _bind_attribute(self, target: ast.Attribute, made: Value, scope: Scope) -> None:
        base = self.value(target.value, scope)
        inner = self.globals.classes.get(id(base.owner)) if base.code is None else None
        if inner is not None:
            inner.bind(target.attr, made)
            return
        key = dotted(target)
        if key:
            scope.outermost(key.split(".")[0]).bind(key, made)

    def _bind_each(
        self, target: ast.Tuple | ast.List, made: Value, scope: Scope, source: ast.expr | None
    ) -> None:
        parts = source.elts if isinstance(source, ast.Tuple | ast.List) else None
        for place, each in enumerate(target.elts):
            if parts is not None and len(parts) == len(target.elts):
                self.bind(each, self.value(parts[place], scope), scope, parts[place])
            elif isinstance(made.const, list | tuple) and len(made.const) == len(target.elts):
                self.bind(each, constant(made.const[place], made.origins), scope, None)
            else:
                self.bind(each, Value(origins=made.origins), scope, None)

    def _return(self, node: ast.Return, scope: Scope) -> None:
        if node.value is not None:
            made = self.value(node.value, scope)
            scope.function().returned.append(made)

    def _if(self, node: ast.If, scope: Scope) -> None:
        while True:
            if (self.main or not _only_when_main(node.test)) and not _for_types(node.test):
                self.value(node.test, scope)
                self.block(node.body, scope)
            # An `elif` stands in the tree inside the one before it, but is no deeper for whoever reads it.
            if len(node.orelse) != 1 or not isinstance(node.orelse[0], ast.If):
                break
            node = node.orelse[0]
            self.step()
        self.block(node.orelse, scope)

    def _for(self, node: Any, scope: Scope) -> None:
        over = self.value(node.iter, scope)
        self.bind(node.target, Value(origins=over.origins, name=item_name(over)), scope, None)
        # What is put together in a loop is unknown after one round of it.
        for name in _changed_in(node.body):
            scope.bind(name, scope.look_up(name)._replace(const=UNKNOWN))
        self.block(node.body, scope)
        self.block(node.orelse, scope)

    def _while(self, node: ast.While, scope: Scope) -> None:
        self.value(node.test, scope)
        self.block(node.body, scope)
        self.block(node.orelse, scope)

    def _with(self, node: Any, scope: Scope) -> None:
        for item in node.items:
            made = self.value(item.context_expr, scope)
            if item.optional_vars is not None:
                self.bind(item.optional_vars, made, scope, None)
        self.block(node.body, scope)

    def _try(self, node: Any, scope: Scope) -> None:
        self.block(node.body, scope)
        for handler in node.handlers:
            self.block(handler.body, scope)
        self.block(node.orelse, scope)
        self.block(node.finalbody, scope)

    def _match(self, node: ast.Match, scope: Scope) -> None:
        self.value(node.subject, scope)
        for case in node.cases:
            self.block(case.body, scope)

    def _global(self, node: ast.Global, scope: Scope) -> None:
        if scope is not self.globals:
            scope.elsewhere.update(dict.fromkeys(node.names, self.globals))

    def _nonlocal(self, node: ast.Nonlocal, scope: Scope) -> None:
        if scope.parent is not None:
            scope.elsewhere.update({name: scope.parent.outermost(name) for name in node.names})

    def _skip(self, node: ast.AST, scope: Scope) -> None:
        pass

    _STATEMENTS: ClassVar[dict[type, Any]] = {
        ast.Import: _import,
        ast.ImportFrom: _import_from,
        ast.FunctionDef: _define,
        ast.AsyncFunctionDef: _define,
        ast.ClassDef: _define_class,
        ast.Assign: _assign,
        ast.AnnAssign: _ann_assign,
        ast.AugAssign: _aug_assign,
        ast.Return: _return,
        ast.If: _if,
        ast.For: _for,
        ast.AsyncFor: _for,
        ast.While: _while,
        ast.With: _with,
        ast.AsyncWith: _with,
        ast.Try: _try,
        ast.TryStar: _try,
        ast.Match: _match,
        ast.Expr: _expression,
        ast.Pass: _skip,
        ast.Global: _global,
        ast.Nonlocal: _nonlocal,
    }


def _only_when_main(test: ast.expr) -> bool:
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        return any(_only_when_main(each) for each in test.values)
    if not isinstance(test, ast.Compare) or len(test.ops) != 1 or not isinstance(test.ops[0], ast.Eq):
        return False
    sides = (test.left, test.comparators[0])
    return any(isinstance(each, ast.Name) and each.id == "__name__" for each in sides) and any(
        isinstance(each, ast.Constant) and each.value == "__main__" for each in sides
    )


def _for_types(test: ast.expr) -> bool:
    return dotted(test).rsplit(".", 1)[-1] == "TYPE_CHECKING"


def _changed_in(statements: Sequence[ast.stmt]) -> Iterator[str]:
    """Names that a loop's own statements add to."""
    for each in statements:
        if isinstance(each, ast.AugAssign) and isinstance(each.target, ast.Name):
            yield each.target.id
