"""Follows what a file does when it runs, without running it.

Each statement is looked at once, in order; both ways of an `if` are taken; loops are gone through once; functions
of the same file are entered where they are called. Values are constants, dotted names, or where they come from
(`values.py`). Everything is bounded by steps and depth: a hostile file is looked at up to there.
"""

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from sandboxes.screening.detectors import values
from sandboxes.screening.detectors.names_in_code import BUILTINS, Scope, imported, renamed
from sandboxes.screening.detectors.powers import (
    CALLERS,
    HOST_NAMES,
    POWERS,
    SECRET_NAME,
    places_in,
)
from sandboxes.screening.detectors.reading_code import parsed
from sandboxes.screening.detectors.values import NOTHING, NOWHERE, UNKNOWN, Origin, Value, constant
from sandboxes.screening.findings import Ability

STEPS: Final = 60_000  # expressions and statements of a run
_DEPTH: Final = 60  # of expressions inside each other, and of statements
_CALLS: Final = 12  # of functions that call each other
_AGAIN: Final = 3  # times that one function is entered
_LAYERS: Final = 4  # of code inside a string inside code


@dataclass(frozen=True)
class Event:
    """Something was called that has power (`powers.py`)."""

    ability: Ability
    kind: str  # "process", "network", "execute", …
    name: str
    line: int
    origins: frozenset[Origin] = NOWHERE  # of what it was given
    texts: tuple[str, ...] = ()  # strings it was given, as far as they are known
    hidden: bool = False  # stood in code that was decoded, or was spelled so that nobody reads it
    constant: bool = False  # everything it was given is known


class TooMuch(Exception):  # noqa: N818 - it ends a run and nothing else
    """The steps are spent."""


