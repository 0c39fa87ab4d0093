"""What is known while one file runs, and what the parts that run it ask of each other."""

import ast
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sandboxes.screening.detectors.names_in_code import Scope
from sandboxes.screening.detectors.values import (
    NOWHERE,
    Origin,
    Value,
)
from sandboxes.screening.findings import Ability

STEPS: Final = 60_000  # expressions and statements of a run
EVENTS: Final = 500  # of a run
DEPTH: Final = 60  # of expressions inside each other, and of statements


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
    read_from: str = ""  # the file whose content it was given, as far as its path is known
    followed: bool = False  # that file was looked at as well (`run_files.py`)


class TooMuch(Exception):  # noqa: N818 - it ends a run and nothing else
    """The steps are spent."""


@dataclass
class State(ABC):
    """`events` is what comes of a run. What is abstract here, one of its parts does for the others."""

    module: str
    is_package: bool = False
    steps: int = STEPS
    main: bool = False  # it runs as a program: `if __name__ == "__main__"` is taken
    events: list[Event] = field(default_factory=list)
    called: set[str] = field(default_factory=set)  # names of elsewhere
    imports: set[str] = field(default_factory=set)
    entered: dict[int, int] = field(default_factory=dict)  # functions, by identity, and how often
    given: dict[object, int] = field(default_factory=dict)  # and by what they were given as well
    rebound: int = 0  # names of the module that came to mean something else
    exhausted: bool = False  # part of it was too much, and is not in `events`
    globals: Scope = field(default_factory=Scope)
    depth: int = 0
    deep: int = 0  # functions that were entered inside each other
    layers: int = 0  # code in strings in code
    line: int = 0
    hidden: bool = False

    def step(self, cost: int = 1) -> None:
        self.steps -= cost
        if self.steps < 0:
            raise TooMuch

    def line_of(self, node: ast.expr) -> int:
        return self.line if self.layers else node.lineno

    def member(self, code: Any, name: str, depth: int = 0) -> Value | None:
        inner = self.globals.classes.get(id(code))
        if inner is None or depth > 5:
            return None
        if name in inner.names:
            return inner.names[name]
        for base in inner.bases:
            deeper = self.member(base, name, depth + 1)
            if deeper is not None:
                return deeper
        return None

    def event(
        self,
        ability: Ability,
        kind: str,
        name: str,
        origins: frozenset[Origin],
        texts: tuple[str, ...],
        *,
        constant: bool,
        read_from: str = "",
    ) -> None:
        if len(self.events) >= EVENTS:
            self.exhausted = True
            return
        hidden = self.hidden or Origin.SPELLED in origins
        self.events.append(
            Event(ability, kind, name, self.line, origins, texts, hidden, constant, read_from=read_from)
        )

    @abstractmethod
    def block(self, statements: Sequence[ast.stmt], scope: Scope) -> None: ...
    @abstractmethod
    def bind(self, target: ast.expr, made: Value, scope: Scope, source: ast.expr | None) -> None: ...
    @abstractmethod
    def value(self, node: ast.expr, scope: Scope) -> Value: ...
    @abstractmethod
    def attribute(self, base: Value, name: str, scope: Scope) -> Value: ...
    @abstractmethod
    def item(self, base: Value, index: Value, scope: Scope) -> Value: ...
    @abstractmethod
    def variable(self, index: Value) -> Value: ...
    @abstractmethod
    def two(self, operation: ast.operator, left: Value, right: Value) -> Value: ...
    @abstractmethod
    def call(self, node: ast.Call, scope: Scope) -> Value: ...
    @abstractmethod
    def enter(self, function: Value, arguments: Sequence[Value], words: dict[str, Value]) -> Value: ...
    @abstractmethod
    def method(
        self, code: Any, name: str, arguments: Sequence[Value], words: dict[str, Value] | None = None
    ) -> None: ...
    @abstractmethod
    def named_call(
        self, function: Value, arguments: Sequence[Value], words: dict[str, Value], node: ast.expr
    ) -> Value: ...
