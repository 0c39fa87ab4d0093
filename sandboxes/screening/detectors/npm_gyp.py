"""The commands in an npm package's build files: npm builds what has a `binding.gyp`, and gyp runs them.

A build file is an expression of Python's, which gyp works out: so texts in it may be put together. In `<!(…)` stands
a command whose output is wanted, in `action` one that is run when it is built.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from sandboxes.screening.detectors.reading_code import line_at, parsed
from sandboxes.screening.package import Package

LARGEST: Final = 1_000_000  # bytes of a file
_FILES: Final = 100
_COMMANDS: Final = 1_000
_OUTPUT: Final = re.compile(r"<!@?\(([^\n]{1,2000})\)|<!@?\(([^\n]{1,2000})")
_PLACE: Final = re.compile(r"[<>^]@?\([^()\n]{1,100}\)/")  # <(module_root_dir)/
_LIST: Final = re.compile(r"['\"]action['\"]\s*:\s*\[([^\]]{1,5000})\]")
_TEXT: Final = re.compile(r"'([^'\n]*)'|\"([^\"\n]*)\"")


@dataclass(frozen=True)
class Command:
    path: str
    line: int
    text: str


@dataclass(frozen=True)
class TooLarge:
    path: str


@dataclass(frozen=True)
class Program:
    """It calls something. gyp would do so, and build files of good packages only say things."""

    path: str
    line: int


type Told = Command | TooLarge | Program


def commands(package: Package) -> Iterator[Told]:
    if package.member("binding.gyp") is None:
        return
    paths = [each.path for each in package.members if each.path.lower().endswith((".gyp", ".gypi"))]
    for path in sorted(paths, key=lambda each: (each != "binding.gyp", each))[:_FILES]:
        member = package.member(path)
        if member is None or member.size > LARGEST:
            yield TooLarge(path)
            continue
        found = list(islice(_within(path, member.text(LARGEST).removeprefix("\ufeff")), _COMMANDS + 1))
        yield from found[:_COMMANDS]
        if len(found) > _COMMANDS:
            yield TooLarge(path)
    if len(paths) > _FILES:
        yield TooLarge(paths[-1])


def _within(path: str, text: str) -> Iterator[Told]:
    tree, _ = parsed(text.strip())
    found = _by_words(text) if tree is None else _by_tree(tree)
    above = 0 if tree is None else line_at(text, len(text) - len(text.lstrip())) - 1
    for line, command in found:
        if command is None:
            yield Program(path, above + line)
        else:
            yield Command(path, above + line, _PLACE.sub("", command))


def _by_tree(tree: ast.AST) -> Iterator[tuple[int, str | None]]:
    """Lines and commands. Each text is looked at once, with what it is a part of."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Constant | ast.BinOp):
            text, others = _folded(node)
            waiting += others
            yield from ((node.lineno, one or two) for one, two in _OUTPUT.findall(text))
            continue
        if isinstance(node, ast.Call):
            yield node.lineno, None
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(value, ast.List) and key and _folded(key)[0].rstrip("+?%") == "action":
                    yield value.lineno, " ".join(_folded(each)[0] for each in value.elts)
        waiting += ast.iter_child_nodes(node)


def _folded(node: ast.expr) -> tuple[str, list[ast.expr]]:
    """A text, also one that is a sum of texts, and what else is in the sum."""
    texts: list[str] = []
    others: list[ast.expr] = []
    waiting = [node]
    while waiting:
        part = waiting.pop()
        if isinstance(part, ast.BinOp):
            waiting += (part.left, part.right)
        elif isinstance(part, ast.Constant):
            texts.append(part.value if isinstance(part.value, str) else "")
        else:
            others.append(part)
    return "".join(reversed(texts)), others


def _by_words(text: str) -> Iterator[tuple[int, str]]:
    for match in _OUTPUT.finditer(text):
        yield line_at(text, match.start()), match[1] or match[2]
    for match in _LIST.finditer(text):
        words = (one or two for one, two in _TEXT.findall(match[1]))
        yield line_at(text, match.start()), " ".join(words)
