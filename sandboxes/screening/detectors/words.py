"""Whether words stand in a text, all of them looked for in one pass over its bytes.

Nearly every file has none of the words without which a detector finds nothing in it. A pattern engine looks for a
hundred words in the time that Python takes for three, so this is what makes screening cheap.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Final

import yara_x

_NONE: Final[Mapping[str, str]] = MappingProxyType({})
_SECONDS: Final = 5  # for one text


class Words:
    """`patterns`: by a name, what is more than a word, as YARA writes it between slashes."""

    def __init__(
        self, words: Iterable[bytes], *, any_case: bool = False, patterns: Mapping[str, str] = _NONE
    ) -> None:
        self._any_case = any_case
        self._words = tuple(dict.fromkeys(words))
        self._patterns = dict(patterns)

    def within(self, content: bytes) -> frozenset[bytes]:
        """Those that stand in it, and the names of patterns. All of them, if that takes too long to be told."""
        try:
            matching = self._scanner.scan(content).matching_rules
        except (yara_x.TimeoutError, yara_x.ScanError):
            return frozenset(self._named.values())
        return frozenset([self._named[rule.identifier] for rule in matching])

    @cached_property
    def _named(self) -> dict[str, bytes]:
        every = (*self._words, *(name.encode() for name in self._patterns))
        return {f"r{number}": each for number, each in enumerate(every)}

    @cached_property
    def _scanner(self) -> yara_x.Scanner:
        case = " nocase" if self._any_case else ""
        hexes = [f"/{_literal(each)}/{case}" for each in self._words]
        compiler = yara_x.Compiler(relaxed_re_syntax=True)
        for name, pattern in zip(
            self._named, [*hexes, *(f"/{each}/{case}" for each in self._patterns.values())], strict=True
        ):
            compiler.add_source(f"rule {name} {{ strings: $a = {pattern} condition: $a }}")
        scanner = yara_x.Scanner(compiler.build())
        scanner.set_timeout(_SECONDS)
        scanner.max_matches_per_pattern(1)  # where it is, is not asked
        return scanner


def _literal(word: bytes) -> str:
    return "".join(chr(each) if each < 128 and chr(each).isalnum() else f"\\x{each:02x}" for each in word)
