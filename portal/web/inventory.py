"""What is really installed in one sandbox: the newest look, on its page, and a button for another."""

from typing import Any, Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from portal.accounts.access import person, require
from portal.accounts.permissions import Permission
from portal.approvals import queries
from portal.web.respond import translated
from sandboxes.errors import ConflictError
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import Phase
from sandboxes.usage import inventory, wanting
from sandboxes.usage.models import Inventory

SHOWN: Final = 50
_STATES: Final = {
    inventory.State.ALTERED: ("Altered", "bad"),
    inventory.State.SIDELOADED: ("Not through the index", "wait"),
    inventory.State.MISSING: ("Received, not there", "done"),
    inventory.State.AS_RECEIVED: ("As received", "good"),
}


@require(Permission.REQUEST_SANDBOX)
@require_POST
@translated
def look(request: HttpRequest, sandbox_id: int) -> HttpResponse:
    me = person(request)
    sandbox = queries.sandbox_for(me, sandbox_id)
    try:
        wanting.want(sandbox, by=me)
    except ConflictError as error:
        messages.warning(request, str(error), extra_tags="wait")
    else:
        messages.success(request, "A worker looks; it takes a moment.", extra_tags="good")
    return redirect("sandbox", sandbox.pk)


def shown(sandbox: Sandbox) -> dict[str, Any]:
    """What the section on the sandbox's page needs."""
    newest = wanting.newest(sandbox)
    taken = newest.exclude(taken_at=None).first()
    return {
        "taken": taken,
        "waiting": newest.filter(taken_at=None).exists(),
        "lines": [(each, *_STATES[inventory.State(each["state"])]) for each in _odd_first(taken)],
        "counts": _counts(taken),
        "may_look": sandbox.phase == Phase.READY,
    }


def version(sandbox: Sandbox) -> tuple[object, ...]:
    """Changes when the section does."""
    return tuple(wanting.newest(sandbox).values_list("pk", "taken_at")[:1])


def _odd_first(taken: Inventory | None) -> list[dict[str, Any]]:
    """They are kept in this order: what needs a look first."""
    return taken.entries[:SHOWN] if taken else []


def _counts(taken: Inventory | None) -> list[tuple[str, str, int]]:
    counts = taken.counts if taken else {}
    return [(*_STATES[state], counts[state]) for state in _STATES if counts.get(state)]
