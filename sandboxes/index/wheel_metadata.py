"""A wheel's METADATA, read from as few of its bytes as possible: the zip's end, its directory, one member.

Read by hand and not by `zipfile`, so that the same few lines read a stored wheel and, by range requests,
one that is still at its upstream, and so that what a hostile archive can cost is bounded before anything
is allocated. Whatever is unusual is refused, because two readers could see two different things in it:
directories that are not where the end says, members of one name, two of them, sizes that do not add up.
(PKWARE's APPNOTE 4.3.7, 4.3.12 and 4.3.16; the binary distribution format.)
"""

import re
import struct
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sandboxes.index.core_metadata import LARGEST, is_metadata_of

type Read = Callable[[int, int], Awaitable[bytes]]  # start and stop → exactly those bytes

_MOST_MEMBERS = 65_534  # more need ZIP64, which no wheel does
_LARGEST_DIRECTORY = 16 * 1024 * 1024  # bytes
_TAIL = 64 * 1024  # bytes at the end, read first: with most wheels the directory is among them
_END = struct.Struct("<4s4H2LH")
_MEMBER = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_END_SIGNATURE, _MEMBER_SIGNATURE, _LOCAL_SIGNATURE = b"PK\5\6", b"PK\1\2", b"PK\3\4"
_ZIP64_LOCATOR, _ZIP64_LOCATOR_SIZE = b"PK\6\7", 20
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 1
_METADATA = re.compile(rb"[^/]+\.dist-info/METADATA")


class NotReadableError(Exception):
    """The archive is broken, or made to be read in two ways."""


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of a zip's directory."""

    name: bytes
    method: int
    crc: int
    packed: int  # bytes
    size: int  # bytes, unpacked
    offset: int  # of its local header


async def metadata_of(read: Read, size: int, project: str, version: str) -> bytes:
    """The METADATA of a wheel of `size` bytes, if it is of that project and version. Raises `NotReadableError`."""
    start = max(size - _TAIL, 0)
    tail = await read(start, size)
    at, length, count = _end(tail, size)
    directory = tail[at - start : at - start + length] if at >= start else await read(at, at + length)
    member = _only(members(directory, count))
    if not 0 < member.size <= LARGEST or member.packed > member.size + 1024:
        raise NotReadableError("METADATA has a size that none has")
    if member.offset + _LOCAL.size > at:
        raise NotReadableError("METADATA begins in the directory, or behind it")
    header = await read(member.offset, member.offset + _LOCAL.size)
    first = member.offset + _LOCAL.size + _after_header(header, member)
    if first + member.packed > at:
        raise NotReadableError("METADATA reaches into the directory")
    data = _unpacked(member, await read(first, first + member.packed))
    if not is_metadata_of(data, project, version):
        raise NotReadableError("METADATA is of another project or version, or no text")
    return data


def _end(tail: bytes, size: int) -> tuple[int, int, int]:
    """Where the directory begins, how long it is, and how many members it has; it must end where the end begins."""
    where = tail.rfind(_END_SIGNATURE)
    if where < 0 or where + _END.size > len(tail):
        raise NotReadableError("no end of a zip")
    _, disk, first_disk, here, count, length, at, comment = _END.unpack_from(tail, where)
    at_end = where + _END.size + comment == len(tail)
    if (
        not at_end
        or disk
        or first_disk
        or here != count
        or count > _MOST_MEMBERS
        or length > _LARGEST_DIRECTORY
    ):
        raise NotReadableError("an end that no wheel has")
    if tail[max(where - _ZIP64_LOCATOR_SIZE, 0) : where].startswith(_ZIP64_LOCATOR):
        raise NotReadableError("ZIP64")
    if at + length != size - len(tail) + where:
        raise NotReadableError("a directory that is not before the end")
    return at, length, count


def members(directory: bytes, count: int) -> list[Member]:
    found, position = [], 0
    for _ in range(count):
        if position + _MEMBER.size > len(directory):
            raise NotReadableError("a directory that breaks off")
        fields = _MEMBER.unpack_from(directory, position)
        signature, flags, method, crc, packed, size = fields[0], fields[3], fields[4], *fields[7:10]
        name_length, extra, comment, offset = *fields[10:13], fields[16]
        name = directory[position + _MEMBER.size : position + _MEMBER.size + name_length]
        if signature != _MEMBER_SIGNATURE or flags & _ENCRYPTED:
            raise NotReadableError("a member that cannot be read")
        found.append(Member(name, method, crc, packed, size, offset))
        position += _MEMBER.size + name_length + extra + comment
    if position != len(directory):
        raise NotReadableError("a directory with something behind it")
    return found


def _only(found: list[Member]) -> Member:
    metadata = [member for member in found if _METADATA.fullmatch(member.name)]
    if len(metadata) != 1 or metadata[0].method not in (_STORED, _DEFLATED):
        raise NotReadableError(f"{len(metadata)} members are METADATA")
    return metadata[0]


def _after_header(header: bytes, member: Member) -> int:
    """How many bytes of name and extra field are between the local header and the data."""
    if len(header) != _LOCAL.size or not header.startswith(_LOCAL_SIGNATURE):
        raise NotReadableError("no header where METADATA should be")
    fields = _LOCAL.unpack(header)
    name_length, extra = fields[9], fields[10]
    if fields[3] != member.method or name_length != len(member.name):
        raise NotReadableError("a header that contradicts the directory")
    return int(name_length + extra)


def _unpacked(member: Member, data: bytes) -> bytes:
    if member.method == _DEFLATED:
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            data = unpacker.decompress(data, member.size + 1)
        except zlib.error as error:
            raise NotReadableError("METADATA cannot be unpacked") from error
        if not unpacker.eof:
            raise NotReadableError("METADATA is not as long as the directory says")
    if len(data) != member.size or zlib.crc32(data) != member.crc:
        raise NotReadableError("METADATA is not what the directory says")
    return data
