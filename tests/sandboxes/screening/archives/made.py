"""Archives made byte by byte, so that they can lie."""

import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sandboxes.screening.archives import DEFAULT, ArchivePackage, Limits, open_package
from sandboxes.screening.package import Facts

WHEEL = Facts(filename="thing-1.0-py3-none-any.whl", project="thing", version="1.0")
SDIST = Facts(filename="thing-1.0.tar.gz", project="thing", version="1.0")
NPM = Facts(filename="thing-1.0.0.tgz", ecosystem="npm", project="thing", version="1.0.0")


def opened(folder: Path, data: bytes, facts: Facts, limits: Limits = DEFAULT) -> ArchivePackage:
    path = folder / "file"
    path.write_bytes(data)
    return open_package(path, facts, limits)


def as_read(package: ArchivePackage) -> dict[str, bytes]:
    return {member.path: member.read() for member in package.members}


# Zips


def wheel(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """As builders make them."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return out.getvalue()


@dataclass
class Lie:
    """One member of a zip; what is None is as it should be."""

    name: bytes
    data: bytes
    local_name: bytes | None = None
    size: int | None = None
    crc: int | None = None
    flags: int = 0
    method: int = 8
    packed: bytes | None = None
    offset: int | None = None
    extra: bytes = b""
    local_size: int | None = None
    mode: int = 0o100644


def zipped(*members: Lie, gap: bytes = b"", count: int | None = None) -> bytes:
    body, directory = b"", b""
    for each in members:
        packed = each.packed
        if packed is None:
            packed = each.data if each.method == 0 else _deflated(each.data)
        size = len(each.data) if each.size is None else each.size
        crc = zlib.crc32(each.data) if each.crc is None else each.crc
        offset = len(body) if each.offset is None else each.offset
        local = each.name if each.local_name is None else each.local_name
        told = size if each.local_size is None else each.local_size
        if each.offset is None:
            head = (20, each.flags, each.method, 0, 33, crc, len(packed), told, len(local), 0)
            body += struct.pack("<4s5H3L2H", b"PK\3\4", *head) + local + packed + gap
        lengths = (len(each.name), len(each.extra), 0, 0, 0, each.mode << 16, offset)
        versions = (3 << 8 | 20, 20, each.flags, each.method, 0, 33, crc, len(packed), size)
        directory += struct.pack("<4s6H3L5H2L", b"PK\1\2", *versions, *lengths) + each.name + each.extra
    number = len(members) if count is None else count
    return body + directory + zip_end(number, len(directory), len(body))


def zip_end(count: int, size: int, offset: int, comment: bytes = b"") -> bytes:
    fields = (0, 0, count & 0xFFFF, count & 0xFFFF, size, offset, len(comment))
    return struct.pack("<4s4H2LH", b"PK\5\6", *fields) + comment


def _deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


# Tarballs


def tarred(*entries: bytes, end: bytes = bytes(1024)) -> bytes:
    return gzip.compress(b"".join(entries) + end, 6, mtime=0)


def entry(
    name: str | bytes, data: bytes = b"", kind: bytes = b"0", link: str = "", size: int | None = None
) -> bytes:
    """A ustar header and its bytes."""
    raw = name.encode() if isinstance(name, str) else name
    return block(raw, len(data) if size is None else size, kind, link.encode()) + padded(data)


def block(name: bytes, size: int, kind: bytes, link: bytes = b"", prefix: bytes = b"") -> bytes:
    number = b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11, "big")
    head = name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + number + b"00000000000\0"
    head += b" " * 8 + kind + link.ljust(100, b"\0") + b"ustar\x0000"
    head = (head.ljust(345, b"\0") + prefix).ljust(512, b"\0")
    return head[:148] + b"%06o\0 " % sum(head) + head[156:]


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def pax(kind: bytes = b"x", **records: str) -> bytes:
    data = b"".join(record(key.replace("__", "."), value.encode()) for key, value in records.items())
    return entry("pax", data, kind)


def record(key: str, value: bytes) -> bytes:
    body = b" " + key.encode() + b"=" + value + b"\n"
    length = len(body) + 1
    while len(str(length)) + len(body) != length:
        length += 1
    return str(length).encode() + body


def sdist(files: Mapping[str, bytes], mode: str = "w:gz") -> bytes:
    """As builders make them."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()
