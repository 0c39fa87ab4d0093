"""Calls of functions of elsewhere, by their names: what has power, what returns what, other ways to say a name."""

import ast
from collections.abc import Sequence
from typing import Final

from sandboxes.screening.detectors import values
from sandboxes.screening.detectors.names_in_code import renamed
from sandboxes.screening.detectors.powers import (
    CALLERS,
    HOST_NAMES,
    POWERS,
)
from sandboxes.screening.detectors.reading_code import parsed
from sandboxes.screening.detectors.run_parts import (
    CREDENTIALS,
    DECODED,
    ENVIRONMENT,
    all_origins,
    handed_origins,
    items_of,
    path_origins,
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
    named,
)
from sandboxes.screening.findings import Ability

_LAYERS: Final = 4  # of code inside a string inside code
_EVALUATORS: Final = ("exec", "eval", "compile")
_RUN_FILES: Final = ("execfile", "runpy.run_path")
_READERS: Final = (".read_text", ".read_bytes", ".open")
# What reads a file of a package, which is their second argument.
_RESOURCES: Final = frozenset((
    "pkgutil.get_data", "importlib.resources.read_text", "importlib.resources.read_binary",
    "importlib.resources.open_text", "importlib.resources.open_binary", "pkg_resources.resource_string",
    "pkg_resources.resource_stream",
))  # fmt: skip


