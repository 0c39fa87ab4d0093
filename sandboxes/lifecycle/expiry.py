"""Leases that are over, and those that soon will be: a pass over the database that needs no cluster.

However long a cluster is down, or a worker stuck at something else, the index token stops
working with the commit made here. Only what comes after that, taking the sandbox away,
needs its cluster. A legal hold puts the end off; an extension granted at the last moment
wins, because every change is made only if the row still says so.
"""

from typing import Any, Final

from django.db import connection, transaction
from django.db.models import Q

from sandboxes.audit.services import record
from sandboxes.lifecycle import clock
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.moves import start_ending
from sandboxes.lifecycle.phases import OPENED, Phase
from sandboxes.lifecycle.timing import WARN_AT_MOST, WARN_SHARE

# As the index `sandbox_expiry` has it. One that is proven anew has a lease that runs; one
# that is proven for the first time has none yet.
LEASED: Final = tuple(sorted(OPENED | {Phase.PROBING}))
_BATCH: Final = 500

_OVER = """
SELECT id FROM lifecycle_sandbox
 WHERE phase IN ('ready', 'hibernated', 'isolated', 'probing') AND expires_at <= statement_timestamp()
   AND (hold_until IS NULL OR hold_until <= statement_timestamp())
 ORDER BY expires_at LIMIT %(batch)s
"""

# `timing.warn_at` in SQL.
_SOON = """
SELECT id FROM lifecycle_sandbox
 WHERE phase IN ('ready', 'hibernated', 'isolated', 'probing') AND warned_at IS NULL
   AND expires_at > statement_timestamp()
   AND expires_at <= statement_timestamp() + %(at_most)s
   AND expires_at - LEAST(lease * %(share)s, %(at_most)s) <= statement_timestamp()
 ORDER BY expires_at LIMIT %(batch)s
"""


def run() -> int:
    """Ends what is over and warns of what soon will be; how many were ended."""
    ended = 0
    while ids := _found(_OVER):
        won = sum(end(sandbox) for sandbox in Sandbox.objects.filter(pk__in=ids).order_by("expires_at"))
        ended += won
        if not won or len(ids) < _BATCH:  # those that somebody else just changed come again
            break
    for sandbox_id in _found(_SOON):
        _warn(sandbox_id)
    return ended


def end(sandbox: Sandbox) -> bool:
    """Ends it if, at this moment, its lease is over and nobody holds it."""
    if sandbox.phase not in LEASED or sandbox.expires_at is None:
        return False
    free = Q(hold_until=None) | Q(hold_until__lte=clock.Now())
    return start_ending(sandbox, reason="expired", only_if=free & Q(expires_at__lte=clock.Now()))


def _warn(sandbox_id: int) -> None:
    with transaction.atomic():
        rows = Sandbox.objects.filter(pk=sandbox_id, phase__in=LEASED, warned_at=None)
        if rows.update(warned_at=clock.Now()):
            data: dict[str, Any] = {"expires_at": Sandbox.objects.get(pk=sandbox_id).expires_at}
            record(actor=None, action="sandbox.expiry_warned", subject=f"sandbox:{sandbox_id}", data=data)


def _found(statement: str) -> list[int]:
    values: dict[str, Any] = {"batch": _BATCH, "at_most": WARN_AT_MOST, "share": WARN_SHARE}
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return [sandbox_id for (sandbox_id,) in cursor.fetchall()]
