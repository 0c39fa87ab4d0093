"""Taking inventories: of open sandboxes once in `INVENTORY_EVERY`, and whenever somebody asks (`wanting`).

A worker finds the row, looks into the pod and fills it in; one that dies leaves it for the next. A simulated
sandbox has no pod: that is what its row says.
"""

import logging
from collections import Counter
from datetime import timedelta
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef

from sandboxes.audit.services import record
from sandboxes.errors import ConflictError, PetridishError
from sandboxes.lifecycle import clock, clusters
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import Phase
from sandboxes.usage.inventory import Entry, Received, State, compare
from sandboxes.usage.models import Install, Inventory
from sandboxes.usage.wanting import want

logger = logging.getLogger(__name__)
_AT_ONCE: Final = 20
_RECEIVED: Final = 50_000  # versions that are compared with
_NOTED: Final = 50  # names that the ledger has of one look


def run() -> int:
    """Takes what is wanted or due; how many that was."""
    for sandbox in _due():
        want(sandbox, by=None)
    waiting = Inventory.objects.filter(taken_at=None).order_by("id").values_list("pk", flat=True)
    return sum(_take(pk) for pk in list(waiting[:_AT_ONCE]))


def _due() -> list[Sandbox]:
    """Open for long enough that something may be there, and not looked at lately."""
    every: timedelta = settings.INVENTORY_EVERY
    since = clock.now() - every
    lately = Inventory.objects.filter(sandbox=OuterRef("pk"), wanted_at__gt=since)
    rows = Sandbox.objects.filter(~Exists(lately), phase=Phase.READY, simulated=False, ready_at__lt=since)
    return list(rows.order_by("pk")[:_AT_ONCE])


def _take(pk: int) -> bool:
    """The row is locked while the pod is looked at: another worker takes another."""
    with transaction.atomic():
        rows = Inventory.objects.select_for_update(skip_locked=True, of=("self",)).select_related("sandbox")
        row = rows.filter(pk=pk, taken_at=None).first()
        if row is None:
            return False
        try:
            _fill(row)
        except PetridishError as error:
            row.error = str(error)[:500]
        except Exception:  # what a pod says may be anything: the row must not come back for ever
            logger.exception("inventory %s was not taken", pk)
            row.error = "It could not be taken; the log says why."
        row.taken_at = clock.now()
        row.save()
    return True


def _fill(row: Inventory) -> None:
    sandbox = row.sandbox
    if sandbox.phase != Phase.READY:
        raise ConflictError(f"The sandbox is {sandbox.phase} by now.")
    if sandbox.simulated:
        raise ConflictError("The cluster is simulated: there is no pod to look into.")
    found = clusters.get(sandbox.cluster).installed(sandbox.namespace or "")
    entries = compare(found["items"], _received(sandbox))
    row.complete = found.get("complete") is True
    row.entries = [entry.document() for entry in entries]
    row.counts = dict(Counter(entry.state.value for entry in entries))
    _note(row, entries)


def _received(sandbox: Sandbox) -> list[Received]:
    rows = Install.objects.filter(sandbox=sandbox).order_by("id")
    return [Received(*row) for row in rows.values_list("ecosystem", "project", "version")[:_RECEIVED]]


def _note(row: Inventory, entries: list[Entry]) -> None:
    """The ledger has what did not come through the index, or is not as it came."""
    odd = [entry for entry in entries if entry.state in (State.ALTERED, State.SIDELOADED)]
    if odd:
        names = [f"{entry.ecosystem} {entry.name} {entry.version}: {entry.state}" for entry in odd[:_NOTED]]
        data = {"inventory": row.pk, "counts": row.counts, "odd": names}
        record(actor=None, action="sandbox.inventory_differs", subject=f"sandbox:{row.sandbox_id}", data=data)
