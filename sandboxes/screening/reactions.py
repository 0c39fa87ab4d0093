"""What is done about an exposure, by how bad its advisory is: the defaults, and what admins changed."""

from collections.abc import Mapping

from django.db import transaction

from sandboxes.audit.services import Actor, record
from sandboxes.errors import InvalidInputError
from sandboxes.screening.exposure import DEFAULTS, Action, Kind
from sandboxes.screening.models import Reaction


def all_of() -> dict[Kind, Action]:
    """One for each kind."""
    kept = dict(Reaction.objects.values_list("kind", "action"))
    return {kind: Action(kept[kind]) if kind in kept else default for kind, default in DEFAULTS.items()}


def change(wanted: Mapping[Kind, Action], *, by: Actor, reason: str) -> bool:
    """From the next exposure on; those that are there stay as they are. False: nothing is different."""
    reason = reason.strip()
    if not reason:
        raise InvalidInputError("Say why: the auditors will read it.")
    with transaction.atomic():
        before = all_of()
        different = {kind: action for kind, action in wanted.items() if before[kind] is not action}
        if not different:
            return False
        for kind, action in different.items():
            Reaction.objects.update_or_create(kind=kind.value, defaults={"action": action.value})
        told = {kind.value: [before[kind].value, action.value] for kind, action in different.items()}
        data = {"changed": told, "reason": reason}
        record(actor=by, action="reactions.changed", subject="reactions", data=data)
    return True
