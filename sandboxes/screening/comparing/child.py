"""The child process: opens the archives, within limits, and writes the rows to its output. Knows no Django."""

import re
import resource
import sys
from pathlib import Path
from typing import Final

import msgspec

from sandboxes.screening.archives import ArchiveError, ArchivePackage, open_package
from sandboxes.screening.comparing.asking import Answer, Code, Question, Source
from sandboxes.screening.comparing.rows import shown, side_by_side
from sandboxes.screening.package import Member

_SECONDS: Final = 10  # of processor time
_MEMORY: Final = 1 << 30  # bytes of address space
_MOST_TEXT: Final = 1 << 20  # bytes of one file that are read
# Folders that have the release's version in their name: METADATA of 2.0 is compared with METADATA of 1.0.
_VERSIONED = re.compile(r"^[^/]+\.(dist-info|data|egg-info)/(.+)$")


def main() -> None:
    _limit()
    question = msgspec.json.decode(sys.stdin.buffer.read(), type=Question)
    sys.stdout.buffer.write(msgspec.json.encode(answer(question)))


def answer(question: Question) -> Answer:
    try:
        package = _opened(question.file)
    except ArchiveError as error:
        return Answer(error=f"It cannot be read: {shown(error.reason)}.")
    former, note = _former(question.former)
    codes = [_code(package, former, note, path, lines) for path, lines in question.lines.items()]
    return Answer(codes=tuple(codes))


def _former(source: Source | None) -> tuple[ArchivePackage | None, str]:
    if source is None:
        return None, ""
    try:
        return _opened(source), ""
    except ArchiveError as error:
        return None, f"The previous release cannot be read: {shown(error.reason)}."


def _opened(source: Source) -> ArchivePackage:
    return open_package(Path(source.path), source.facts)


def _code(
    package: ArchivePackage, former: ArchivePackage | None, note: str, path: str, lines: list[int]
) -> Code:
    try:
        member = package.within(path)
        if member is None:
            return Code(path, note="It is not in the archive.")
        text = _text(member)
        before = _twin(former, path) if former is not None else None
        old = _text(before) if before is not None else None
    except ArchiveError as error:
        return Code(path, note=f"It cannot be read: {shown(error.reason)}.")
    if text is None:
        return Code(path, note="It is no text.")
    if former is not None and before is None:
        note = "The previous release does not have this file."
    rows = side_by_side(old, text, lines)
    return Code(path, tuple(rows), note, compared=old is not None)


def _text(member: Member) -> str | None:
    """None: it is no text."""
    data = member.read(_MOST_TEXT)
    return None if b"\0" in data[:8192] else data.decode("utf-8", "replace")


def _twin(former: ArchivePackage, path: str) -> Member | None:
    """The same file of the previous release."""
    same = former.within(path)
    match = _VERSIONED.match(path)
    if same is not None or match is None:
        return same
    end = f".{match[1]}/{match[2]}"
    return next(
        (
            each
            for each in former.members
            if each.path.endswith(end) and each.path.count("/") == path.count("/")
        ),
        None,
    )


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
