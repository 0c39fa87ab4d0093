"""A zip, as pip reads it: by the directory at its end. What other readers would see otherwise is told.

Some programs read a zip from its start, header by header (uv does while it downloads), so whatever
lies between the members, before or after them, or says something else than the directory, may be
another archive to them. APPNOTE.TXT 6.3.10 is quoted by its sections.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

from sandboxes.screening.archives import unpacking
from sandboxes.screening.archives.errors import BrokenError, LimitError, LockedError
from sandboxes.screening.archives.limits import Limits, said
from sandboxes.screening.archives.members import Cache, FileMember
from sandboxes.screening.archives.oddities import Oddities, check_size, decoded, path_of, shown
from sandboxes.screening.archives.source import Source
from sandboxes.screening.archives.zip_end import End, find_end

_LOCAL: Final = struct.Struct("<4s5H3L2H")  # 4.3.7
_ENTRY: Final = struct.Struct("<4s6H3L5H2L")  # 4.3.12
_ENCRYPTED: Final = 0x1  # 4.4.4
_DESCRIBED_AFTER: Final = 0x8
_UTF8: Final = 0x800
_STORED, _DEFLATED, _BZIP2, _LZMA = 0, 8, 12, 14  # 4.4.5: what Python reads
_UNIX: Final = 3  # 4.4.2.2
_ZIP64, _UNICODE_PATH = 0x0001, 0x7075  # 4.6.1
_FULL: Final = 0xFFFFFFFF
_KINDS: Final = {0o120000: "a link", 0o020000: "a device", 0o060000: "a device", 0o010000: "a pipe"}


class _Spot(NamedTuple):
    """Where a member's bytes are."""

    header: int
    data: int
    end: int


@dataclass(slots=True)
class _Entry:
    """What the directory says of one."""

    raw: bytes
    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    header: int
    mode: int


def read_zip(source: Source, limits: Limits, odd: Oddities, cache: Cache) -> list[FileMember]:
    end = find_end(source, odd)
    entries = list(_entries(source, end, limits, odd))
    if len(entries) != end.members:
        odd.add(f"It says it has {end.members} members, and has {len(entries)}.")
    _check_sizes(entries, source, limits, odd)
    spots = [_located(source, entry, end, odd) for entry in entries]
    _check_order(source, entries, spots, end, odd)
    members = []
    for number, (entry, spot) in enumerate(zip(entries, spots, strict=True)):
        path = path_of(entry.name, limits, odd)
        if entry.name.endswith("/"):
            if entry.size:
                raise BrokenError(f"{shown(entry.name)} is a folder with bytes of its own")
            continue
        if not path:
            odd.add(f"A member has the name {shown(entry.name)}.")
            continue
        if kind := _KINDS.get(entry.mode & 0o170000):
            odd.add(f"{shown(path)} is {kind}.")
        members.append(FileMember(path, entry.size, partial(_bytes, source, entry, spot), cache, number))
    return members


def _entries(source: Source, end: End, limits: Limits, odd: Oddities) -> Iterator[_Entry]:
    if end.size > limits.names:
        raise LimitError(f"its directory has {said(end.size)}; at most {said(limits.names)} are read")
    directory = source.read(end.directory, end.size)
    at = number = 0
    while at < len(directory):
        if len(directory) - at < _ENTRY.size or directory[at : at + 4] != b"PK\x01\x02":
            raise BrokenError("its directory is damaged")
        number += 1
        if number > limits.members:
            raise LimitError(f"it has more than {limits.members} members")
        entry, length = _entry(directory, at, end.shift, odd)
        at += length
        yield entry


def _entry(directory: bytes, at: int, shift: int, odd: Oddities) -> tuple[_Entry, int]:
    found = _ENTRY.unpack_from(directory, at)
    made_by, flags, method = found[1], found[3], found[4]
    crc, packed, size = found[7:10]
    name_size, extra_size, comment_size, disk = found[10:14]
    attributes, header = found[15:17]
    start = at + _ENTRY.size
    length = _ENTRY.size + name_size + extra_size + comment_size
    if at + length > len(directory):
        raise BrokenError("its directory is damaged")
    raw = directory[start : start + name_size]
    fields = _extra(directory[start + name_size : start + name_size + extra_size])
    size, packed, header, disk = _large(fields, size, packed, header, disk)
    if disk:
        raise BrokenError("it is one part of several")
    name = _name(raw, flags, fields, odd)
    mode = attributes >> 16 if made_by >> 8 == _UNIX else 0
    return _Entry(raw, name, flags, method, crc, packed, size, header + shift, mode), length


