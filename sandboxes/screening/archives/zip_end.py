"""Where a zip's directory is: its end record (APPNOTE 4.3.14 to 4.3.16), found as Python finds it."""

import struct
from dataclasses import dataclass
from typing import Final

from sandboxes.screening.archives.errors import BrokenError
from sandboxes.screening.archives.limits import said
from sandboxes.screening.archives.oddities import Oddities
from sandboxes.screening.archives.source import Source

_END: Final = struct.Struct("<4s4H2LH")
_LOCATOR: Final = struct.Struct("<4sLQL")
_LARGE: Final = struct.Struct("<4sQ2H2L4Q")
_SIGNATURE: Final = b"PK\x05\x06"
_LOCATED: Final = b"PK\x06\x07"
_ENTRY: Final = b"PK\x01\x02"
_FULL: Final = 0xFFFFFFFF
_COMMENT: Final = 0xFFFF  # bytes that a comment may have


@dataclass(frozen=True, slots=True)
class End:
    directory: int  # where it starts in the file
    size: int
    members: int  # as it says
    shift: int  # what has to be added to each offset: bytes that stand before the zip


def find_end(source: Source, odd: Oddities) -> End:
    start = max(source.size - _COMMENT - _END.size, 0)
    tail = source.read(start, source.size - start)
    at = _last(tail)
    if at < 0:
        raise BrokenError("it is no zip, or its end is missing")
    _tell_rest(tail, at, odd)
    return _read(source, start + at, tail[at : at + _END.size], odd)


def is_also_zip(source: Source) -> bool:
    """Whether a file of another kind can be opened as a zip too: by some, it will be.

    Of all else that an end says Python reads next to nothing, so neither do we: a member count of none, a disk that
    is not this one, or a comment that is cut off make a zip that others open and that we do not.
    """
    start = max(source.size - _COMMENT - _END.size, 0)
    tail = source.read(start, source.size - start)
    at = tail.find(_SIGNATURE)
    while 0 <= at <= len(tail) - _END.size:
        size = _END.unpack_from(tail, at)[5]
        if source.read(start + at - size, 4) == _ENTRY:
            return True
        if source.read(start + at - _LOCATOR.size, 4) == _LOCATED:
            return True
        at = tail.find(_SIGNATURE, at + 1)
    return False


def _last(tail: bytes) -> int:
    plain = len(tail) - _END.size
    if plain >= 0 and tail[plain : plain + 4] == _SIGNATURE and tail.endswith(b"\0\0"):
        return plain
    found = tail.rfind(_SIGNATURE)
    return found if 0 <= found <= plain else -1


def _tell_rest(tail: bytes, at: int, odd: Oddities) -> None:
    """Comments that reach the file's end are harmless, unless another end could be read in one."""
    (comment,) = struct.unpack_from("<H", tail, at + _END.size - 2)
    rest = len(tail) - at - _END.size - comment
    if rest > 0:
        odd.add(f"There are {said(rest)} after its end.")
    elif rest < 0:
        raise BrokenError("its end is cut off")
    other = tail.find(_SIGNATURE)
    while 0 <= other <= len(tail) - _END.size:
        (length,) = struct.unpack_from("<H", tail, other + _END.size - 2)
        if other != at and other + _END.size + length == len(tail):
            odd.add("It has two ends: programs may read different archives in it.")
            return
        other = tail.find(_SIGNATURE, other + 1)


def _read(source: Source, at: int, record: bytes, odd: Oddities) -> End:
    _, disk, first, here, members, size, offset, _ = _END.unpack(record)
    large = _large(source, at)
    if large is not None:
        small = zip((members, size, offset), (0xFFFF, _FULL, _FULL), large[1:], strict=True)
        if any(value not in (full, other) for value, full, other in small):
            raise BrokenError("it has two ends that disagree")
        at, members, size, offset = large
    elif disk or first or here != members:
        raise BrokenError("it is one part of several")
    start = at - size
    shift = start - offset
    if start < 0 or shift < 0:
        raise BrokenError("its directory is not where its end says")
    if shift:
        odd.add(f"There are {said(shift)} before its start.")
    return End(directory=start, size=size, members=members, shift=shift)


def _large(source: Source, at: int) -> tuple[int, int, int, int] | None:
    """The zip64 record: where it is, members, the directory's size and offset.

    Python takes the one that stands right before its locator, others the one that the locator names;
    where these are not the same, `told` differs from the place by more than the bytes before the zip.
    """
    locator = source.read(at - _LOCATOR.size, _LOCATOR.size)
    if not locator.startswith(_LOCATED):
        return None
    _, part, told, parts = _LOCATOR.unpack(locator)
    place = at - _LOCATOR.size - _LARGE.size
    record = source.read(place, _LARGE.size)
    if part or parts > 1 or len(record) < _LARGE.size or not record.startswith(b"PK\x06\x06"):
        raise BrokenError("its end is damaged")
    _, length, _, _, disk, first, here, members, size, offset = _LARGE.unpack(record)
    if length != _LARGE.size - 12 or disk or first or here != members or told != offset + size:
        raise BrokenError("its end is damaged")
    return place, members, size, offset
