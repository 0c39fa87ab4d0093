"""Holding one sandbox's row until the end of the transaction.

A compare-and-set (`moves.move`) needs no lock. Services that look at more than the phase
before they move do: two of them decide one after the other, never both on the same row as
it was. In the order of locks the sandbox comes after person and request.
"""

from sandboxes.errors import NotFoundError
from sandboxes.lifecycle.models import Sandbox


def locked(sandbox_id: int) -> Sandbox:
    """The row with its owner; NotFoundError if there is none."""
    rows = Sandbox.objects.select_for_update(no_key=True, of=("self",)).select_related("owner")
    sandbox = rows.filter(pk=sandbox_id).first()
    if sandbox is None:
        raise NotFoundError("There is no such sandbox.")
    return sandbox