def _extra(data: bytes) -> dict[int, bytes]:
    """Fields by their number (4.5). A rest that is too short for one is nothing, as Python has it."""
    fields: dict[int, bytes] = {}
    at = 0
    while len(data) - at >= 4:
        number, size = struct.unpack_from("<2H", data, at)
        at += 4 + size
        if at > len(data):
            raise BrokenError("its directory is damaged")
        if number in (_ZIP64, _UNICODE_PATH) and number in fields:
            raise BrokenError("a member is described twice")
        fields[number] = data[at - size : at]
    return fields


def _large(fields: dict[int, bytes], size: int, packed: int, header: int, disk: int) -> tuple[int, ...]:
    """4.5.3: what does not fit stands in a field, in this order, and only what does not fit."""
    data = fields.get(_ZIP64, b"")
    values = [size, packed, header]
    for number, value in enumerate(values):
        if value == _FULL:
            if len(data) < 8:
                raise BrokenError("its directory is damaged")
            values[number] = int.from_bytes(data[:8], "little")
            data = data[8:]
    return (*values, 0 if disk == 0xFFFF else disk)


def _name(raw: bytes, flags: int, fields: dict[int, bytes], odd: Oddities) -> str:
    """As Python has it: up to a NUL, and UTF-8 only if it says so."""
    if not flags & _UTF8 and not raw.isascii():
        odd.add(f"The name {shown(raw.decode('utf-8', 'backslashreplace'))} does not say it is UTF-8.")
    name = decoded(raw, "utf-8", odd) if flags & _UTF8 else raw.decode("cp437")
    _check_second_name(raw, name, fields)
    before, nul, _ = name.partition("\0")
    if nul:
        odd.add(f"The name {shown(name)} has a NUL: most programs end it there.")
    return before


def _check_second_name(raw: bytes, name: str, fields: dict[int, bytes]) -> None:
    """4.6.9: a name in UTF-8 beside the first one, which newer Pythons take and older do not."""
    data = fields.get(_UNICODE_PATH, b"")
    if len(data) < 5 or data[5:] in (raw, name.encode()):
        return
    if not raw.isascii() and data[1:5] == zlib.crc32(raw).to_bytes(4, "little"):
        return  # what it is for: the first name could not be written otherwise
    raise BrokenError(f"{shown(name)} has a second name, {shown(data[5:].decode('utf-8', 'replace'))}")


def _check_sizes(entries: list[_Entry], source: Source, limits: Limits, odd: Oddities) -> None:
    total = 0
    for entry in entries:
        check_size(entry.name, entry.size, entry.packed, limits, odd)
        total += entry.size
    if total > limits.total:
        raise LimitError(f"it unpacks to {said(total)}; at most {said(limits.total)} are read")
    if total > limits.floor and total > limits.ratio * source.size:
        raise LimitError(f"it unpacks to more than {limits.ratio} times its size, {said(total)}: a bomb")


def _located(source: Source, entry: _Entry, end: End, odd: Oddities) -> _Spot:
    head = source.read(entry.header, _LOCAL.size)
    if len(head) < _LOCAL.size or not head.startswith(b"PK\x03\x04"):
        raise BrokenError(f"{shown(entry.name)} is not where the directory says")
    _, _, flags, method, _, _, crc, packed, size, name_size, extra_size = _LOCAL.unpack(head)
    rest = source.read(entry.header + _LOCAL.size, name_size + extra_size)
    data = entry.header + _LOCAL.size + name_size + extra_size
    spot = _Spot(entry.header, data, data + entry.packed)
    if len(rest) < name_size + extra_size or spot.end > end.directory:
        raise BrokenError(f"{shown(entry.name)} ends in the middle")
    if flags & _ENCRYPTED or entry.flags & _ENCRYPTED:
        odd.add(f"{shown(entry.name)} is encrypted.")
    differing = _differing(entry, (rest[:name_size], flags, method, crc, packed, size), rest[name_size:])
    if differing:
        odd.add(f"{shown(entry.name)} has another {' and '.join(differing)} before its bytes.")
    return spot


