"""One 512-byte header of a tarball (POSIX ustar, GNU, v7), and what pax records say. Pure.

Strict where programs differ: a number or a name that one reads so and another otherwise is a broken
archive, since what we look at has to be what is installed.
"""

from dataclasses import dataclass
from typing import Final

from sandboxes.screening.archives.errors import BrokenError

BLOCK: Final = 512
_MOST_DIGITS: Final = 20  # of a decimal number


@dataclass(frozen=True, slots=True)
class Header:
    name: bytes
    size: int
    kind: bytes
    link: bytes


def read_header(block: bytes) -> Header:
    if _number(block[148:156]) not in _sums(block):
        raise BrokenError("a header in it is damaged, or it is no tarball")
    name, prefix = _text(block[:100]), _text(block[345:500])
    kind = block[156:157]
    if prefix and kind not in (b"L", b"K", b"S"):
        if block[257:263] != b"ustar\0":
            raise BrokenError("a name in it can be read in two ways")
        name = prefix + b"/" + name
    return Header(name, _number(block[124:136]), kind, _text(block[157:257]))


def _sums(block: bytes) -> tuple[int, int]:
    """With the field itself as blanks; old programs added signed bytes."""
    bare = block[:148] + b" " * 8 + block[156:]
    plain = sum(bare)
    return plain, plain - 256 * sum(1 for each in bare if each > 127)


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes) -> int:
    if field[0] == 0x80:  # GNU: what does not fit is binary
        return int.from_bytes(field[1:], "big")
    digits = _text(field).strip(b" ")
    if digits.strip(b"01234567"):
        raise BrokenError("a number in it can be read in two ways, or it is no tarball")
    return int(digits or b"0", 8)


def read_records(data: bytes) -> dict[bytes, bytes]:
    """Pax: "length key=value\\n" each; the length counts itself."""
    records: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        digits, blank, _ = data[at : at + _MOST_DIGITS].partition(b" ")
        if not blank or not digits.isdigit():
            raise BrokenError("a pax header in it is damaged")
        end = at + int(digits)
        record = data[at + len(digits) + 1 : end]
        key, equals, value = record.partition(b"=")
        if end > len(data) or not equals or not record.endswith(b"\n"):
            raise BrokenError("a pax header in it is damaged")
        if records.setdefault(key, value[:-1]) != value[:-1]:
            raise BrokenError("a pax header in it says two things")
        at = end
    return records


def decimal(value: bytes) -> int:
    if not value.isdigit() or len(value) > _MOST_DIGITS:
        raise BrokenError("a pax header in it has a size that is none")
    return int(value)
