"""Which popular project a name could be taken for, and how. Pure, and one set of tables per process.

Names are short, so all that is one slip of a finger away from one is made up (some 80 per character) and
looked up: that costs little, where measuring the distance to each popular name would cost as many as
there are.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from string import ascii_lowercase, digits
from typing import Final

# Of shorter names nearly every neighbour is a project of its own right.
_SHORTEST_SLIP: Final = 5
_SHORTEST: Final = 4
_LONGEST: Final = 100
_SEPARATORS: Final = re.compile(r"[-_./@]+")
_LETTERS: Final = ascii_lowercase + digits + "-"
# What is said before or after a project's name to look like a part of it, or like the project itself.
_BEFORE: Final = (
    "python-", "python3-", "py-", "py", "lib", "node-", "js-", "the-", "official-", "real-", "new-",
)  # fmt: skip
_AFTER: Final = (
    "-python", "-python3", "-py", "-py3", "py", "-dev", "-devel", "-lib", "-js", "js", "-node", "-core",
    "-utils", "-official", "-latest", "-new", "-fixed", "-patched", "-binary", "-sdk", "-client", "-api",
    "-cli", "s", "2", "3", "-2", "-3",
)  # fmt: skip
# What is taken for something else at a glance; the longer ones first.
_SEEN_AS: Final = (
    ("rn", "m"),
    ("vv", "w"),
    ("0", "o"),
    ("1", "l"),
    ("i", "l"),
    ("5", "s"),
    ("8", "b"),
    ("q", "g"),
)
# Letters of other alphabets that are drawn as Latin ones are.
_DRAWN_AS: Final = str.maketrans("аеорсухіјѕԁһӏԛԝνοαρυκτι", "aeopcyxijsdhlqwvoapukti")


@dataclass(frozen=True, slots=True)
class Likeness:
    popular: str
    how: str  # ends the sentence "Its name ..."


@dataclass(frozen=True, slots=True)
class _Tables:
    names: frozenset[str]
    ranks: dict[str, int]
    joined: dict[str, str]  # without separators
    sorted: dict[str, str]  # words in the order of the alphabet
    seen: dict[str, str]  # as it looks


@lru_cache(maxsize=4)
def _tables(popular: tuple[str, ...]) -> _Tables:
    joined: dict[str, str] = {}
    words: dict[str, str] = {}
    seen: dict[str, str] = {}
    for name in popular:  # the most used comes first, and stays
        joined.setdefault(_joined(name), name)
        words.setdefault(_sorted(name), name)
        seen.setdefault(_seen(name), name)
    ranks = {name: rank for rank, name in reversed(list(enumerate(popular)))}
    return _Tables(frozenset(popular), ranks, joined, words, seen)


def likeness(name: str, popular: tuple[str, ...]) -> Likeness | None:
    """The popular project that it is most likely taken for; None: none, or it is popular itself."""
    tables = _tables(popular)
    if name in tables.names or not _SHORTEST <= len(name) <= _LONGEST:
        return None
    found = (each for each in _likenesses(name, tables) if len(each.popular) >= _SHORTEST)
    # The first way in which it is like any; of several projects, the most used.
    ways: dict[str, list[str]] = {}
    for each in found:
        ways.setdefault(each.how, []).append(each.popular)
    for how, projects in ways.items():
        return Likeness(min(projects, key=lambda project: tables.ranks[project]), how)
    return None


def _likenesses(name: str, tables: _Tables) -> Iterator[Likeness]:
    if (same := tables.seen.get(_seen(name))) and not name.isascii():
        yield Likeness(same, "has letters of another alphabet and looks like")
    if same := tables.joined.get(_joined(name)):
        yield Likeness(same, "differs by its separators alone from")
    if same := tables.seen.get(_seen(name)):
        yield Likeness(same, "looks like")
    if same := tables.sorted.get(_sorted(name)):
        yield Likeness(same, "has the same words in another order as")
    if len(name) >= _SHORTEST_SLIP:
        for near in _slips(name) & tables.names:
            if len(near) >= _SHORTEST_SLIP:
                yield Likeness(near, "is one slip of a finger away from")
    for inner in _inner(name):
        if inner in tables.names:
            yield Likeness(inner, "is, with something said before or after it, that of")


def _joined(name: str) -> str:
    return _SEPARATORS.sub("", name)


def _sorted(name: str) -> str:
    return "-".join(sorted(_SEPARATORS.split(name.lstrip("@"))))


def _seen(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name.lower()).translate(_DRAWN_AS)
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    for written, seen in _SEEN_AS:
        plain = plain.replace(written, seen)
    return plain


def _slips(name: str) -> set[str]:
    """All that is one letter more, less, other, or two in each other's place (Damerau-Levenshtein 1)."""
    halves = [(name[:at], name[at:]) for at in range(len(name) + 1)]
    return (
        {left + right[1:] for left, right in halves if right}
        | {left + right[1] + right[0] + right[2:] for left, right in halves if len(right) > 1}
        | {left + letter + right[1:] for left, right in halves if right for letter in _LETTERS}
        | {left + letter + right for left, right in halves for letter in _LETTERS}
    )


def _inner(name: str) -> Iterator[str]:
    for before in _BEFORE:
        if name.startswith(before):
            yield name.removeprefix(before)
    for after in _AFTER:
        if name.endswith(after):
            yield name.removesuffix(after)
