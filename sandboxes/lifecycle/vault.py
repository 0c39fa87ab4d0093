"""Credentials of clusters, encrypted at rest.

AES-256-GCM under a key that HKDF derives from the installation's sandbox key for this use
alone. The cluster's name is bound as associated data: a ciphertext copied into another
row does not open there, so nobody who can only write to the database can point a name at
another cluster.
"""

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from sandboxes.errors import PermanentError

_INFO: Final = b"petridish/cluster-credentials/1"
_VERSION: Final = b"\x01"  # in front of the nonce, so that another way can follow one day
_NONCE: Final = 12  # bytes; NIST SP 800-38D, 8.2: random, and far fewer than 2^32 under one key


def encrypt(name: str, text: str) -> bytes:
    """What the cluster's row keeps."""
    nonce = os.urandom(_NONCE)
    return _VERSION + nonce + AESGCM(_key()).encrypt(nonce, text.encode(), _bound(name))


def decrypt(name: str, kept: bytes) -> str:
    """The text; PermanentError if it was kept for another name or under another key."""
    version, nonce, sealed = kept[:1], kept[1 : 1 + _NONCE], kept[1 + _NONCE :]
    try:
        if version != _VERSION:
            raise InvalidTag
        return AESGCM(_key()).decrypt(nonce, sealed, _bound(name)).decode()
    except (InvalidTag, ValueError):
        raise PermanentError(
            f"The credentials of cluster {name} cannot be read: they were stored under another "
            "SANDBOX_KEY or for another cluster. Register it anew."
        ) from None


def _key() -> bytes:
    salt = settings.INSTALLATION_ID.encode()
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=_INFO).derive(settings.SANDBOX_KEY)


def _bound(name: str) -> bytes:
    return b"cluster/" + name.encode()
