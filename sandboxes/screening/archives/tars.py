"""A tarball, header by header, in a loop: neither nested headers nor huge ones cost more than a limit.

Read by the rules of Python's `tarfile` and of npm's `tar`; where these two would read different things
(bytes behind a folder, two names for one member) the archive is broken (`tar_npm`, for npm's own ways). Links that
lead to members are members too (`tar_links`), since that is what is there once it is unpacked.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from sandboxes.screening.archives import tar_npm
from sandboxes.screening.archives.errors import BrokenError, LimitError
from sandboxes.screening.archives.limits import Limits, said
from sandboxes.screening.archives.members import Cache, FileMember
from sandboxes.screening.archives.oddities import Oddities, check_size, decoded, path_of, shown
from sandboxes.screening.archives.tar_headers import BLOCK, Header, decimal, read_header, read_records, text
from sandboxes.screening.archives.tar_links import Link, follow
from sandboxes.screening.archives.unpacking import CHUNK

_FILES: Final = (b"0", b"\0", b"7")
_LINKS: Final = {b"1": "a hard link", b"2": "a link"}
_OTHERS: Final = {b"3": "a device", b"4": "a device", b"6": "a pipe"}
_FOLDER, _SPARSE = b"5", b"S"
_PAX: Final = (b"x", b"X", b"g")
_LONG: Final = {b"L": b"path", b"K": b"linkpath"}  # GNU's way of long names
_OF_ONE: Final = (b"path", b"linkpath", b"size")
_USTAR_MOST: Final = 8**11  # bytes: what does not fit is told elsewhere


class Bytes(Protocol):
    """What it is read from: unpacked, at any offset. `stream.Stream`, or `stream.Plain`."""

    @property
    def rest(self) -> int: ...
    def read(self, offset: int, size: int) -> bytes: ...
    def after(self) -> Iterator[bytes]: ...


@dataclass(slots=True)
class _Walk:
    """What is known at one place of the archive."""

    stream: Bytes
    limits: Limits
    odd: Oddities
    cache: Cache
    npm: bool
    at: int = 0
    headers: int = 0
    everywhere: dict[bytes, bytes] = field(default_factory=dict)  # pax records for all that follow
    next_one: dict[bytes, bytes] = field(default_factory=dict)  # and for the next one only
    members: list[FileMember] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)

    def refuse(self, reason: str) -> None:
        """Of an archive inside another, for which nobody's installer is known, all is read, and this is told."""
        if not self.cache.lenient:
            raise BrokenError(f"{reason}: programs would unpack different things")
        self.odd.add(f"{reason[:1].upper()}{reason[1:]}.")


def read_tar(
    stream: Bytes, limits: Limits, odd: Oddities, cache: Cache, npm: bool = False
) -> list[FileMember]:
    walk = _Walk(stream, limits, odd, cache, npm)
    while (block := _block(walk)) is not None:
        header = read_header(block, cache.lenient)
        _check_header(header, walk)
        if header.kind in _PAX or header.kind in _LONG:
            _take_description(header, walk)
        else:
            _take_entry(header, walk)
    _check_end(walk)
    return walk.members + follow(walk.links, walk.members, limits, walk.refuse)


def _block(walk: _Walk) -> bytes | None:
    """The next header. Two empty blocks are the end; after a lone one npm reads on, and pip does not."""
    empty = 0
    while True:
        block = walk.stream.read(walk.at, BLOCK)
        if not block and (walk.headers or empty):
            return None
        if len(block) < BLOCK:
            raise BrokenError("it ends in the middle" if walk.headers else "it is no tarball")
        walk.at += BLOCK
        if block.strip(b"\0"):
            if empty:
                walk.odd.add("It goes on after an empty block, where some programs stop.")
            return block
        empty += 1
        if empty == 2:
            return None


def _check_header(header: Header, walk: _Walk) -> None:
    walk.headers += 1
    if walk.npm:
        tar_npm.check_header(header)
    if walk.headers > walk.limits.members:
        raise LimitError(f"it has more than {walk.limits.members} members")
    if header.size > walk.limits.total:
        raise LimitError(
            f"{_shown(header.name)} has {said(header.size)}; at most {said(walk.limits.total)} are read"
        )


def _take_description(header: Header, walk: _Walk) -> None:
    if header.size > walk.limits.extra:
        raise LimitError(
            f"a header in it has {said(header.size)}; at most {said(walk.limits.extra)} are read"
        )
    data = walk.stream.read(walk.at, header.size)
    _skip(header.size, walk)
    long = _LONG.get(header.kind)
    records = {long: text(data)} if long else read_records(data)
    if long and not records[long]:
        raise BrokenError("a name in it is empty")
    if walk.npm:
        tar_npm.check_described(header.name)
        if not long:
            tar_npm.check_records(data, records)
    if header.kind == b"g" and not records.keys().isdisjoint(_OF_ONE):
        raise BrokenError("it gives all its members one name or one size")
    target = walk.everywhere if header.kind == b"g" else walk.next_one
    for key, value in records.items():
        if header.kind != b"g" and target.get(key, value) != value:
            raise BrokenError("a member in it is described twice")
        target[key] = value


