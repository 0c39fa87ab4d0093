"""Members of one path: the last one is what is installed, and detectors would look at the first.

Builders put the same file in twice now and then. That is harmless, and one of the two is enough; where the bytes
are not the same, the archive is broken.
"""

import hashlib
from collections import defaultdict
from typing import Final

from sandboxes.screening.archives.errors import BrokenError
from sandboxes.screening.archives.limits import MIB
from sandboxes.screening.archives.members import FileMember
from sandboxes.screening.archives.oddities import shown

_COMPARED: Final = 256 * MIB  # bytes, of all that are there twice


def without_copies(members: list[FileMember]) -> list[FileMember]:
    """Raises `ArchiveError`."""
    by_path: dict[str, list[FileMember]] = defaultdict(list)
    for member in members:
        by_path[member.path].append(member)
    several = {path: same for path, same in by_path.items() if len(same) > 1}
    if several:
        _check(several)
    return [same[-1] for same in by_path.values()]


def _check(several: dict[str, list[FileMember]]) -> None:
    for path, same in several.items():
        if len({member.size for member in same}) > 1:
            raise _broken(path)
    hashes = _hashes([member for same in several.values() for member in same])
    for path, same in several.items():
        if len({hashes[member.number] for member in same}) > 1:
            raise _broken(path)


def _hashes(members: list[FileMember]) -> dict[int, bytes]:
    """In the archive's order: going back in a compressed one is slow."""
    by_number = {member.number: member for member in members}
    if sum(member.size for member in by_number.values()) > _COMPARED:
        raise BrokenError("too much of it is there more than once")
    hashes = {}
    for number in sorted(by_number):
        made = hashlib.sha256()
        for chunk in by_number[number].chunks():
            made.update(chunk)
        hashes[number] = made.digest()
    return hashes


def _broken(path: str) -> BrokenError:
    return BrokenError(
        f"{shown(path)} is there more than once, with other bytes: programs would read different things"
    )
