"""Index tokens: one per sandbox, derived instead of stored.

The owner may look at the index URL at any time and the worker must be able to
render it again after a crash, yet nothing readable may lie in the database. So
the token is an HMAC under the installation's sandbox key, and the row keeps only
its digest. An empty digest means that no token works.
"""

import base64
import hashlib
import hmac

from django.conf import settings


def index_token(sandbox_id: int) -> str:
    """The token of this sandbox, 43 URL-safe characters."""
    message = f"index-token/{settings.INSTALLATION_ID}/{sandbox_id}".encode()
    digest = hmac.new(settings.SANDBOX_KEY, message, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def digest(token: str) -> str:
    """What the row keeps, and what the index compares: sha256 in hex."""
    return hashlib.sha256(token.encode()).hexdigest()
