"""What is wrong with an archive, and how names of members are looked at.

A member's path is what it would be installed or unpacked as: without empty and `.` parts, with `..`
resolved as far as it stays inside. The name as it stands is in the oddity.
"""

from typing import Final

from sandboxes.screening.archives.errors import LimitError
from sandboxes.screening.archives.limits import READ, Limits, said

_SHOWN: Final = 200  # characters of a name
# What runs, or is read to decide what runs: larger than what detectors are given, it could hide its end.
_CODE: Final = (".py", ".pth", ".pyi", ".js", ".cjs", ".mjs", ".ts", ".sh", ".json", ".toml", ".cfg")


class Oddities:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._told: dict[str, None] = {}
        self._more = 0

    def add(self, text: str) -> None:
        if text in self._told:
            return
        if len(self._told) < self._limits.oddities:
            self._told[text] = None
        else:
            self._more += 1

    def all(self) -> tuple[str, ...]:
        more = (f"and {self._more} more of the kind",) if self._more else ()
        return (*self._told, *more)


def shown(name: str) -> str:
    """For a sentence: in quotes, unprintable characters escaped, cut."""
    return repr(name[:_SHOWN] + "…" if len(name) > _SHOWN else name)


def decoded(raw: bytes, encoding: str, odd: Oddities) -> str:
    """A name that is always valid Unicode: reports are JSON."""
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        name = raw.decode(encoding, "backslashreplace")
        odd.add(f"The name {shown(name)} is not {encoding.upper()}.")
        return name


def path_of(name: str, limits: Limits, odd: Oddities) -> str:
    """Where it would be put; "" for the archive's own folder."""
    if len(name) > limits.path:
        raise LimitError(f"a path in it is longer than {limits.path} characters: {shown(name)}")
    if name.startswith("/"):
        odd.add(f"The path {shown(name)} is absolute.")
    if "\\" in name:
        odd.add(f"The path {shown(name)} has a backslash: elsewhere than on Linux that is a folder.")
    if not name.isprintable():
        odd.add(f"The path {shown(name)} has characters that are not shown.")
    parts = _parts(name, odd)
    if len(parts) - 1 > limits.depth:
        raise LimitError(f"a path in it lies under more than {limits.depth} folders: {shown(name)}")
    return "/".join(parts)


def _parts(name: str, odd: Oddities) -> list[str]:
    parts: list[str] = []
    for part in name.split("/"):
        if part in ("", "."):
            continue
        if part != "..":
            parts.append(part)
            continue
        odd.add(f"The path {shown(name)} goes up with '..'.")
        if parts and parts[-1] != "..":
            parts.pop()
        else:
            parts.append(part)
    return parts


def check_size(path: str, size: int, packed: int | None, limits: Limits, odd: Oddities) -> None:
    """Of one member, as it is claimed; whoever unpacks it counts."""
    if size > limits.member:
        raise LimitError(f"{shown(path)} has {said(size)}; at most {said(limits.member)} are read")
    if packed is not None and size > limits.floor and size > limits.member_ratio * max(packed, 1):
        raise LimitError(
            f"{shown(path)} unpacks to more than {limits.member_ratio} times its size, {said(size)}: a bomb"
        )
    if size > READ and path.lower().endswith(_CODE):
        odd.add(f"{shown(path)} has {said(size)}; only its first {said(READ)} are looked at.")


def compare(paths: list[str], odd: Oddities) -> None:
    """Names that stand for the same file, somewhere."""
    exact: set[str] = set()
    folded: dict[str, str] = {}
    for path in paths:
        if path in exact:
            odd.add(f"{shown(path)} is there more than once.")
            continue
        exact.add(path)
        other = folded.setdefault(path.casefold(), path)
        if other != path:
            odd.add(f"{shown(other)} and {shown(path)} differ by case only.")
