"""One 512-byte header of a tarball (POSIX ustar, GNU, v7), and what pax records say. Pure.

Strict where programs differ: a number or a name that one reads so and another otherwise is a broken
archive, since what we look at has to be what is installed.
"""

from dataclasses import dataclass
from typing import Final

from sandboxes.screening.archives.errors import BrokenError

BLOCK: Final = 512
_MOST_DIGITS: Final = 20  # of a decimal number
_NAMES: Final = (b"path", b"linkpath")
_MAGIC: Final = b"ustar\0"
_WITH_PREFIX: Final = _MAGIC + b"00"  # and its version
# npm ends a name at a NUL only as far as the line goes: what stands in a line after it, it has in the name.
_LINE_ENDS: Final = (b"\n", b"\r", b"\xe2\x80\xa8", b"\xe2\x80\xa9")


@dataclass(frozen=True, slots=True)
class Header:
    name: bytes
    size: int
    kind: bytes
    link: bytes


def read_header(block: bytes, lenient: bool = False) -> Header:
    """`lenient`: by Python's rules alone, where others have stricter ones."""
    if not has_sum(block):
        raise BrokenError("a header in it is damaged, or it is no tarball")
    if not lenient and not _is_plain_sum(block):
        raise BrokenError("a header in it has a sum that not all programs take")
    name, prefix = text(block[:100]), text(block[345:500])
    kind = block[156:157]
    if prefix and kind not in (b"L", b"K", b"S"):
        # Python takes what stands there for a prefix always, npm only so; GNU's own headers have times there.
        if not block[257:265].startswith(_MAGIC if lenient else _WITH_PREFIX):
            raise BrokenError("a name in it can be read in two ways")
        name = prefix + b"/" + name
    return Header(name, _number(block[124:136]), kind, text(block[157:257]))


def has_sum(block: bytes) -> bool:
    """Whether it is a header at all, by any reader's rules."""
    try:
        return _number(block[148:156]) in _sums(block)
    except BrokenError:
        return False


def _is_plain_sum(block: bytes) -> bool:
    """npm reads the number beyond its field if nothing ends it there, and knows no signed sums.

    A header that it finds damaged it leaves out, and then reads the member's bytes as headers.
    """
    field = block[148:156]
    return field[0] != 0x80 and field[-1:] in (b" ", b"\0") and _number(field) == _sums(block)[0]


def _sums(block: bytes) -> tuple[int, int]:
    """With the field itself as blanks; old programs added signed bytes."""
    bare = block[:148] + b" " * 8 + block[156:]
    plain = sum(bare)
    return plain, plain - 256 * sum(1 for each in bare if each > 127)


def text(field: bytes) -> bytes:
    """Up to a NUL."""
    found, _, rest = field.partition(b"\0")
    if any(end in rest for end in _LINE_ENDS):
        raise BrokenError("a name in it can be read in two ways")
    return found


def _number(field: bytes) -> int:
    if field[0] == 0x80:  # GNU: what does not fit is binary
        return int.from_bytes(field[1:], "big")
    digits = field.partition(b"\0")[0].strip(b" ")
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
        if b"\0" in value and key in _NAMES:
            raise BrokenError("a name in it can be read in two ways")
        if records.setdefault(key, value[:-1]) != value[:-1]:
            raise BrokenError("a pax header in it says two things")
        at = end
    return records


def decimal(value: bytes) -> int:
    if not value.isdigit() or len(value) > _MOST_DIGITS:
        raise BrokenError("a pax header in it has a size that is none")
    return int(value)
