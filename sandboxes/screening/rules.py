"""Which patterns screening processes go by, as each of them says; an alarm while some of an admin's are wrong."""

from collections.abc import Sequence
from typing import Any, Final

from django.db.models import QuerySet
from django.db.models.functions import Now

from sandboxes.lifecycle import alarms
from sandboxes.screening.models import Rules
from sandboxes.screening.words import HEARD_OF

ALARM: Final = "rules_broken"
SUBJECT: Final = "screening"
_NAMED: Final = 5  # problems in an alarm


def places() -> QuerySet[Rules]:
    """Those that were heard of lately; the one whose rules changed last, and so count, comes first."""
    return Rules.objects.filter(seen_at__gte=Now() - HEARD_OF).order_by("-changed_at", "-digest", "place")


def differ(found: Sequence[Rules]) -> bool:
    return len({each.digest for each in found}) > 1


def check() -> None:
    """Raises or clears the alarm."""
    found = list(places())
    problems = list(dict.fromkeys(_told(problem) for each in found for problem in each.problems))
    if not problems:
        alarms.clear(ALARM, SUBJECT, by=None)
        return
    more = f" And {len(problems) - _NAMED} more." if len(problems) > _NAMED else ""
    said = "; ".join(problems[:_NAMED])
    alarms.alarm(ALARM, SUBJECT, f"Patterns of yours are left out of screening: {said}.{more}")


def _told(problem: dict[str, Any]) -> str:
    where = f"{problem['file']}, line {problem['line']}" if problem["line"] else str(problem["file"])
    return f"{where}: {problem['message']}"
