"""How much memory a worker process may fill with what it could get again: one sum, and who has which part of it.

A worker is to stay within 120 MB, and takes about 65 MB before it has answered anything. The rest is `TOTAL`. All
parts but the last two are bytes, as `Lru` weighs them: each cache says for what it puts in how much that really
takes (`weights.py`). What is being worked on comes on top, and is gone when it is answered.
"""

from typing import Final

_KIB: Final = 1024
_MIB: Final = 1024 * _KIB

TOTAL: Final = 52 * _MIB

PAGES: Final = 12 * _MIB  # projects' pages, as objects: one of 10,000 files takes nearly all of it
PAGE_BODIES: Final = 5 * _MIB  # those rendered and packed
PACKUMENTS: Final = 15 * _MIB  # npm's pages, as objects: one of 10,000 versions takes nearly all of it
PACKUMENT_BODIES: Final = 2 * _MIB
VIEWS: Final = 2560 * _KIB  # pages' decisions
PACKUMENT_VIEWS: Final = 2 * _MIB
QUICK: Final = 2560 * _KIB  # whole answers, and the heads that they answer
ADVISORIES: Final = 3 * _MIB  # of one project, too: nearly 300 are known against the worst
FOUND: Final = 1 * _MIB  # files that were looked up a moment ago
NEWEST: Final = 512 * _KIB  # digests of the pages seen last
ABSENT: Final = 512 * _KIB  # names that are no project's; npm's as much again
PROVENANCE: Final = 512 * _KIB
COUNTED: Final = 3 * _MIB  # caches of small entries, by their number
READ: Final = 2 * _MIB  # versions that were read, in `lru_cache`s of 512 to 4,096 entries

PARTS: Final = (
    PAGES,
    PAGE_BODIES,
    PACKUMENTS,
    PACKUMENT_BODIES,
    VIEWS,
    PACKUMENT_VIEWS,
    QUICK,
    ADVISORIES,
    FOUND,
    NEWEST,
    2 * ABSENT,
    PROVENANCE,
    COUNTED,
    READ,
)

# Wheels that were looked at, metadata that was checked, sizes in a bucket, files on hold: digests and names of limited
# length, 300 bytes each or a little more. Who asks, and origins' breakers, have numbers of their own.
REMEMBERED: Final = 2_000