def _take_entry(header: Header, walk: _Walk) -> None:
    described = walk.everywhere | walk.next_one
    walk.next_one = {}
    if header.kind == _SPARSE or any(key.startswith(b"GNU.sparse") for key in described):
        raise BrokenError(f"{_shown(header.name)} is stored with holes, which is not read")
    size = _size(header, described, walk)
    raw = described.get(b"path", header.name)
    if walk.npm:
        tar_npm.check_described(raw)
    name = decoded(raw, "utf-8", walk.odd)
    path = path_of(name, walk.limits, walk.odd)
    start = walk.at
    if header.kind == _FOLDER or header.kind in _LINKS or header.kind in _OTHERS:
        _take_other(header, path, size, described, walk)
        return
    if header.kind not in _FILES:
        walk.odd.add(f"{shown(path)} is of a kind that is not known ({shown(chr(header.kind[0]))}).")
    _skip(size, walk)
    if name.endswith("/") or _is_old_folder(header):
        if size or not name.endswith("/"):
            raise BrokenError(f"{shown(name)} is a folder with bytes of its own, or with a file's name")
        return
    if not path:
        if size:
            raise BrokenError(f"a member in it has bytes, and the name {shown(name)}")
        walk.odd.add(f"A member has the name {shown(name)}.")
        return
    if walk.npm:
        tar_npm.check_path(name)
    check_size(path, size, None, walk.limits, walk.odd)
    source = partial(_bytes, walk.stream, start, size)
    walk.members.append(FileMember(path, size, source, walk.cache, len(walk.members)))


def _is_old_folder(header: Header) -> bool:
    """To Python, whatever another header says it is called: it reads on right behind it."""
    return header.kind == b"\0" and header.name.endswith(b"/")


def _size(header: Header, described: dict[bytes, bytes], walk: _Walk) -> int:
    told = described.get(b"size")
    if told is None:
        return header.size
    size = decimal(told)
    if size > walk.limits.total:
        raise LimitError(
            f"{_shown(header.name)} has {said(size)}; at most {said(walk.limits.total)} are read"
        )
    if size != header.size and (size < _USTAR_MOST or header.size):
        raise BrokenError(f"{_shown(header.name)} has two sizes, {header.size} and {size}")
    return size


def _take_other(header: Header, path: str, size: int, described: dict[bytes, bytes], walk: _Walk) -> None:
    """No bytes of their own: with some, one program would skip them and another read them as headers."""
    if size:
        raise BrokenError(f"{shown(path)} is no file and has bytes of its own")
    if header.kind == _FOLDER:
        return
    if header.kind in _OTHERS:
        walk.odd.add(f"{shown(path)} is {_OTHERS[header.kind]}.")
        return
    target = decoded(described.get(b"linkpath", header.link), "utf-8", walk.odd)
    walk.odd.add(f"{shown(path)} is {_LINKS[header.kind]} to {shown(target)}.")
    walk.links.append(Link(path, target, header.kind == b"2"))


def _skip(size: int, walk: _Walk) -> None:
    """To the next header. That the bytes are there is made sure of: else it was cut off in the middle."""
    end = walk.at + size
    if size and not walk.stream.read(end - 1, 1):
        raise BrokenError("it ends in the middle")
    walk.at = end + -size % BLOCK


def _check_end(walk: _Walk) -> None:
    if walk.next_one:
        raise BrokenError("it ends in the middle")
    while chunk := walk.stream.read(walk.at, CHUNK):
        if chunk.strip(b"\0"):
            walk.odd.add("There is something after its end.")
        walk.at += len(chunk)
    if walk.stream.rest and not _only_zeros(walk.stream):
        walk.refuse(f"there are {said(walk.stream.rest)} after its end, which may be another archive")


def _only_zeros(stream: Bytes) -> bool:
    """Padding to a tape's block: gzip skips it."""
    return not any(piece.strip(b"\0") for piece in stream.after())


def _bytes(stream: Bytes, start: int, size: int) -> Iterator[bytes]:
    while size > 0:
        chunk = stream.read(start, min(size, CHUNK))
        if not chunk:
            return
        yield chunk
        start, size = start + len(chunk), size - len(chunk)


def _shown(name: bytes) -> str:
    return shown(name.decode("utf-8", "backslashreplace"))
