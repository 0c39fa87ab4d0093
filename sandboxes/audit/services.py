"""Writing and verifying the ledger."""

import hmac
import json
from dataclasses import dataclass
from typing import Any, Protocol

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, transaction
from django.utils import timezone

from sandboxes.audit import anchor
from sandboxes.audit.chain import GENESIS, Link, mac
from sandboxes.audit.models import Entry

# Any constant will do: it names the lock under which the next number and the last mac are read.
_CHAIN_LOCK = 0x6C6564676572
SYSTEM = "Petridish"


class Actor(Protocol):
    """A person as the ledger sees one."""

    @property
    def pk(self) -> Any: ...
    def get_username(self) -> str: ...


@dataclass(frozen=True)
class Verification:
    """`entries` were read; `first_broken` is the first that does not hold, `reason` says how."""

    ok: bool
    entries: int
    first_broken: int | None = None
    reason: str = ""


def record(*, actor: Actor | None, action: str, subject: str, data: dict[str, Any] | None = None) -> Entry:
    """Appends an entry in the caller's transaction; `actor` None is Petridish itself.

    Call it last in the transaction: it holds the chain's lock until commit, and
    taking other locks while holding it could deadlock two services.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError(
            "audit.record must share a transaction with what it records"
        )
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_CHAIN_LOCK])
    last = Entry.objects.order_by("-id").values_list("id", "mac").first()
    number, previous = (last[0] + 1, last[1]) if last else (1, GENESIS)
    link = Link(
        id=number,
        at=timezone.now(),
        actor_id=actor.pk if actor else None,
        actor=actor.get_username() if actor else SYSTEM,
        action=action,
        subject=subject,
        # Through JSON once, so that what is signed is what the database gives back.
        data=json.loads(json.dumps(data or {}, cls=DjangoJSONEncoder)),
        previous=previous,
    )
    return Entry.objects.create(**vars(link), mac=mac(link, settings.LEDGER_KEY))


def verify() -> Verification:
    """Recomputes the whole chain in one pass, streaming, and looks for the head that was kept outside."""
    head = anchor.read()
    expected_id, previous, count = 1, GENESIS, 0
    for entry in Entry.objects.order_by("id").iterator(chunk_size=2000):
        reason = _fault(entry, expected_id, previous)
        if not reason and head and head.id == entry.pk and head.mac != entry.mac:
            reason = "it is not the entry that was anchored outside the database"
        if reason:
            return Verification(ok=False, entries=count, first_broken=entry.pk, reason=reason)
        expected_id, previous, count = entry.pk + 1, entry.mac, count + 1
    if head and head.id >= expected_id:
        reason = f"it is missing: entries up to {head.id} were anchored outside the database"
        return Verification(ok=False, entries=count, first_broken=expected_id, reason=reason)
    return Verification(ok=True, entries=count)


def _fault(entry: Entry, expected_id: int, previous: str) -> str:
    if entry.pk != expected_id:
        return f"entry {expected_id} is missing"
    if not hmac.compare_digest(entry.previous, previous):
        return "it does not follow the entry before it"
    link = Link(**{name: getattr(entry, name) for name in Link.__dataclass_fields__})
    if not hmac.compare_digest(entry.mac, mac(link, settings.LEDGER_KEY)):
        return "its contents were changed, or it was written under another key"
    return ""
