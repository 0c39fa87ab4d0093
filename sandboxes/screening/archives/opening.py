"""A file as a `Package`: which kind it is goes by its name, as installers do it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from sandboxes.screening.archives import unpacking
from sandboxes.screening.archives.copies import without_copies
from sandboxes.screening.archives.errors import BrokenError
from sandboxes.screening.archives.inside import MARK, Budget, Inner, Trouble, find, inside
from sandboxes.screening.archives.limits import DEFAULT, Limits
from sandboxes.screening.archives.members import Cache, FileMember
from sandboxes.screening.archives.oddities import Oddities, compare, shown
from sandboxes.screening.archives.source import Source
from sandboxes.screening.archives.stream import Stream
from sandboxes.screening.archives.tars import read_tar
from sandboxes.screening.archives.zip_end import is_also_zip
from sandboxes.screening.archives.zips import read_zip
from sandboxes.screening.package import Facts, Kind

_Start = Callable[[], unpacking.Unpacker]
_GZIP: Final[tuple[_Start, bytes]] = (unpacking.gzip, b"\x1f\x8b")
_BZIP2: Final[tuple[_Start, bytes]] = (unpacking.bzip2, b"BZh")
_XZ: Final[tuple[_Start, bytes]] = (unpacking.xz, b"\xfd7zXZ\0")
_TARS: Final = {
    ".tar.gz": _GZIP,
    ".tgz": _GZIP,
    ".tar.bz2": _BZIP2,
    ".tbz": _BZIP2,
    ".tar.xz": _XZ,
    ".txz": _XZ,
}


class ArchivePackage:
    """Implements `package.Package`. No two members have one path."""

    def __init__(
        self, kind: Kind, facts: Facts, members: list[FileMember], odd: Oddities, source: Source, cache: Cache
    ) -> None:
        self.kind = kind
        self.facts = facts
        self.members = tuple(members)
        self.oddities = odd.all()
        self._by_path = {member.path: member for member in members}
        self._source = source
        self._cache = cache

    @property
    def broken(self) -> str:
        """Why a member could not be read, once that was tried, also if nobody minded."""
        return self._cache.error.reason if self._cache.error else ""

    def member(self, path: str) -> FileMember | None:
        return self._by_path.get(path)

    def inside(self, limits: Limits = DEFAULT) -> Iterator[Inner | Trouble]:
        """The archives in it, and those in them."""
        return inside(self.members, self.kind, self.facts, Budget(limits, self._source.size))

    def within(self, path: str, limits: Limits = DEFAULT) -> FileMember | None:
        """A member by its path, also one of an archive in it. Raises `ArchiveError`."""
        outer, mark, rest = path.partition(MARK)
        first = self.member(outer)
        if self.member(path) is not None or first is None or not mark:
            return self.member(path)
        return find(first, rest, self.kind, self.facts, Budget(limits, self._source.size))

    def close(self) -> None:
        """Nothing can be read any more. Forgetting the package does the same."""
        self._source.close()


def open_package(file: Path | int, facts: Facts, limits: Limits = DEFAULT) -> ArchivePackage:
    """Lists it; nothing is extracted. `file` may be an open handle. Raises `ArchiveError`."""
    kind = kind_of(facts)
    source = Source(file)
    try:
        return _opened(source, kind, facts, limits)
    except BaseException:
        source.close()
        raise


def kind_of(facts: Facts) -> Kind:
    name = facts.filename.lower()
    if facts.ecosystem == "npm":
        return Kind.NPM
    if name.endswith(".whl"):
        return Kind.WHEEL
    if name.endswith((".zip", *_TARS)):
        return Kind.SDIST
    raise BrokenError(f"{shown(facts.filename)} is no wheel, sdist or npm tarball: such files are not read")


def _opened(source: Source, kind: Kind, facts: Facts, limits: Limits) -> ArchivePackage:
    odd = Oddities(limits)
    cache = Cache(limits)
    name = facts.filename.lower()
    if kind is Kind.WHEEL or (kind is Kind.SDIST and name.endswith(".zip")):
        members = read_zip(source, limits, odd, cache)
    else:
        members = read_tar(_stream(source, kind, name, limits), limits, odd, cache, npm=kind is Kind.NPM)
    members = _without_first_folder(members, kind, odd)
    compare([member.path for member in members], odd)
    members = without_copies(members)
    return ArchivePackage(kind, facts, members, odd, source, cache)


def _stream(source: Source, kind: Kind, name: str, limits: Limits) -> Stream:
    endings = (_TARS[ending] for ending in _TARS if name.endswith(ending))
    start, magic = _GZIP if kind is Kind.NPM else next(endings)
    if source.read(0, len(magic)) != magic:
        raise BrokenError("it is not packed in the way that its name says")
    if is_also_zip(source):
        raise BrokenError("it is a zip too: programs would read different archives in it")
    return Stream(source, start, magic, limits)


def _without_first_folder(members: list[FileMember], kind: Kind, odd: Oddities) -> list[FileMember]:
    if kind is Kind.WHEEL:
        return members
    if kind is Kind.NPM:
        return [_npm(member, odd) for member in members]
    first = next((member.path.partition("/")[0] for member in members if "/" in member.path), "")
    return [_sdist(member, first, odd) for member in members]


def _npm(member: FileMember, odd: Oddities) -> FileMember:
    """npm drops the first folder, whatever its name; a file outside of one is not unpacked by all."""
    _, slash, rest = member.path.partition("/")
    if not slash:
        odd.add(f"{shown(member.path)} lies in no folder.")
        return member
    return member.renamed(rest)


def _sdist(member: FileMember, first: str, odd: Oddities) -> FileMember:
    folder, slash, rest = member.path.partition("/")
    if not slash or folder != first:
        place = f"outside the first folder, {shown(first)}" if first else "in no folder"
        odd.add(f"{shown(member.path)} lies {place}.")
        return member
    return member.renamed(rest)
