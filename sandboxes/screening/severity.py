"""How bad an OSV record says it is. Pure.

Databases say it in words (GitHub: `database_specific.severity`) or by CVSS vectors, for the whole
record or for one project of it. Where they disagree the highest counts; what cannot be read does not.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from cvss import CVSS2, CVSS3, CVSS4
from cvss.exceptions import CVSSError

from sandboxes.screening.words import Severity

_WORDS: Final = {
    "none": Severity.LOW,  # a score of 0.0 is still an advisory
    "negligible": Severity.LOW,
    "low": Severity.LOW,
    "moderate": Severity.MEDIUM,
    "medium": Severity.MEDIUM,
    "important": Severity.HIGH,
    "high": Severity.HIGH,
    "critical": Severity.CRITICAL,
}
_LONGEST = 500  # characters of a vector; all metrics of CVSS 4 are under 200


def severity_of(*parts: object) -> Severity | None:
    """Of a record and those of its `affected` entries that matter; None: nobody rated it."""
    return max((found for part in parts for found in _ratings(part)), default=None)


def _ratings(part: object) -> Iterator[Severity]:
    if not isinstance(part, dict):
        return
    for name in ("database_specific", "ecosystem_specific"):
        inner = part.get(name)
        if isinstance(inner, dict):
            yield from _of_word(inner.get("severity"))
    listed = part.get("severity")
    for each in listed if isinstance(listed, list) else ():
        score = each.get("score") if isinstance(each, dict) else None
        if isinstance(score, str) and len(score) <= _LONGEST:
            yield from _of_score(score.strip())


def _of_score(score: str) -> Iterator[Severity]:
    rated = _of_vector(score)
    if rated is not None:
        yield rated
    else:
        yield from _of_word(score)


def _of_word(word: object) -> Iterator[Severity]:
    if isinstance(word, str) and word.strip().lower() in _WORDS:
        yield _WORDS[word.strip().lower()]


@lru_cache(maxsize=16_384)
def _of_vector(vector: str) -> Severity | None:
    """The base score's rating: what a company's own environment makes of it, a record cannot know."""
    try:
        return _WORDS[_rating(vector).lower()]
    except (CVSSError, ValueError, KeyError, ArithmeticError):
        return None


def _rating(vector: str) -> str:
    parsed: Any
    if vector.startswith("CVSS:4"):
        return str(CVSS4(vector).severity)
    parsed = CVSS3(vector) if vector.startswith("CVSS:3") else CVSS2(vector)
    return str(parsed.severities()[0])
