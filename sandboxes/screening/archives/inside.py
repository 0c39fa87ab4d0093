"""Archives inside an archive, opened one within the other, in memory, and never more of them than the limits say.

A member of one has a path such as "outer.whl!/inner.zip!/a.py". Each archive is a package to the detectors, with paths
as it would have alone, so what belongs together in it is seen together; `Inner.path_of` says where a path of it is in
the file. What cannot be read in one is left out and told (`Trouble`): good packages carry broken archives to test with.
What breaks a limit is told as well, and holds the file.

Whatever one archive is to others, bytes and members are counted over all of them, so neither levels nor copies nor
an archive that contains itself cost more than a limit.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from sandboxes.screening.archives.errors import ArchiveError, LimitError
from sandboxes.screening.archives.limits import Limits, said
from sandboxes.screening.archives.members import Cache, FileMember
from sandboxes.screening.archives.oddities import Oddities, shown
from sandboxes.screening.archives.sniffing import Form, Seen, seen
from sandboxes.screening.archives.source import Held
from sandboxes.screening.archives.stream import Plain, Stream
from sandboxes.screening.archives.tars import read_tar
from sandboxes.screening.archives.unpacking import CHUNK
from sandboxes.screening.archives.zips import read_zip
from sandboxes.screening.package import Facts, Kind

MARK: Final = "!/"
_CACHE: Final = 4  # the part of the file's own cache that each of them has
_UNREAD: Final = ".class"  # Java's: there are thousands, and no detector that can read them
_PROJECT: Final = ("setup.py", "pyproject.toml", "PKG-INFO")


@dataclass(frozen=True, slots=True)
class Trouble:
    """With one archive inside. `error` is None for a form that is not read."""

    path: str
    seen: Seen
    reason: str
    error: ArchiveError | None = None


class Inner:
    """Implements `package.Package`, and gives as much of each member as can be read."""

    def __init__(
        self,
        path: str,
        first: str,
        kind: Kind,
        facts: Facts,
        members: list[FileMember],
        odd: Oddities,
        cache: Cache,
    ) -> None:
        self.path = path  # in the file
        self.kind = kind
        self.facts = facts
        self.members = tuple(members)
        self.oddities = odd.all()
        self.first = first  # folder that its members' paths are without
        self._by_path = {member.path: member for member in members}
        self._cache = cache

    @property
    def error(self) -> ArchiveError | None:
        """Why something of it could not be read, once that was tried."""
        return self._cache.error

    def member(self, path: str) -> FileMember | None:
        return self._by_path.get(path)

    def path_of(self, path: str) -> str:
        return f"{self.path}{MARK}{self.first}{path}" if path else self.path

    def within(self, path: str) -> FileMember | None:
        """By the part of `path_of` behind its mark."""
        return self._by_path.get(path.removeprefix(self.first)) if path.startswith(self.first) else None


@dataclass(slots=True)
class Budget:
    """What is left, for all of them."""

    limits: Limits
    packed: int  # bytes that the file itself has
    members: int = 0
    total: int = 0
    held: int = 0
    began: float = field(default_factory=time.process_time)

    def for_one(self) -> Limits:
        """The limits of the next one."""
        limits = self.limits
        return replace(
            limits,
            total=min(limits.total, limits.inside_total - self.total),
            cache=limits.cache // _CACHE,
        )

    def took(self, members: int, size: int) -> None:
        self.members += members
        self.total += size
        limits = self.limits
        if self.members > limits.inside_members:
            raise LimitError(f"the archives in it have more than {limits.inside_members} members")
        if self.total > limits.floor and self.total > limits.ratio * self.packed:
            raise LimitError(
                f"the archives in it unpack to more than {limits.ratio} times its size, {said(self.total)}: a bomb"
            )
        self.check_time()

    def check_time(self) -> None:
        if time.process_time() - self.began > self.limits.inside_seconds:
            raise LimitError(
                f"looking into the archives in it takes longer than {self.limits.inside_seconds:g} s"
            )

    def hold(self, size: int) -> None:
        if self.held + size > self.limits.inside_held:
            raise LimitError(
                f"the archives in it, one within the other, have more than {said(self.limits.inside_held)}"
            )
        self.held += size


@dataclass(frozen=True, slots=True)
class _Outer:
    """What an archive lies in."""

    members: tuple[FileMember, ...]
    kind: Kind
    facts: Facts
    prefix: str = ""
    depth: int = 0


def inside(
    members: tuple[FileMember, ...], kind: Kind, facts: Facts, budget: Budget
) -> Iterator[Inner | Trouble]:
    """Each, and then those within it. Ends with the first that breaks a limit.

    Raises what the file's own members do.
    """
    try:
        yield from _walk(_Outer(members, kind, facts), budget)
    except _StopError as stop:
        yield stop.trouble


class _StopError(Exception):
    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.reason)
        self.trouble = trouble


def _walk(outer: _Outer, budget: Budget) -> Iterator[Inner | Trouble]:
    known: set[int] = set()
    for member in outer.members:
        if member.number in known:
            continue  # a link to it
        known.add(member.number)
        what = seen(member)
        if what is None:
            continue
        path = outer.prefix + member.path
        if what.form is Form.UNREAD:
            yield Trouble(path, what, f"{shown(path)} is an archive of a kind that is not read ({what.name})")
            continue
        yield from _one(member, what, path, outer, budget)


def _one(
    member: FileMember, what: Seen, path: str, outer: _Outer, budget: Budget
) -> Iterator[Inner | Trouble]:
    held = 0
    try:
        try:
            if outer.depth >= budget.limits.nesting:
                raise LimitError(
                    f"archives in it lie more than {budget.limits.nesting} deep one within the other"
                )
            budget.hold(member.size)
            held = member.size
            inner = opened(member, what, path, outer.kind, outer.facts, budget)
        except ArchiveError as error:
            yield _trouble(path, what, error)
            return
        deeper = _Outer(inner.members, inner.kind, inner.facts, f"{path}{MARK}{inner.first}", outer.depth + 1)
        yield inner
        yield from _walk(deeper, budget)
        if inner.error is not None:
            yield _trouble(path, what, inner.error)
    finally:
        budget.held -= held


def _trouble(path: str, what: Seen, error: ArchiveError) -> Trouble:
    trouble = Trouble(path, what, f"in {shown(path)}: {error.reason}", error)
    if isinstance(error, LimitError):
        raise _StopError(trouble) from error
    return trouble


def opened(member: FileMember, what: Seen, path: str, kind: Kind, facts: Facts, budget: Budget) -> Inner:
    """Raises `ArchiveError`."""
    limits = budget.for_one()
    odd = Oddities(limits)
    cache = Cache(limits, lenient=True)
    members = _listed(member, what, limits, odd, cache)
    budget.took(len(members), sum(each.size for each in members))
    kind, first = _kind(member.path, kind, [each.path for each in members])
    shown_ones = (each for each in members if not each.path.endswith(_UNREAD))
    renamed = [each.renamed(each.path.removeprefix(first)) for each in shown_ones]
    return Inner(path, first, kind, _facts(member.path, kind, facts), renamed, odd, cache)


def _listed(member: FileMember, what: Seen, limits: Limits, odd: Oddities, cache: Cache) -> list[FileMember]:
    source = Held(b"".join(member.chunks()))
    if what.form is Form.ZIP:
        return read_zip(source, limits, odd, cache)
    if what.start is None:
        return read_tar(Plain(source), limits, odd, cache)
    if what.form is Form.TAR:
        return read_tar(Stream(source, what.start, what.magic, limits), limits, odd, cache)
    data = _whole(
        Stream(source, what.start, what.magic, replace(limits, total=min(limits.total, limits.inside_held)))
    )
    name = member.path.rpartition("/")[2]
    return [FileMember(name.rpartition(".")[0] or name, len(data), partial(iter, (data,)), cache, 0)]


def _whole(stream: Stream) -> bytes:
    parts, size = [], 0
    while chunk := stream.read(size, CHUNK):
        parts.append(chunk)
        size += len(chunk)
    return b"".join(parts)


def _kind(path: str, outer: Kind, paths: list[str]) -> tuple[Kind, str]:
    """And the folder that everything in it lies in, where that is dropped when it is unpacked."""
    if path.lower().endswith(".whl"):
        return Kind.WHEEL, ""
    first = paths[0].partition("/")[0] + "/" if paths else ""
    if paths and all(each.startswith(first) for each in paths):
        if first + "package.json" in paths:
            return Kind.NPM, first
        if any(first + name in paths for name in _PROJECT):
            return Kind.SDIST, first
    return outer, ""


def _facts(path: str, kind: Kind, outer: Facts) -> Facts:
    """Nothing is known of it but what its name says. Of an archive that is no wheel the file's own name holds."""
    if not path.lower().endswith(".whl"):
        return Facts(outer.filename, "npm" if kind is Kind.NPM else outer.ecosystem)
    name = path.rpartition("/")[2]
    return Facts(name, outer.ecosystem, project=name.partition("-")[0].lower().replace("_", "-"))


def find(member: FileMember, rest: str, kind: Kind, facts: Facts, budget: Budget) -> FileMember | None:
    """The member of the archive that this one is, or of one in that. Raises `ArchiveError`."""
    path = member.path
    for part in rest.split(MARK):
        what = seen(member)
        if what is None or what.form is Form.UNREAD:
            return None
        inner = opened(member, what, path, kind, facts, budget)
        next_one = inner.within(part)
        if next_one is None:
            return None
        path, kind, facts = f"{path}{MARK}{part}", inner.kind, inner.facts
        member = next_one
    return member
