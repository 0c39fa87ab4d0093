"""What a tarball's links lead to, once it is unpacked: members with those bytes, under the link's path too.

Installers unpack in order, and write through whatever link stands there already. So a link in the place of a
member, or of a folder that has members, makes an archive of which the order decides what is installed.
"""

import posixpath
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from sandboxes.screening.archives.errors import LimitError
from sandboxes.screening.archives.limits import Limits, said
from sandboxes.screening.archives.members import FileMember
from sandboxes.screening.archives.oddities import Oddities, path_of, shown

_HOPS: Final = 40  # links on the way to one file: Linux follows no more

Refuse = Callable[[str], None]  # raises, or tells: within an archive inside everything is read that can be


class Link(NamedTuple):
    path: str
    target: str
    symbolic: bool


def follow(links: list[Link], members: list[FileMember], limits: Limits, refuse: Refuse) -> list[FileMember]:
    """The members that links add."""
    if not links:
        return []
    ways = _checked(links, members, refuse)
    return _Following(ways, members, limits, refuse).all()


def _checked(links: list[Link], members: list[FileMember], refuse: Refuse) -> dict[str, Link]:
    files = {member.path for member in members}
    ways: dict[str, Link] = {}
    for link in links:
        if link.path in files or ways.setdefault(link.path, link) != link:
            refuse(f"{shown(link.path)} is a link and something else too")
    for path in (*files, *ways):
        for folder in _folders(path):
            if folder in ways:
                refuse(f"{shown(path)} lies below a link, {shown(folder)}")
    return ways


def _folders(path: str) -> Iterator[str]:
    at = path.find("/")
    while at >= 0:
        yield path[:at]
        at = path.find("/", at + 1)


def _starting(paths: list[str], start: str) -> Iterator[str]:
    for at in range(bisect_left(paths, start), len(paths)):
        if not paths[at].startswith(start):
            return
        yield paths[at]


class _Following:
    def __init__(
        self, ways: dict[str, Link], members: list[FileMember], limits: Limits, refuse: Refuse
    ) -> None:
        self._ways = ways
        self._limits = limits
        self._refuse = refuse
        self._files = {member.path: member for member in members}
        self._paths: list[str] = []  # in order: those below a folder stand together
        self._links: list[str] = []
        self._folders: dict[str, str] = {}  # links to folders, and what they lead to; in order too
        self._steps = 0
        self._added: list[FileMember] = []
        self._size = 0

    def all(self) -> list[FileMember]:
        ends = {path: self._end(link) for path, link in self._ways.items()}
        for path, end in ends.items():
            if end in self._files and path not in self._files:
                self._add(path, self._files[end])
        self._files |= {member.path: member for member in self._added}
        self._paths = sorted(self._files)
        self._folders = {
            path: end for path, end in sorted(ends.items()) if end is not None and end not in self._files
        }
        self._links = list(self._folders)
        for path, end in self._folders.items():
            for rest, member in self._below(end, frozenset({end})):
                if path + rest not in self._files:
                    self._add(path + rest, member)
        return self._added

    def _end(self, link: Link) -> str | None:
        """Where it leads to in the end; None: out of the archive, or nowhere."""
        if len(link.target) > self._limits.path:
            raise LimitError(f"a link in it is longer than {self._limits.path} characters")
        place = posixpath.dirname(link.path) if link.symbolic else ""
        end = self._resolved(place, link.target)
        # Newer Pythons write a link without its `..`, older ones as it stands: beside other links these differ.
        if end != self._resolved(place, posixpath.normpath(link.target)):
            self._refuse(f"{shown(link.path)} is a link that leads to different places")
        return end

    def _resolved(self, place: str, target: str) -> str | None:
        done = [] if target.startswith("/") or not place else place.split("/")
        waiting = target.split("/")[::-1]
        hops = 0
        while waiting:
            part = waiting.pop()
            if part == ".." and not done:
                return None
            if part == "..":
                done.pop()
            elif part not in ("", "."):
                done.append(part)
                link = self._ways.get("/".join(done))
                if link is not None:
                    hops += 1
                    if hops > _HOPS or len(link.target) > self._limits.path:
                        return None
                    done = done[:-1] if link.symbolic and not link.target.startswith("/") else []
                    waiting.extend(link.target.split("/")[::-1])
        return "/".join(done)

    def _below(self, folder: str, through: frozenset[str]) -> Iterator[tuple[str, FileMember]]:
        """What is under a folder, by the rest of its path, links to other folders followed; never in a circle."""
        start = f"{folder}/" if folder else ""
        for path in _starting(self._paths, start):
            yield "/" + path[len(start) :], self._files[path]
        for path in _starting(self._links, start):
            end = self._folders[path]
            self._count()
            if end not in through and len(through) < _HOPS:
                for rest, member in self._below(end, through | {end}):
                    yield "/" + path[len(start) :] + rest, member

    def _count(self) -> None:
        """Folders without files, linked crosswise, would add nothing and never end."""
        self._steps += 1
        if self._steps > self._limits.members:
            raise LimitError(f"its links lead to each other in more than {self._limits.members} ways")

    def _add(self, path: str, member: FileMember) -> None:
        self._size += member.size
        if len(self._added) >= self._limits.members or self._size > self._limits.total:
            raise LimitError(
                f"its links lead to more than {self._limits.members} files, or {said(self._limits.total)}"
            )
        self._added.append(member.renamed(path_of(path, self._limits, Oddities(self._limits))))
