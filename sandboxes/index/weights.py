"""How many bytes of memory things take, from above: what `Lru` goes by. Pure.

Measured with `tracemalloc` and rounded up. A parsed document takes its length, for its characters, and a constant
for each of its entries, for the objects around them. A text with a single character beyond ASCII takes up to four
bytes for every one of its characters, so those texts are looked at one by one.
"""

import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sandboxes.index.policy.decide import Decision

ENTRY: Final = 400  # of a small thing in an `Lru`: its key, its place, its number
_DECISION: Final = 700  # with its key, which is of two texts, and its places in two mappings
_FINDING: Final = 250


def document(plain: bytes, objects: int, texts: Iterable[object]) -> int:
    """Of what was read from `plain`, JSON in UTF-8; `texts`: those of it that may be beyond ASCII.

    `objects`: what its entries take besides their characters.
    """
    wide = 0 if plain.isascii() else sum(sys.getsizeof(t) for t in texts if isinstance(t, str))
    return 2 * ENTRY + 2_000 + len(plain) + objects + wide


def decisions(refused: Mapping[Any, Decision]) -> int:
    """Of decisions that do not allow. Their keys' texts count too: the page that they are from may be gone."""
    return sum(_decision(key, decision) for key, decision in refused.items())


def _decision(key: str | tuple[str, ...], decision: Decision) -> int:
    findings = [*decision.findings, *(finding for finding, _ in decision.waived)]
    return _DECISION + sum(map(len, key)) + sum(_FINDING + sys.getsizeof(one.reason) for one in findings)


def texts(values: Iterable[str]) -> int:
    return sum(map(sys.getsizeof, values))
