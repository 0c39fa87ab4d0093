"""Requirement files, read so that nothing but names from the index is left. Pure but for reading files.

pip would follow what else may stand in them: other indexes, links, paths and repositories, of which some
run code when they are looked at. Here such lines are left out, and said to be.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from sandboxes.errors import InvalidInputError

_HASH = re.compile(r"\s--hash[=\s]\s*(sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})(?=\s|$)")
_INCLUDE = re.compile(r"(?:-r|--requirement)[=\s]?\s*(\S+)")
_CONSTRAINT = re.compile(r"(?:-c|--constraint)[=\s]?\s*(\S+)")
_COMMENT = re.compile(r"(?:^|\s)#.*$")
_LARGEST = 16 * 1024 * 1024  # bytes


@dataclass
class Requirements:
    """`wanted` and `constraints` are lines that pip reads; `left_out` are those that no index can answer."""

    wanted: list[str] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def hashed(self) -> bool:
        """Whether some line names hashes: then pip wants them of everything."""
        return any("--hash" in line for line in self.wanted)


def read(path: Path) -> Requirements:
    """Raises `InvalidInputError` for a file that cannot be read."""
    found = Requirements()
    _read(path, found, found.wanted, set())
    return found


def _read(path: Path, found: Requirements, lines: list[str], seen: set[Path]) -> None:
    path = path.resolve()
    if path in seen:
        return
    seen.add(path)
    for number, line in enumerate(_logical_lines(path), 1):
        where = f"{path.name}:{number}: {line}"
        if include := _INCLUDE.fullmatch(line):
            _read(path.parent / include[1], found, lines, seen)
        elif constraint := _CONSTRAINT.fullmatch(line):
            _read(path.parent / constraint[1], found, found.constraints, seen)
        elif requirement := _requirement(line):
            lines.append(requirement)
        elif line and line != "--require-hashes":
            found.left_out.append(where)


def _logical_lines(path: Path) -> list[str]:
    """With continued lines joined, without comments."""
    try:
        if path.stat().st_size > _LARGEST:
            raise InvalidInputError(f"{path} is too large for a file of requirements.")
        text = path.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{path} cannot be read as a file of requirements.") from error
    joined = re.sub(r"\\\r?\n", " ", text)
    return [_COMMENT.sub("", line).strip() for line in joined.splitlines()]


def _requirement(line: str) -> str:
    """The line as pip is to have it; "" when it is no name from an index."""
    hashes = _HASH.findall(line)
    try:
        requirement = Requirement(_HASH.sub("", line).strip())
    except InvalidRequirement:
        return ""
    if requirement.url:
        return ""
    return " ".join([str(requirement), *(f"--hash={value}" for value in hashes)])
