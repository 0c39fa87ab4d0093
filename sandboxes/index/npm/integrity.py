"""Subresource integrity (SRI), which npm verifies tarballs by, as digests that the store knows. Pure."""

import base64
import binascii
from typing import Final

# The strongest first. SHA-1, all that very old packuments have, is no proof any more.
_BYTES: Final = {"sha512": 64, "sha384": 48, "sha256": 32}


def digest_of(integrity: object) -> str:
    """The strongest hash in it, in hex; "" when there is none, or more than one of that kind."""
    if not isinstance(integrity, str):
        return ""
    stated = [part.partition("?")[0].partition("-") for part in integrity.split()]
    for algorithm, size in _BYTES.items():
        found = {encoded for name, _, encoded in stated if name == algorithm}
        if found:
            return _hex(found.pop(), size) if len(found) == 1 else ""
    return ""


def integrity_of(digest: str) -> str:
    """Such a digest as npm wants it."""
    data = bytes.fromhex(digest)
    algorithm = next(name for name, size in _BYTES.items() if size == len(data))
    return f"{algorithm}-{base64.b64encode(data).decode()}"


def _hex(encoded: str, size: int) -> str:
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return ""
    return data.hex() if len(data) == size else ""
