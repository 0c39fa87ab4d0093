"""Index tokens: one at a time for each sandbox, derived instead of stored.

The owner may look at the index URL at any time and the worker must be able to
render it again after a crash, yet nothing readable may lie in the database. So
the token is an HMAC under the installation's sandbox key, and the row keeps only
its digest. An empty digest means that no token works.

Somebody may have taken a copy of a token that was revoked. So the row counts how many were,
and the count is part of what the token is derived from: opened again, a sandbox has another.
"""

import base64
import hashlib
import hmac
from typing import Any

from django.conf import settings
from django.db.models import Case, F, PositiveIntegerField, Q, When

from sandboxes.lifecycle.models import Sandbox


def index_token(sandbox: Sandbox) -> str:
    """The token that this sandbox has, or will have when it opens: 43 URL-safe characters."""
    return _derived(sandbox.pk, sandbox.tokens_revoked)


def last_revoked(sandbox: Sandbox) -> str:
    """The newest of those that stopped working; "" if none ever worked."""
    return _derived(sandbox.pk, sandbox.tokens_revoked - 1) if sandbox.tokens_revoked else ""


def all_revoked(sandbox: Sandbox) -> list[str]:
    """Every one that worked once and does not any more, oldest first."""
    return [_derived(sandbox.pk, number) for number in range(sandbox.tokens_revoked)]


def revocation() -> dict[str, Any]:
    """What an update of the row has to change so that its token stops working, for good. One that has none keeps it."""
    worked = When(~Q(index_token_digest=""), then=F("tokens_revoked") + 1)
    count = Case(worked, default=F("tokens_revoked"), output_field=PositiveIntegerField())
    return {"index_token_digest": "", "tokens_revoked": count}


def _derived(sandbox_id: int, revoked_before: int) -> str:
    """The first one has no count in it: those that were given out before there was a count still work."""
    count = f"/{revoked_before}" if revoked_before else ""
    message = f"index-token/{settings.INSTALLATION_ID}/{sandbox_id}{count}".encode()
    digest = hmac.new(settings.SANDBOX_KEY, message, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def digest(token: str) -> str:
    """What the row keeps, and what the index compares: sha256 in hex."""
    return hashlib.sha256(token.encode()).hexdigest()
