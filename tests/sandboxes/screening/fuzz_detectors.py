"""Coverage-guided fuzzing of the detectors, for as long as one likes:

    python -m tests.sandboxes.screening.fuzz_detectors [-max_total_time=600] [CORPUS_FOLDER]

Needs `atheris`, as `fuzz_archives` does; libFuzzer's options hold. The first byte says what the file pretends to
be, and whether there is a release before it, which has the first half of its members. The rest are members: what
stands before a member's first line break is its path. Detectors never raise, whatever they read. Without a folder
it starts with the recreated attacks.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench.screening import attacks
from sandboxes.screening.detectors import ALL
from sandboxes.screening.package import Kind
from tests.sandboxes.screening.fuzzing import fuzz
from tests.sandboxes.screening.packages import MadePackage, as_bytes, package

KINDS = tuple(Kind)
_BETWEEN = b"\0\n\0"  # members
_LONGEST = 6_000  # a seed: longer ones make each run slow
_SHOWN = 2_000  # bytes of it that stand for a longer one


def one(folder: Path, data: bytes) -> None:
    """Raises what a detector raises, or what it tells that no report could hold."""
    if not data:
        return
    kind = KINDS[data[0] % len(KINDS)]
    members = list(_members(data[1:]))
    made = _made(members, kind, "1.1")
    former = _made(members[: len(members) // 2], kind, "1.0") if data[0] >= len(KINDS) else None
    for detector in ALL:
        for found in detector.look(made, former):
            msgspec.json.encode(found)


def _members(data: bytes) -> Iterator[tuple[str, bytes]]:
    for part in data.split(_BETWEEN):
        path, _, content = part.partition(b"\n")
        yield path.decode(errors="replace"), content


def _made(members: list[tuple[str, bytes]], kind: Kind, version: str) -> MadePackage:
    return package(dict(members), kind, version=version, former_version="1.0")


def seeds() -> list[bytes]:
    """Each attack by itself, and beside what has none of its last members."""
    found = []
    for attack in attacks.ALL:
        files = attack.release.files.items()
        parts = [path.encode() + b"\n" + as_bytes(content)[:_SHOWN] for path, content in files]
        packed = _BETWEEN.join(parts)[:_LONGEST]
        number = KINDS.index(attack.kind)
        found += [bytes([number]) + packed, bytes([number + len(KINDS)]) + packed]
    return found


if __name__ == "__main__":
    fuzz(sys.argv, one, seeds(), "sandboxes.screening.detectors")
