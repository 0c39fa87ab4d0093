"""/audit: the ledger and whether it holds."""

from datetime import datetime
from typing import Any

from django.http import HttpResponse
from ninja import Query, Router, Schema

from portal.accounts.permissions import Permission
from portal.api.auth import ApiRequest, Bearer
from portal.api.fields import OldestFirst, link_next
from sandboxes.audit import queries, services
from sandboxes.audit.models import Entry

router = Router(tags=["audit"])
read = Bearer(Permission.READ_LEDGER)


class EntryOut(Schema):
    """One entry, with all that its `mac` is made of."""

    id: int
    at: datetime
    actor_id: int | None
    actor: str
    action: str
    subject: str
    data: dict[str, Any]
    previous: str
    mac: str


class VerificationOut(Schema):
    """`first_broken` is the number of the first entry that does not hold, and `reason` says why."""

    ok: bool
    entries: int
    first_broken: int | None
    reason: str


@router.get("", auth=read, response=list[EntryOut])
def list_entries(request: ApiRequest, page: Query[OldestFirst], response: HttpResponse) -> list[Entry]:
    """Entries numbered above `after`, the oldest first."""
    found = list(queries.after(page.after, page.limit + 1))
    if len(found) > page.limit:
        found.pop()
        link_next(request, response, after=found[-1].pk)
    return found


@router.get("/verify", auth=read, response=VerificationOut)
def verify_ledger(request: ApiRequest) -> services.Verification:
    """Recomputes the whole chain: one read of the ledger."""
    return services.verify()
