"""HTTP basic credentials (RFC 7617): user is the sandbox's name, password its token. Pure."""

import base64
import binascii
import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Credentials:
    """A name and the token's digest; the token itself is kept nowhere."""

    name: str
    digest: str  # sha256, hex


def credentials_of(header: str | None) -> Credentials | None:
    """What an Authorization header states; None when it is missing or cannot be read."""
    scheme, _, encoded = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, token = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    if not colon or not token or not 0 < len(name) <= 63 or not name.isprintable():
        return None
    return Credentials(name, hashlib.sha256(token.encode()).hexdigest())
