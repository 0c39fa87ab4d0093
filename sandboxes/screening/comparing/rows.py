"""Two texts as rows of a table, around the lines that matter. Pure."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Final, Literal

import msgspec

AROUND: Final = 100  # lines above and below each one that matters
MOST_ROWS: Final = 400  # of one file
MOST_PLACES: Final = 20  # of one file that rows are shown around
MOST_LINES: Final = 20_000  # of one file that are compared at all
LONGEST_LINE: Final = 300  # characters that are shown
_BREAK = re.compile(r"\r\n|\r|\n")  # as Python and npm count lines; others are a character like any other
_TABS = "    "

type Look = Literal["same", "changed", "gone", "new", "skip"]


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """`old`, `new`: the numbers of the lines, from 1; 0: there is none. `look` "skip": `new` lines are left out."""

    look: Look
    old: int = 0
    old_text: str = ""
    new: int = 0
    new_text: str = ""
    found: bool = False  # screening found something in this line


def side_by_side(old: str | None, new: str, found: Iterable[int]) -> list[Row]:
    """`old` None: there is nothing to compare with. `found`: numbers of lines in `new`; 0 stands for the whole."""
    lines = _lines(new)
    places = {max(1, min(line, len(lines))) for line in found}
    rows = list(_all(_lines(old) if old is not None else None, lines))
    return _cut(rows, places)


def shown(text: str, longest: int = LONGEST_LINE) -> str:
    """What a browser would hide, turn round or act on is written out, and what is too long is cut."""
    more = len(text) - longest
    text = text[:longest].replace("\t", _TABS)
    told = "".join(_told(character) for character in text)
    return f"{told} … {more} more characters" if more > 0 else told


def _told(character: str) -> str:
    if character.isascii():
        return character if character.isprintable() else f"\\x{ord(character):02x}"
    if unicodedata.category(character) in ("Cc", "Cf", "Co", "Cs", "Zl", "Zp"):
        return f"\\u{{{ord(character):x}}}"
    return character


def _lines(text: str) -> list[str]:
    found = _BREAK.split(text, maxsplit=MOST_LINES)
    if found[-1] == "" and len(found) > 1:
        found.pop()
    return found[:MOST_LINES]


def _all(old: list[str] | None, new: list[str]) -> Iterator[Row]:
    if old is None:
        for number, text in enumerate(new, 1):
            yield Row("same", new=number, new_text=text)
        return
    for tag, a, b, c, d in _opcodes(old, new):
        if tag == "equal":
            for step in range(b - a):
                yield Row("same", a + step + 1, old[a + step], c + step + 1, new[c + step])
            continue
        for left, right in zip_longest(range(a, b), range(c, d)):
            yield _differing(old, left, new, right)


def _differing(old: list[str], left: int | None, new: list[str], right: int | None) -> Row:
    before = (0, "") if left is None else (left + 1, old[left])
    now = (0, "") if right is None else (right + 1, new[right])
    look: Look = "new" if left is None else "gone" if right is None else "changed"
    return Row(look, *before, *now)


def _opcodes(old: list[str], new: list[str]) -> Iterator[tuple[str, int, int, int, int]]:
    """What both have at their beginning and end costs nothing: mostly that is all but a few lines."""
    head = _common(old, new)
    tail = _common(old[head:][::-1], new[head:][::-1])
    if head:
        yield "equal", 0, head, 0, head
    inner = SequenceMatcher(None, old[head : len(old) - tail], new[head : len(new) - tail])
    for tag, a, b, c, d in inner.get_opcodes():
        yield tag, a + head, b + head, c + head, d + head
    if tail:
        yield "equal", len(old) - tail, len(old), len(new) - tail, len(new)


def _common(one: list[str], other: list[str]) -> int:
    for number, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return number
    return min(len(one), len(other))


def _cut(rows: list[Row], places: set[int]) -> list[Row]:
    """The rows around those places, nearest first if there are too many; the gaps between say how long they are."""
    centres = [index for index, row in enumerate(rows) if row.new in places]
    near = {index: _distance(index, centres) for index in _reached(len(rows), centres)}
    kept = sorted(sorted(near, key=lambda index: (near[index], index))[:MOST_ROWS])
    result: list[Row] = []
    before = -1
    for index in kept:
        if index > before + 1:
            result.append(Row("skip", new=index - before - 1))
        result.append(_clipped(rows[index], places))
        before = index
    if before + 1 < len(rows):
        result.append(Row("skip", new=len(rows) - before - 1))
    return result


def _reached(size: int, centres: list[int]) -> set[int]:
    return {
        index
        for centre in centres[:MOST_PLACES]
        for index in range(max(0, centre - AROUND), min(size, centre + AROUND + 1))
    }


def _distance(index: int, centres: list[int]) -> int:
    return min(abs(index - centre) for centre in centres[:MOST_PLACES])


def _clipped(row: Row, places: set[int]) -> Row:
    return Row(row.look, row.old, shown(row.old_text), row.new, shown(row.new_text), found=row.new in places)