def _differing(entry: _Entry, local: tuple[bytes, int, int, int, int, int], extra: bytes) -> list[str]:
    raw, flags, method, crc, packed, size = local
    different = []
    if raw != entry.raw:
        different.append(f"name ({shown(raw.decode('utf-8', 'backslashreplace'))})")
    if method != entry.method:
        different.append("method")
    if (flags ^ entry.flags) & (_ENCRYPTED | _UTF8):
        different.append("set of flags")
    if flags & _DESCRIBED_AFTER and (crc, packed, size) in ((0, 0, 0), (0, _FULL, _FULL)):
        return different  # they come after the bytes
    if _FULL in (packed, size):
        size, packed, *_ = _large(_extra(extra), size, packed, 0, 0)
        if flags & _DESCRIBED_AFTER and (packed, size) == (0, 0):
            return different
    if crc != entry.crc:
        different.append("checksum")
    if (packed, size) != (entry.packed, entry.size):
        different.append("size")
    return different


def _check_order(source: Source, entries: list[_Entry], spots: list[_Spot], end: End, odd: Oddities) -> None:
    """Every byte up to the directory belongs to one member, or it is told what does not."""
    at = 0
    after: _Entry | None = None
    for spot, entry in sorted(zip(spots, entries, strict=True), key=lambda each: each[0]):
        if spot.header < at:
            raise LimitError(f"{shown(entry.name)} shares its bytes with another member: a bomb")
        _check_gap(source, at, spot.header, after, odd)
        at, after = spot.end, entry
    _check_gap(source, at, end.directory, after, odd)


def _check_gap(source: Source, start: int, stop: int, after: _Entry | None, odd: Oddities) -> None:
    if start == stop:
        return
    short = stop - start <= 24  # bytes, as a description that follows may have
    if (
        short
        and after is not None
        and after.flags & _DESCRIBED_AFTER
        and source.read(start, stop - start) in _descriptors(after)
    ):
        return
    hidden = source.read(start, 4) == b"PK\x03\x04"
    what = "is a member that its directory does not name" if hidden else "are bytes that belong to no member"
    where = "before its first member" if after is None else f"after {shown(after.name)}"
    odd.add(f"There {what} {where} ({said(stop - start)}).")


def _descriptors(entry: _Entry) -> set[bytes]:
    """4.3.9: with or without a signature, in 4 or 8 bytes."""
    found = {struct.pack("<L2Q", entry.crc, entry.packed, entry.size)}
    if max(entry.packed, entry.size) < _FULL:
        found.add(struct.pack("<3L", entry.crc, entry.packed, entry.size))
    return found | {b"PK\x07\x08" + each for each in found}


def _bytes(source: Source, entry: _Entry, spot: _Spot) -> Iterator[bytes]:
    if entry.flags & _ENCRYPTED:
        raise LockedError(f"{shown(entry.name)} is encrypted")
    pieces = source.pieces(spot.data, entry.packed)
    start = _unpacker(entry)
    what = shown(entry.name)
    crc = 0
    for chunk in pieces if start is None else unpacking.unpacked(pieces, start, what):
        crc = zlib.crc32(chunk, crc)
        yield chunk
    if crc != entry.crc:
        raise BrokenError(f"{what} is damaged: its checksum is another")


def _unpacker(entry: _Entry) -> Callable[[], unpacking.Unpacker] | None:
    if entry.method == _STORED:
        return None
    if entry.method == _DEFLATED:
        return unpacking.deflate
    if entry.method == _BZIP2:
        return unpacking.bzip2
    if entry.method == _LZMA:
        return partial(unpacking.ZipLzma, entry.size, bool(entry.flags & 0x2))
    raise BrokenError(f"{shown(entry.name)} is packed by a method that is not read ({entry.method})")
