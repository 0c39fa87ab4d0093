"""Which name means what: imports under other names, names bound to names, and what is built in."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from sandboxes.screening.detectors.values import NOTHING, Value

# As `powers.py` has them.
_BUILTINS: Final = """
exec eval compile execfile __import__ getattr setattr vars globals locals open chr ord bytes bytearray str int len
list tuple dict set range reversed hex map filter sorted repr format input delattr __builtins__
"""
BUILTINS: Final = {name: name for name in _BUILTINS.split()} | {"file": "open", "unichr": "chr"}
_SAME: Final = {
    "builtins": "",
    "__builtin__": "",
    "six.moves.builtins": "",
    "posix.environ": "os.environ",
    "io.open": "open",
    "urllib3.PoolManager": "urllib3.PoolManager",
    "requests.sessions.Session": "requests.Session",
    "requests.session": "requests.Session",
    "six.moves.urllib.request": "urllib.request",
    "multiprocessing.dummy.Process": "multiprocessing.Process",
    "pickle._loads": "pickle.loads",
    "Cryptodome": "Crypto",
}
_FIRSTS: Final = frozenset(name.partition(".")[0] for name in _SAME)  # nearly no name begins so


@dataclass(eq=False)
class Scope:
    """Names of a module, class or function; also "self.x" and "os.environ", when somebody bound that."""

    parent: "Scope | None" = None
    owner: Any = None  # the class whose body this is
    is_function: bool = False
    names: dict[str, Value] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)  # modules all of whose names are imported
    returned: list[Value] = field(default_factory=list)
    classes: dict[int, "Scope"] = field(
        default_factory=dict
    )  # of the outermost scope: by identity of the node
    bases: list[Any] = field(default_factory=list)
    base_names: list[str] = field(default_factory=list)
    self_class: Any = None
    elsewhere: dict[str, "Scope"] = field(default_factory=dict)  # names that are said to be an outer scope's

    def bind(self, name: str, value: Value) -> None:
        home = self.elsewhere.get(name, self)
        home.names[name] = value

    def look_up(self, name: str) -> Value:
        scope: Scope | None = self
        while scope is not None:
            found = scope.names.get(name)
            if found is not None:
                return found
            scope = scope.parent
        return NOTHING

    def outermost(self, name: str) -> "Scope":
        """The scope that has a name; this one if none has."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope
            scope = scope.parent
        return self

    def function(self) -> "Scope":
        scope = self
        while not scope.is_function and scope.parent is not None:
            scope = scope.parent
        return scope

    def star_modules(self) -> Iterator[str]:
        scope: Scope | None = self
        while scope is not None:
            yield from scope.stars
            scope = scope.parent


def imported(node: ast.Import) -> Iterator[tuple[str, str]]:
    """(name it is bound to, dotted name it means)."""
    for each in node.names:
        if each.asname:
            yield each.asname, renamed(each.name)
        else:
            yield each.name.split(".")[0], each.name.split(".")[0]


def renamed(name: str) -> str:
    """The one name of what has several."""
    if name.partition(".")[0] not in _FIRSTS:
        return name
    if name in _SAME:
        return _SAME[name] or "builtins"
    for prefix in ("builtins.", "__builtin__.", "six.moves.builtins."):
        if name.startswith(prefix):
            return name[len(prefix) :]
    for before, after in _SAME.items():
        if after and name.startswith(before + "."):
            return after + name[len(before) :]
    return name
