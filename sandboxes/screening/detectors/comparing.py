"""Two releases of a project, file by file: what is new, what changed, and in which lines."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Final

from sandboxes.screening.detectors import core_metadata
from sandboxes.screening.package import Facts, Kind, Member, Package

READ: Final = 4 * 1024 * 1024  # bytes of a file that are compared
CODE: Final = frozenset(
    (".py", ".pyw", ".pyx", ".pth", ".js", ".cjs", ".mjs", ".jsx", ".ts", ".sh", ".bash", ".bat", ".cmd",
     ".ps1", ".vbs")
)  # fmt: skip
NATIVE: Final = frozenset((".so", ".pyd", ".dll", ".dylib", ".exe", ".node", ".elf", ".wasm"))
_FEW_FILES: Final = 3
_FEW_LINES: Final = 40
_VERSIONED: Final = re.compile(r"^[^/]+(\.dist-info|\.data|\.egg-info)/")
_BUILT_FOR: Final = re.compile(r"\.(?:cpython-|cp\d|pypy|abi3)[\w-]*(?=\.(?:so|pyd)$)")
_LAID_OUT: Final = re.compile(r"^(?:src|lib|python)/")
# A line that says the version says nothing else, and every release has it.
_VERSION_LINE: Final = re.compile(
    r"""\s*(?:["']?_{0,2}version(?:_info|_tuple)?_{0,2}["']?\s*[:=]|@version|\*\s*v?\d+\.\d+)"""
    r"""[^;()]{0,80}\(?[^;()]{0,40}\)?,?\s*""",
    re.IGNORECASE,
)


def normalised(path: str) -> str:
    """The same for the same file of another version, another platform, or in the sources."""
    path = _VERSIONED.sub(lambda match: match[1].lstrip(".") + "/", path)
    return _LAID_OUT.sub("", _BUILT_FOR.sub("", path))


def suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def is_code(path: str) -> bool:
    return suffix(path) in CODE or path == "package.json"


@dataclass(frozen=True, eq=False)
class Part:
    """A package of which only some members are looked at, one by one; the others can still be asked for."""

    whole: Package
    members: tuple[Member, ...]

    @property
    def kind(self) -> Kind:
        return self.whole.kind

    @property
    def facts(self) -> Facts:
        return self.whole.facts

    @property
    def oddities(self) -> Iterable[str]:
        return ()

    def member(self, path: str) -> Member | None:
        return self.whole.member(path)


class Comparison:
    """Of a package with the release before it."""

    def __init__(self, package: Package, former: Package) -> None:
        self.package = package
        self.former = former
        self.before = {normalised(member.path): member for member in former.members}

    @cached_property
    def added(self) -> list[Member]:
        return [member for member in self.package.members if normalised(member.path) not in self.before]

    @cached_property
    def changed(self) -> list[Member]:
        """Code alone: what data says is nobody's ability."""
        return [
            member
            for member in self.package.members
            if is_code(member.path)
            and (old := self.before.get(normalised(member.path))) is not None
            and (old.size != member.size or old.read(READ) != member.read(READ))
        ]

    @cached_property
    def part(self) -> Part:
        """What of the package has to be looked at anew."""
        return Part(self.package, (*self.added, *self.changed))

    @cached_property
    def former_version(self) -> str:
        if self.former.kind is Kind.NPM:
            return str((core_metadata.package_json(self.former) or {}).get("version", ""))[:100]
        message = core_metadata.fields(core_metadata.metadata_member(self.former))
        return core_metadata.one(message, "Version")[:100]

    @cached_property
    def from_sources(self) -> bool:
        """Whether that is no earlier release, but what this wheel was built from."""
        return (
            self.package.kind is Kind.WHEEL
            and self.former.kind is Kind.SDIST
            and self.former_version == self.package.facts.version != ""
        )

    def old(self, member: Member) -> Member | None:
        return self.before.get(normalised(member.path))

    def new_lines(self, member: Member) -> Counter[str]:
        """What stands in it and did not stand there before, whatever the order."""
        old = self.old(member)
        lines = Counter(line.strip() for line in member.text(READ).splitlines())
        lines.subtract(line.strip() for line in (old.text(READ).splitlines() if old else ()))
        return Counter({line: count for line, count in lines.items() if count > 0 and line})

    @cached_property
    def small(self) -> bool:
        """Whether it is otherwise the same release: a few lines in a few files, versions and prose aside."""
        files = lines = 0
        for member in self.part.members:
            if not is_code(member.path) or member.path == "package.json":
                continue
            new = [line for line in self.new_lines(member).elements() if not _VERSION_LINE.fullmatch(line)]
            files += bool(new)
            lines += len(new)
            if files > _FEW_FILES or lines > _FEW_LINES:
                return False
        return True