@dataclass
class Run:
    """What is known while one file runs. `events` is what comes of it."""

    module: str
    is_package: bool = False
    steps: int = STEPS
    main: bool = False  # it runs as a program: `if __name__ == "__main__"` is taken
    events: list[Event] = field(default_factory=list)
    called: set[str] = field(default_factory=set)  # names of elsewhere
    imports: set[str] = field(default_factory=set)
    entered: dict[int, int] = field(default_factory=dict)  # functions, by identity, and how often
    exhausted: bool = False
    globals: Scope = field(default_factory=Scope)
    _depth: int = 0
    _calls: int = 0
    _layers: int = 0
    _line: int = 0
    _hidden: bool = False

    # -- entering ------------------------------------------------------------

    def module_level(self, statements: Sequence[ast.stmt]) -> None:
        self._bounded(lambda: self.block(statements, self.globals))

    def function(self, code: Any, owner: Any = None) -> None:
        """As if somebody called it, with what nobody knows. `owner`: the class that it is a method of."""
        self._bounded(lambda: self.enter(Value(code=code, owner=owner), [], {}))

    def _bounded(self, go: Any) -> None:
        try:
            go()
        except (TooMuch, RecursionError, MemoryError):
            self.exhausted = True
        self._depth = self._calls = self._layers = 0
        self._hidden = False
        self._line = 0

    def _step(self, cost: int = 1) -> None:
        self.steps -= cost
        if self.steps < 0:
            raise TooMuch

    # -- statements ----------------------------------------------------------

    def block(self, statements: Sequence[ast.stmt], scope: Scope) -> None:
        self._depth += 1
        if self._depth <= _DEPTH:
            for statement in statements:
                self._step()
                handler = self._STATEMENTS.get(type(statement), Run._other)
                handler(self, statement, scope)
        else:
            self.exhausted = True
        self._depth -= 1

    def _other(self, node: ast.AST, scope: Scope) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.value(child, scope)

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
            self._method(base, "__init_subclass__", [made])
        for word in node.keywords:
            if word.arg == "metaclass":
                meta = self.value(word.value, scope)
                for name in ("__new__", "__init__", "__prepare__"):
                    self._method(meta.code, name, [])
        for each in reversed(node.decorator_list):
            self._decorate(each, made, scope)

    def _decorate(self, decorator: ast.expr, made: Value, scope: Scope) -> None:
        self._line = self._line_of(decorator)
        called = self.value(decorator, scope)
        if called.code is not None:
            self.enter(called, [made], {})
        elif called.name:
            self._named_call(called, [made], {}, decorator)

    def _assign(self, node: ast.Assign, scope: Scope) -> None:
        made = self.value(node.value, scope)
        for target in node.targets:
            self.bind(target, made, scope, node.value)

    def _ann_assign(self, node: ast.AnnAssign, scope: Scope) -> None:
        if node.value is not None:
            self.bind(node.target, self.value(node.value, scope), scope, node.value)

    def _aug_assign(self, node: ast.AugAssign, scope: Scope) -> None:
        before, added = self.value(node.target, scope), self.value(node.value, scope)
        self.bind(node.target, self._two(node.op, before, added), scope, None)

    def bind(self, target: ast.expr, made: Value, scope: Scope, source: ast.expr | None) -> None:
        if isinstance(target, ast.Name):
            scope.bind(target.id, made)
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
        key = _dotted(target)
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
        if (self.main or not _only_when_main(node.test)) and not _for_types(node.test):
            self.value(node.test, scope)
            self.block(node.body, scope)
        self.block(node.orelse, scope)

    def _for(self, node: Any, scope: Scope) -> None:
        over = self.value(node.iter, scope)
        self.bind(node.target, Value(origins=over.origins, name=_item_name(over)), scope, None)
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

    def _skip(self, node: ast.AST, scope: Scope) -> None:
        pass

    # -- expressions ---------------------------------------------------------

    def value(self, node: ast.expr, scope: Scope) -> Value:
        self._step()
        if self._depth > _DEPTH + 40:
            self.exhausted = True
            return NOTHING
        self._depth += 1
        handler = self._EXPRESSIONS.get(type(node), Run._parts)
        made: Value = handler(self, node, scope)
        self._depth -= 1
        if isinstance(made.const, str | bytes) and len(made.const) > 1000:
            self._step(len(made.const) // 1000)
        return made

    def _parts(self, node: ast.expr, scope: Scope) -> Value:
        """Of any other expression: only where its parts come from."""
        origins = NOWHERE
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                origins |= self.value(child, scope).origins
        return Value(origins=origins) if origins else NOTHING

    def _constant(self, node: ast.Constant, scope: Scope) -> Value:
        return Value(const=node.value) if not isinstance(node.value, complex) else NOTHING

    def _name(self, node: ast.Name, scope: Scope) -> Value:
        found = scope.look_up(node.id)
        if found is not NOTHING:
            return found
        if node.id in BUILTINS:
            return Value(name=BUILTINS[node.id])
        for base in scope.star_modules():
            whole = renamed(f"{base}.{node.id}")
            if whole in POWERS or values.decodes(whole) or whole == "os.environ":
                return self._of_name(whole)
        if node.id == "__file__":
            return NOTHING
        return Value(name=node.id) if node.id in ("__loader__", "__spec__") else NOTHING

    def _attribute(self, node: ast.Attribute, scope: Scope) -> Value:
        key = _dotted(node)
        if key:
            kept = scope.look_up(key)
            if kept is not NOTHING:
                return kept
        base = self.value(node.value, scope)
        return self.attribute(base, node.attr, scope)

    def attribute(self, base: Value, name: str, scope: Scope) -> Value:
        if isinstance(base.code, ast.ClassDef) or (base.owner is not None and base.code is None):
            owner = base.code or base.owner
            found = self._member(owner, name)
            if found is None:
                return Value(origins=base.origins)
            return found._replace(owner=owner) if isinstance(found.code, _FUNCTIONS) else found
        if name == "__dict__" and base.name:
            return Value(name=f"vars({base.name})")
        if base.name == "__builtins__" or base.name == "builtins":
            return Value(name=BUILTINS.get(name, name))
        if base.name:
            kept = base.const if base.name in ("open()", "pathlib.Path()") else UNKNOWN
            return self._of_name(renamed(f"{base.name}.{name}"), base.origins)._replace(const=kept)
        return Value(origins=base.origins)

    def _of_name(self, name: str, origins: frozenset[Origin] = NOWHERE) -> Value:
        if name in ("os.environ", "os.environb"):
            origins |= {Origin.ENVIRONMENT}
        return Value(name=name, origins=origins)

    def _subscript(self, node: ast.Subscript, scope: Scope) -> Value:
        base = self.value(node.value, scope)
        if isinstance(node.slice, ast.Slice):
            return self._sliced(base, node.slice, scope)
        index = self.value(node.slice, scope)
        return self._item(base, index, scope)

    def _item(self, base: Value, index: Value, scope: Scope) -> Value:
        if base.name in ("os.environ", "os.environb"):
            return self._variable(index)
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
                return Value(origins=base.origins)
            backwards = edges[2].const == -1
            return constant(cut, base.origins | ({Origin.DECODED} if backwards else NOWHERE))
        return Value(origins=base.origins)

    def _variable(self, index: Value) -> Value:
        text = index.const if isinstance(index.const, str) else ""
        return Value(origins=frozenset({Origin.VARIABLE}) if SECRET_NAME.search(text) else NOWHERE)

    def _binary(self, node: ast.BinOp, scope: Scope) -> Value:
        # "a" + "b" + … is deep on its left side; it is gone through as a list.
        spine: list[ast.BinOp] = []
        left: ast.expr = node
        while isinstance(left, ast.BinOp):
            spine.append(left)
            left = left.left
            self._step()
        made = self.value(left, scope)
        for each in reversed(spine):
            made = self._two(each.op, made, self.value(each.right, scope))
        return made

    def _two(self, operation: ast.operator, left: Value, right: Value) -> Value:
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
            return Value(name="pathlib.Path()", const=text, origins=origins | _of_path(text))
        # A known part of an unknown text still tells what it is: os.path.expanduser("~") + "/.ssh/id_rsa".
        for each in (left, right):
            if isinstance(each.const, str) and isinstance(operation, ast.Add) and not each.name:
                whole = f"{each.const}{{}}" if each is left else f"{{}}{each.const}"
                return Value(const=whole, origins=origins | _of_path(each.const))
        return Value(origins=origins)

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
        return Value(const=text, origins=origins | _of_path(text))

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
        return Value(origins=origins)

    def _comprehension(self, node: Any, scope: Scope) -> Value:
        inner = Scope(parent=scope, owner=scope.owner)
        first = node.generators[0]
        over = self.value(first.iter, scope)
        element = getattr(node, "elt", None) or node.value
        if len(node.generators) == 1 and not first.ifs and _items(over.const) is not None:
            folded = self._each(first.target, _items(over.const) or [], element, inner)
            if folded is not None:
                return constant(folded[0], over.origins | folded[1])
        for generator in node.generators:
            made = self.value(generator.iter, inner if generator is not first else scope)
            self.bind(generator.target, Value(origins=made.origins, name=_item_name(made)), inner, None)
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
        self._parts(node, scope)
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
        return Value(origins=made.origins)

    # -- calls ---------------------------------------------------------------

    def _call(self, node: ast.Call, scope: Scope) -> Value:
        base: Value = NOTHING
        if isinstance(node.func, ast.Attribute):
            key = _dotted(node.func)
            kept = scope.look_up(key) if key else NOTHING
            base = self.value(node.func.value, scope)
            function = kept if kept is not NOTHING else self.attribute(base, node.func.attr, scope)
        else:
            function = self.value(node.func, scope)
        arguments = [self.value(each, scope) for each in node.args]
        words = {word.arg or "**": self.value(word.value, scope) for word in node.keywords}
        if not self._layers:
            self._line = self._line_of(node)
        if isinstance(node.func, ast.Attribute) and base.known() and not base.name:
            folded = values.method(base.const, node.func.attr, [each.const for each in arguments])
            origins = base.origins | _all_origins(arguments)
            if folded is not UNKNOWN and all(each.known() for each in arguments):
                return constant(folded, origins | _unpacked(node.func.attr, arguments))
            if node.func.attr == "format" and isinstance(base.const, str):
                return Value(const=base.const, origins=origins | _all_origins(words.values()))
            if not function.name and function.code is None:
                return Value(origins=origins)
        if function.code is not None:
            return self.enter(function, arguments, words)
        if not function.name:
            return self._anonymous(node, base, function, arguments, words)
        return self._named_call(function, arguments, words, node)

    def _anonymous(
        self, node: ast.Call, base: Value, function: Value, arguments: list[Value], words: dict[str, Value]
    ) -> Value:
        """A method of nobody knows what: where things come from still flows through it."""
        origins = base.origins | function.origins | _all_origins(arguments) | _all_origins(words.values())
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("write", "writelines"):
            self._wrote(base, origins)
        return Value(origins=origins)

    def _wrote(self, base: Value, origins: frozenset[Origin]) -> None:
        self._event(
            Ability.FILES, "write", f"{base.name or 'file'}.write", origins, _texts([base]), constant=False
        )

    def _line_of(self, node: ast.expr) -> int:
        return self._line if self._layers else node.lineno

    def enter(self, function: Value, arguments: Sequence[Value], words: dict[str, Value]) -> Value:
        """Into a function or class of the same file."""
        code = function.code
        if isinstance(code, ast.ClassDef):
            return self._instance(code, arguments, words)
        times = self.entered.get(id(code), 0)
        self.entered[id(code)] = times + 1
        if times >= _AGAIN or self._calls >= _CALLS:
            return Value(origins=_all_origins(arguments))
        self._calls += 1
        scope = Scope(parent=function.within or self.globals, is_function=True)
        self._bind_parameters(code, function, arguments, words, scope)
        if isinstance(code, ast.Lambda):
            made = self.value(code.body, scope)
        else:
            self.block(code.body, scope)
            made = _together(scope.returned)
        self._calls -= 1
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
                scope.bind(rest.arg, Value(origins=_all_origins(arguments) | _all_origins(words.values())))

    def _instance(self, code: ast.ClassDef, arguments: Sequence[Value], words: dict[str, Value]) -> Value:
        for name in ("__new__", "__init__", "__post_init__", "__enter__"):
            self._method(code, name, arguments, words)
        inner = self.globals.classes.get(id(code))
        names = inner.base_names if inner is not None else []
        # An instance of `class T(Thread)` that is started runs `run`.
        if any(name.endswith(("Thread", "Process", "Timer")) for name in names):
            self._method(code, "run", [])
        return Value(owner=code, origins=_all_origins(arguments))

    def _method(
        self, code: Any, name: str, arguments: Sequence[Value], words: dict[str, Value] | None = None
    ) -> None:
        if isinstance(code, ast.ClassDef):
            found = self._member(code, name)
            if found is not None and isinstance(found.code, _FUNCTIONS):
                self.enter(found._replace(owner=code), arguments, words or {})

    def _member(self, code: Any, name: str, depth: int = 0) -> Value | None:
        inner = self.globals.classes.get(id(code))
        if inner is None or depth > 5:
            return None
        if name in inner.names:
            return inner.names[name]
        for base in inner.bases:
            deeper = self._member(base, name, depth + 1)
            if deeper is not None:
                return deeper
        return None

    def _named_call(
        self, function: Value, arguments: Sequence[Value], words: dict[str, Value], node: ast.expr
    ) -> Value:
        name = function.name
        special = self._special(name, arguments, words, node)
        if special is not None:
            return special
        if name in POWERS:
            self._power(name, arguments, words, function)
        else:
            self.called.add(name)
        if name in CALLERS:
            self._call_given(arguments, words)
        origins = (
            function.origins | _all_origins(arguments) | _all_origins(words.values()) | _origins_of(name)
        )
        if name == "compile" and arguments:
            return arguments[0]._replace(name="compile()")
        if arguments and all(each.known() for each in arguments) and not words:
            folded = values.called(name, [each.const for each in arguments])
            if folded is not UNKNOWN:
                return constant(folded, origins)
        return self._result(name, arguments, origins)

    def _result(self, name: str, arguments: Sequence[Value], origins: frozenset[Origin]) -> Value:
        if name in ("open", "codecs.open", "pathlib.Path", "os.path.join", "os.path.expanduser"):
            text = _path_text(arguments)
            origins |= _of_path(text)
            const = text or UNKNOWN
            if not name.endswith("open"):
                return Value(
                    name="pathlib.Path()" if name == "pathlib.Path" else "", const=const, origins=origins
                )
            self._credentials(text, origins)
            return Value(name="open()", const=const, origins=origins | {Origin.FILE})
        if name.startswith("pathlib.Path") and name.endswith((".read_text", ".read_bytes", ".open")):
            self._credentials("", origins)
            origins |= {Origin.FILE}
        if name.startswith("pathlib.") and name.endswith(
            (".joinpath", ".expanduser", ".resolve", ".absolute")
        ):
            return Value(name="pathlib.Path()", origins=origins | _of_path(_path_text(arguments)))
        if name == "functools.partial" and arguments:
            return arguments[0]._replace(origins=origins)
        return Value(name=f"{name}()", origins=origins)

    def _credentials(self, text: str, origins: frozenset[Origin]) -> None:
        if Origin.CREDENTIALS in origins:
            self._event(Ability.SECRETS, "credentials", "open", origins, (text,), constant=bool(text))

    def _special(
        self, name: str, arguments: Sequence[Value], words: dict[str, Value], node: ast.expr
    ) -> Value | None:
        """Other ways to say a name."""
        first = arguments[0] if arguments else NOTHING
        if name == "getattr" and len(arguments) > 1:
            if isinstance(arguments[1].const, str):
                made = self.attribute(first, arguments[1].const, self.globals)
                return made._replace(origins=made.origins | _spelled(node, 1))
            return Value(origins=_all_origins(arguments))
        if name in ("__import__", "importlib.import_module", "importlib.__import__"):
            if isinstance(first.const, str):
                self.imports.add(first.const)
                whole = name == "importlib.import_module"
                return Value(
                    name=renamed(first.const if whole else first.const.split(".")[0]),
                    origins=_spelled(node, 0),
                )
            return Value(origins=first.origins)
        if name == "map" and len(arguments) == 2 and first.name in ("chr", "ord", "int"):
            return self._mapped(first.name, arguments[1])
        if name in ("str", "repr", "format", "dict", "list", "set", "tuple") and not first.known():
            return Value(origins=_all_origins(arguments) | _all_origins(words.values()))
        return self._namespace(name, first)

    def _namespace(self, name: str, first: Value) -> Value | None:
        """Names out of the dictionaries that hold them."""
        if name == "vars" and first.name:
            return Value(name=f"vars({first.name})")
        if name in ("globals", "locals"):
            return Value(name="globals()")
        if name in (
            "os.getenv",
            "os.environ.get",
            "os.environ.pop",
            "os.environ.setdefault",
            "os.environb.get",
        ):
            return self._variable(first)
        if name.endswith((".get", ".__getitem__")) and name.startswith(("globals()", "vars(", "os.environ.")):
            return self._item(Value(name=name.rsplit(".", 1)[0]), first, self.globals)
        if name == "operator.attrgetter" and isinstance(first.const, str):
            return Value(name=f"operator.attrgetter({first.const})")
        if name.startswith("operator.attrgetter("):
            return self.attribute(first, name[20:-1], self.globals)
        return None

    def _mapped(self, name: str, over: Value) -> Value | None:
        items = _items(over.const)
        if items is None:
            return Value(origins=over.origins | {Origin.DECODED})
        self._step(len(items))
        made = [values.called(name, [each]) for each in items]
        if any(each is UNKNOWN for each in made):
            return None
        return constant(made, over.origins | ({Origin.DECODED} if name == "chr" else NOWHERE))

    def _call_given(self, arguments: Sequence[Value], words: dict[str, Value]) -> None:
        for each in (*arguments, *words.values()):
            if each.code is not None:
                self.enter(each, [], {})
            elif each.name and each.name not in POWERS:
                self.called.add(each.name)
            elif each.name:
                self._power(each.name, [other for other in arguments if other is not each], {}, each)

    def _power(self, name: str, arguments: Sequence[Value], words: dict[str, Value], function: Value) -> None:
        ability, kind = POWERS[name]
        given = [*arguments, *(value for word, value in words.items() if word != "env")]
        origins = function.origins - {Origin.ENVIRONMENT} | _all_origins(given)
        texts = _texts([function, *given] if kind == "write" else given)
        self._event(ability, kind, name, origins, texts, constant=all(each.known() for each in arguments))
        if kind == "execute" and name in ("exec", "eval", "compile") and arguments:
            self._deeper(arguments[0], name)

    def _deeper(self, given: Value, name: str) -> None:
        """Code inside a string: it is looked at as well."""
        text = given.const
        if isinstance(text, bytes):
            text = text.decode("utf-8", "replace")
        if not isinstance(text, str) or self._layers >= _LAYERS or name == "compile":
            return
        tree, _ = parsed(text.strip() if name == "eval" else text)
        if tree is None:
            return
        self._layers += 1
        hidden, self._hidden = self._hidden, self._hidden or Origin.DECODED in given.origins
        self._step(len(text) // 50)
        self.block(tree.body, self.globals)
        self._hidden = hidden
        self._layers -= 1

    def _event(
        self,
        ability: Ability,
        kind: str,
        name: str,
        origins: frozenset[Origin],
        texts: tuple[str, ...],
        *,
        constant: bool,
    ) -> None:
        if len(self.events) < 500:
            hidden = self._hidden or Origin.SPELLED in origins
            self.events.append(Event(ability, kind, name, self._line, origins, texts, hidden, constant))

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
        ast.Pass: _skip,
        ast.Global: _skip,
        ast.Nonlocal: _skip,
    }
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
        ast.Call: _call,
        ast.Await: _through,
        ast.Starred: _through,
        ast.Yield: _through,
        ast.YieldFrom: _through,
        ast.UnaryOp: _negative,
    }


