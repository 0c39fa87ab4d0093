"""Asking for an inventory makes a row, which a worker fills in (`taking`): a page never waits for a cluster."""

from django.db import transaction
from django.db.models import QuerySet
from django.db.utils import IntegrityError

from sandboxes.audit.services import Actor, record
from sandboxes.errors import ConflictError
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import Phase
from sandboxes.usage.models import Inventory


def newest(sandbox: Sandbox) -> QuerySet[Inventory]:
    return Inventory.objects.filter(sandbox=sandbox).order_by("-id")


def want(sandbox: Sandbox, *, by: Actor | None) -> Inventory:
    """Has a worker look soon; the look that is waiting already, if there is one. ConflictError unless it is open."""
    if sandbox.phase != Phase.READY:
        raise ConflictError(
            f"This sandbox is {sandbox.phase}: only in one that is ready there is something to see."
        )
    try:
        with transaction.atomic():
            made = Inventory.objects.create(sandbox=sandbox, wanted_by_id=by.pk if by else None)
            if by is not None:
                record(actor=by, action="sandbox.inventory_wanted", subject=f"sandbox:{sandbox.pk}")
            return made
    except IntegrityError:
        return Inventory.objects.get(sandbox=sandbox, taken_at=None)