class KnownCalls(State):
    """`powers.py` says which names mean what."""

    def named_call(
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
        origins = function.origins | all_origins(arguments) | handed_origins(words) | _origins_of(name)
        if name == "compile" and arguments:
            return arguments[0]._replace(name="compile()")
        if arguments and all(each.known() for each in arguments) and not words:
            folded = values.called(name, [each.const for each in arguments])
            if folded is not UNKNOWN:
                return constant(folded, origins)
        made = self._result(name, arguments, origins)
        read_from = function.read_from or next((each.read_from for each in arguments if each.read_from), "")
        if name.endswith(_READERS) and isinstance(function.const, str):
            read_from = function.const
        return made._replace(read_from=read_from) if read_from and not made.read_from else made

    def _result(self, name: str, arguments: Sequence[Value], origins: frozenset[Origin]) -> Value:
        if name in ("open", "codecs.open", "pathlib.Path", "os.path.join", "os.path.expanduser"):
            text = _path_text(arguments[:1] if name.endswith("open") else arguments)  # not its mode
            origins |= path_origins(text)
            const = text or UNKNOWN
            if not name.endswith("open"):
                return Value(
                    name="pathlib.Path()" if name == "pathlib.Path" else "", const=const, origins=origins
                )
            self._credentials(text, origins)
            return Value(name="open()", const=const, origins=origins | {Origin.FILE}, read_from=text)
        if name in _RESOURCES:
            return Value(
                name=f"{name}()", origins=origins | {Origin.FILE}, read_from=_path_text(arguments[1:])
            )
        if name in ("importlib.resources.files", "importlib_resources.files"):
            return Value(name="pathlib.Path()", origins=origins)
        if name.startswith("pathlib.Path") and name.endswith((".read_text", ".read_bytes", ".open")):
            self._credentials("", origins)
            origins |= {Origin.FILE}
        if name.startswith("pathlib.") and name.endswith(
            (".joinpath", ".expanduser", ".resolve", ".absolute", ".with_name")
        ):
            text = _path_text(arguments)
            return Value(name="pathlib.Path()", const=text or UNKNOWN, origins=origins | path_origins(text))
        if name == "functools.partial" and arguments:
            return arguments[0]._replace(origins=origins)
        return named(f"{name}()", origins)

    def _credentials(self, text: str, origins: frozenset[Origin]) -> None:
        if Origin.CREDENTIALS in origins:
            self.event(Ability.SECRETS, "credentials", "open", origins, (text,), constant=bool(text))

    def _special(
        self, name: str, arguments: Sequence[Value], words: dict[str, Value], node: ast.expr
    ) -> Value | None:
        """Other ways to say a name."""
        first = arguments[0] if arguments else NOTHING
        if name == "getattr" and len(arguments) > 1:
            if isinstance(arguments[1].const, str):
                made = self.attribute(first, arguments[1].const, self.globals)
                return made._replace(origins=made.origins | _spelled(node, 1))
            return Value(origins=all_origins(arguments))
        if name in ("__import__", "importlib.import_module", "importlib.__import__"):
            if isinstance(first.const, str):
                self.imports.add(first.const)
                whole = name == "importlib.import_module"
                return Value(
                    name=renamed(first.const if whole else first.const.split(".")[0]),
                    origins=_spelled(node, 0),
                )
            return coming(first.origins)
        if name == "map" and len(arguments) == 2 and first.name in ("chr", "ord", "int"):
            return self._mapped(first.name, arguments[1])
        if name in ("str", "repr", "format", "dict", "list", "set", "tuple") and not first.known():
            return Value(origins=all_origins(arguments) | all_origins(words.values()))
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
            return self.variable(first)
        if name.endswith((".get", ".__getitem__")) and name.startswith(("globals()", "vars(", "os.environ.")):
            return self.item(Value(name=name.rsplit(".", 1)[0]), first, self.globals)
        if name == "operator.attrgetter" and isinstance(first.const, str):
            return Value(name=f"operator.attrgetter({first.const})")
        if name.startswith("operator.attrgetter("):
            return self.attribute(first, name[20:-1], self.globals)
        return None

    def _mapped(self, name: str, over: Value) -> Value | None:
        items = items_of(over.const)
        if items is None:
            return Value(origins=over.origins | {Origin.DECODED})
        self.step(len(items))
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
        # What code is run counts, and not the names it is given; text that is known may ask for these.
        own = kind == "execute" and name in _EVALUATORS and bool(arguments) and not arguments[0].known()
        origins = function.origins - ENVIRONMENT | all_origins(arguments[:1] if own else given)
        texts = texts_of([function, *given] if kind == "write" else given)
        known = all(each.known() for each in arguments)
        read_from = arguments[0].read_from if kind == "execute" and arguments else ""
        if name in _RUN_FILES:
            origins, read_from, known = origins | {Origin.FILE}, _path_text(arguments[:1]), False
        self.event(ability, kind, name, origins, texts, constant=known, read_from=read_from)
        if kind == "execute" and name in _EVALUATORS and arguments:
            self._deeper(arguments[0], name)

    def _deeper(self, given: Value, name: str) -> None:
        """Code inside a string: it is looked at as well."""
        text = given.const
        if isinstance(text, bytes):
            text = text.decode("utf-8", "replace")
        if not isinstance(text, str) or self.layers >= _LAYERS or name == "compile":
            return
        tree, _ = parsed(text.strip() if name == "eval" else text)
        if tree is None:
            return
        self.layers += 1
        hidden, self.hidden = self.hidden, self.hidden or Origin.DECODED in given.origins
        self.step(len(text) // 50)
        self.block(tree.body, self.globals)
        self.hidden = hidden
        self.layers -= 1


def _spelled(node: ast.expr, place: int) -> frozenset[Origin]:
    """Whether a name that a function is given was put together from parts."""
    if not isinstance(node, ast.Call) or len(node.args) <= place:
        return NOWHERE
    plain = isinstance(node.args[place], ast.Constant | ast.Name | ast.Attribute | ast.JoinedStr)
    return NOWHERE if plain else frozenset({Origin.SPELLED})


def _origins_of(name: str) -> frozenset[Origin]:
    kind = POWERS[name][1] if name in POWERS else ""
    if kind == "network":
        return frozenset({Origin.DOWNLOADED})
    if kind == "secrets":
        return CREDENTIALS
    if name in HOST_NAMES:
        return frozenset({Origin.HOST})
    if (values.decodes(name) and name != "reversed") or name.startswith("marshal.load"):
        return DECODED
    if name.endswith(".decrypt"):  # whoever's: nobody reads what comes out of it
        return DECODED
    return NOWHERE


def _path_text(arguments: Sequence[Value]) -> str:
    parts = [each.const for each in arguments[:8] if isinstance(each.const, str)]
    return "/".join(parts)[:2000]
