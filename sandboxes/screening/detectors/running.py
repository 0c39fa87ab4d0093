"""Follows what a file does when it runs, without running it.

Each statement is looked at once, in order; both ways of an `if` are taken; loops are gone through once; functions
of the same file are entered where they are called. Values are constants, dotted names, or where they come from
(`values.py`). Everything is bounded by steps and depth: a hostile file is looked at up to there.
"""

import ast
from collections.abc import Sequence
from typing import Any

from sandboxes.screening.detectors.run_calls import Calls
from sandboxes.screening.detectors.run_expressions import Expressions
from sandboxes.screening.detectors.run_known import KnownCalls
from sandboxes.screening.detectors.run_state import TooMuch
from sandboxes.screening.detectors.run_statements import Statements
from sandboxes.screening.detectors.values import Value


class Run(Statements, Expressions, Calls, KnownCalls):
    """Of one file: what it does is in `events`."""

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
        self.depth = self.deep = self.layers = 0
        self.hidden = False
        self.line = 0
