"""How ledger entries are chained: pure functions, so that anyone can recompute them.

Each entry's `mac` is HMAC-SHA256, under the installation's ledger key, over the
canonical JSON of its own fields and the mac of the entry before. Changing,
removing, inserting or reordering an entry breaks every mac from there on, and
without the key no new ones can be made.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

GENESIS = "0" * 64


@dataclass(frozen=True)
class Link:
    """The fields of an entry that the chain protects: all of them."""

    id: int
    at: datetime
    actor_id: int | None
    actor: str
    action: str
    subject: str
    data: Mapping[str, Any]
    previous: str


def canonical(link: Link) -> bytes:
    """One byte string for one entry: sorted keys, no spaces, UTC with microseconds."""
    fields = {
        "id": link.id,
        "at": link.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "actor_id": link.actor_id,
        "actor": link.actor,
        "action": link.action,
        "subject": link.subject,
        "data": link.data,
        "previous": link.previous,
    }
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def mac(link: Link, key: bytes) -> str:
    """Hex HMAC-SHA256 of the entry."""
    return hmac.new(key, canonical(link), hashlib.sha256).hexdigest()
