"""Where npm's `tar` reads a tarball otherwise than anybody else: what is looked at would not be what is installed.

A header that it finds faulty it leaves out, says so in a log, and reads the bytes of that member as headers. Paths
lose their first folder before they are looked at, so `a//b`, `a/./b` and `a/c:b` may all be `b`. Pax records it reads
line by line, whatever lengths they say they have.
"""

import re
from typing import Final

from sandboxes.screening.archives.errors import BrokenError
from sandboxes.screening.archives.oddities import shown
from sandboxes.screening.archives.tar_headers import Header

_LINKS: Final = (b"1", b"2")
_LINKED: Final = (*_LINKS, b"x", b"g")  # in which it does not mind a link's target
_OLD_LONG_NAME: Final = b"N"  # for the next member: only npm knows it
_READ: Final = (b"path", b"linkpath", b"size", b"type")  # records that decide what is unpacked where
_DRIVE: Final = re.compile(r"[A-Za-z]:|\\")  # what it takes off a path's beginning, wherever it runs
_NUMBER: Final = re.compile(rb"[0-9]+")


def check_header(header: Header) -> None:
    if header.kind == _OLD_LONG_NAME:
        raise BrokenError("a header in it is of a kind that only npm reads")
    if bool(header.link) != (header.kind in _LINKS) and not (header.link and header.kind in _LINKED):
        raise BrokenError("a header in it is one that npm leaves out")


def check_described(name: bytes) -> None:
    """The name of a member, or of a header that describes the next."""
    if not name:
        raise BrokenError("a header in it is one that npm leaves out")


def check_path(name: str) -> None:
    """Of a file. As npm packs them, all parts are names."""
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts) or _DRIVE.match("/".join(parts[1:])):
        raise BrokenError(f"the path {shown(name)} is one that npm turns into another")


def check_records(data: bytes, records: dict[bytes, bytes]) -> None:
    found = {key: value for key, value in map(_line, data.removesuffix(b"\n").split(b"\n")) if key in _READ}
    expected = {key: value for key, value in records.items() if key in _READ}
    if found != expected or b"type" in found:
        raise BrokenError("a pax header in it is one that npm reads otherwise")


def _line(line: bytes) -> tuple[bytes, bytes]:
    """Key and value, if the line is a record to npm; it counts a line's bytes after decoding it."""
    number = _NUMBER.match(line)
    length = len(line.decode("utf-8", "replace").encode()) + 1
    if number is None or int(number[0][:20]) != length:
        return b"", b""
    key, _, value = line[len(str(length)) + 1 :].partition(b"=")
    return key, value
