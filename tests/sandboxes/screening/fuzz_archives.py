"""Coverage-guided fuzzing of the archives' readers, for as long as one likes:

    python -m tests.sandboxes.screening.fuzz_archives [-max_total_time=600] [CORPUS_FOLDER]

Needs `atheris` (`pip install atheris`), as `fuzz_detectors` does and no other part of the project; libFuzzer's
options hold.
The first byte says what the file pretends to be; of a tarball the rest is what is inside the gzip, whose
checksum nothing would ever get past. From three on the rest is an archive that lies inside a wheel or an
sdist. Without a folder it starts with the archives that the tests change.
"""

import gzip
import sys
from pathlib import Path

from sandboxes.screening.package import Facts
from tests.sandboxes.screening.archives import test_fuzzed
from tests.sandboxes.screening.archives.made import NPM, SDIST, WHEEL
from tests.sandboxes.screening.fuzzing import fuzz

KINDS: tuple[Facts, ...] = (WHEEL, SDIST, NPM)
OUTER: tuple[Facts, ...] = (WHEEL, SDIST)


def one(folder: Path, data: bytes) -> None:
    """Raises what is neither an archive nor an `ArchiveError`."""
    if not data:
        return
    kind, rest = data[0] % (len(KINDS) + len(OUTER)), data[1:]
    if kind >= len(KINDS):
        test_fuzzed.read_whatever_it_is(folder, *test_fuzzed.nested(rest, OUTER[kind - len(KINDS)]))
        return
    facts = KINDS[kind]
    test_fuzzed.read_whatever_it_is(folder, rest if facts is WHEEL else gzip.compress(rest, 1), facts)


def seeds() -> list[bytes]:
    zips = [bytes([KINDS.index(facts)]) + data for facts, data in test_fuzzed.SEEDS if facts is WHEEL]
    tars = [b"\1" + gzip.decompress(data) for facts, data in test_fuzzed.SEEDS if facts is SDIST]
    nested = [bytes([len(KINDS) + number % 2]) + data for number, data in enumerate(test_fuzzed.NESTED)]
    return [*zips, *tars, b"\2" + test_fuzzed.TAR, *nested]


if __name__ == "__main__":
    fuzz(sys.argv, one, seeds(), "sandboxes.screening.archives")