_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_CREDENTIALS: Final = frozenset({Origin.CREDENTIALS})
_DECODED: Final = frozenset({Origin.DECODED})


def _dotted(node: ast.expr) -> str:
    """ "a.b.c" of plain names; empty for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute) and len(parts) < 8:
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


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
    return _dotted(test).rsplit(".", 1)[-1] == "TYPE_CHECKING"


def _item_name(over: Value) -> str:
    return f"{over.name}[]" if over.name else ""


def _changed_in(statements: Sequence[ast.stmt]) -> Iterator[str]:
    """Names that a loop's own statements add to."""
    for each in statements:
        if isinstance(each, ast.AugAssign) and isinstance(each.target, ast.Name):
            yield each.target.id


def _items(content: Any) -> Sequence[Any] | None:
    return content if isinstance(content, str | bytes | list | tuple) else None


def _all_origins(given: Iterable[Value]) -> frozenset[Origin]:
    origins = NOWHERE
    for each in given:
        if each.origins:
            origins |= each.origins
    return origins


def _together(returned: Sequence[Value]) -> Value:
    if not returned:
        return NOTHING
    best = next(
        (each for each in returned if each.known() or each.name or each.code is not None), returned[-1]
    )
    return best._replace(origins=_all_origins(returned))


def _unpacked(name: str, arguments: Sequence[Value]) -> frozenset[Origin]:
    if name != "decode" or not arguments or not isinstance(arguments[0].const, str):
        return NOWHERE
    packed = arguments[0].const.lower().replace("-", "").replace("_", "")
    return _DECODED if packed in ("hex", "base64", "rot13", "zlib", "bz2") else NOWHERE


def _spelled(node: ast.expr, place: int) -> frozenset[Origin]:
    """Whether a name that a function is given was put together from parts."""
    if not isinstance(node, ast.Call) or len(node.args) <= place:
        return NOWHERE
    plain = isinstance(node.args[place], ast.Constant | ast.Name | ast.Attribute | ast.JoinedStr)
    return NOWHERE if plain else frozenset({Origin.SPELLED})


def _texts(given: Iterable[Value]) -> tuple[str, ...]:
    return tuple(text[:2000] for each in given if each.known() for text in values.texts(each.const))[:50]


def _is_static(code: Any) -> bool:
    return any(_dotted(each) == "staticmethod" for each in getattr(code, "decorator_list", ()))


def _origins_of(name: str) -> frozenset[Origin]:
    kind = POWERS[name][1] if name in POWERS else ""
    if kind == "network":
        return frozenset({Origin.DOWNLOADED})
    if kind == "secrets":
        return _CREDENTIALS
    if name in HOST_NAMES:
        return frozenset({Origin.HOST})
    if (values.decodes(name) and name != "reversed") or name.startswith("marshal.load"):
        return _DECODED
    return NOWHERE


def _path_text(arguments: Sequence[Value]) -> str:
    parts = [each.const for each in arguments[:8] if isinstance(each.const, str)]
    return "/".join(parts)[:2000]


def _of_path(text: str) -> frozenset[Origin]:
    return _CREDENTIALS if 4 < len(text) < 2000 and places_in(text) else NOWHERE
