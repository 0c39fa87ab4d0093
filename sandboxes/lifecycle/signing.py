"""Signing receipts, and checking them with nothing but a public key: no database, no settings.

A receipt is a JSON object of text, whole numbers, true, false, null, lists and objects
with ASCII names; no fractions, whose spelling differs between languages. For such
documents the canonical form of RFC 8785 is simply: names sorted, no spaces, UTF-8. The
Ed25519 signature (RFC 8032) is made over those bytes, so how a file is indented does
not matter, and every language can rebuild them. See `docs/receipts.md`.

The private key is derived (HKDF, RFC 5869) from the installation's ledger key: a second
secret would be a second thing to lose, and whoever holds the ledger key could write
whatever history they like anyway. Nobody gets from the public key to either.
"""

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from sandboxes.errors import InvalidInputError

ALGORITHM: Final = "Ed25519"
TYPE: Final = "petridish-receipt"
LARGEST: Final = 256 * 1024  # bytes of a receipt's file
_LABEL: Final = b"petridish/receipt-signing/v1"
_EXACT: Final = 2**53 - 1  # beyond it, numbers are not the same in every language (RFC 8785, section 3.2.2.3)

type Document = dict[str, Any]


class Finding(StrEnum):
    VALID = "valid"
    UNSIGNED = "unsigned"
    WRONG_KEY = "wrong key"
    CHANGED = "changed"
    NOT_A_RECEIPT = "not a receipt"


@dataclass(frozen=True)
class Verification:
    """What a check found, and one sentence for people."""

    finding: Finding
    message: str

    @property
    def ok(self) -> bool:
        return self.finding is Finding.VALID


@dataclass(frozen=True)
class Signed:
    """A receipt as it leaves the house; without key and signature it is from before signing."""

    document: Document
    key_id: str
    signature: str

    def envelope(self) -> Document:
        """The JSON object that is downloaded."""
        signature = {"algorithm": ALGORITHM, "key_id": self.key_id, "value": self.signature}
        return {"receipt": self.document, "signature": signature if self.signature else None}


def canonical(document: Document) -> bytes:
    """The bytes that are signed. InvalidInputError if the document has no such form."""
    try:
        _check(document)
        text = json.dumps(
            document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )
        return text.encode()
    except (UnicodeEncodeError, RecursionError) as error:
        raise InvalidInputError("The document has no canonical form.") from error


def _check(value: object) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            if not isinstance(name, str) or not name.isascii():
                raise InvalidInputError("A name in the document is not ASCII text.")
            _check(inner)
    elif isinstance(value, list):
        for inner in value:
            _check(inner)
    elif isinstance(value, int) and abs(value) > _EXACT:
        raise InvalidInputError("A number in the document is too large.")
    elif isinstance(value, str) and "\0" in value:
        raise InvalidInputError("A text in the document holds a NUL.")
    elif not (value is None or isinstance(value, str | int)):
        raise InvalidInputError(f"The document holds a {type(value).__name__}.")


def digest(document: Document) -> str:
    """What the ledger keeps of a receipt: sha256 of its canonical form, hex."""
    return hashlib.sha256(canonical(document)).hexdigest()


def private_key(ledger_key: bytes) -> Ed25519PrivateKey:
    """The installation's key. The same ledger key always gives the same one."""
    seed = HKDF(algorithm=SHA256(), length=32, salt=None, info=_LABEL).derive(ledger_key)
    return Ed25519PrivateKey.from_private_bytes(seed)


def key_id(key: Ed25519PublicKey) -> str:
    """The first 16 hex digits of the sha256 of the 32 bytes of the public key."""
    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


def pem(key: Ed25519PublicKey) -> str:
    """The public key as it is published."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def public_key(text: str) -> Ed25519PublicKey:
    """A published key read back; InvalidInputError for anything else."""
    try:
        key = load_pem_public_key(text.encode())
    except (ValueError, TypeError) as error:
        raise InvalidInputError("This is no public key in PEM form.") from error
    if not isinstance(key, Ed25519PublicKey):
        raise InvalidInputError("This public key is not an Ed25519 key.")
    return key


def sign(document: Document, key: Ed25519PrivateKey) -> Signed:
    """The document with its signature, base64."""
    value = base64.b64encode(key.sign(canonical(document))).decode()
    return Signed(document, key_id(key.public_key()), value)


def verify(signed: Signed, key: Ed25519PublicKey) -> Verification:
    """Whether that key signed exactly this document."""
    if not signed.signature and not signed.key_id:
        return Verification(Finding.UNSIGNED, "It is unsigned: from before signing.")
    if signed.key_id != (ours := key_id(key)):
        told = f"It names the key {signed.key_id[:64]}; this is the key {ours}."
        return Verification(Finding.WRONG_KEY, told)
    try:
        message = canonical(signed.document)
        value = base64.b64decode(signed.signature, validate=True)
        if base64.b64encode(value).decode() != signed.signature:  # one signature, one spelling
            raise InvalidSignature
        key.verify(value, message)
    except (InvalidInputError, InvalidSignature, binascii.Error, ValueError):
        return Verification(
            Finding.CHANGED, "The signature does not match: the receipt, or its signature, was changed."
        )
    return Verification(Finding.VALID, f"The signature of key {ours} matches: nothing was changed.")


def read(text: str | bytes) -> Signed:
    """A receipt's file. InvalidInputError says why it is not one."""
    try:
        found = json.loads(text, object_pairs_hook=_once, parse_float=_refuse, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(
            f"This is not a receipt: it is no JSON of the kind used here ({error})."
        ) from error
    document = found.get("receipt") if isinstance(found, dict) else None
    if not isinstance(document, dict) or set(found) != {"receipt", "signature"}:
        raise InvalidInputError(
            "This is not a receipt: it needs a “receipt” and a “signature”, nothing else."
        )
    signature = found["signature"]
    if signature is None:
        return Signed(document, "", "")
    if not isinstance(signature, dict) or set(signature) != {"algorithm", "key_id", "value"}:
        raise InvalidInputError("This is not a receipt: its signature lacks algorithm, key_id or value.")
    if signature["algorithm"] != ALGORITHM:
        raise InvalidInputError(f"This is not a receipt of ours: it is not signed with {ALGORITHM}.")
    names = signature["key_id"], signature["value"]
    if not all(isinstance(name, str) and name for name in names) or document.get("type") != TYPE:
        raise InvalidInputError(
            f"This is not a receipt: its type is not “{TYPE}”, or its signature is empty."
        )
    return Signed(document, *names)


def _once(pairs: list[tuple[str, Any]]) -> Document:
    """A name that comes twice is read differently by different programs: refused."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice")
    return found


def _refuse(text: str) -> Any:
    raise ValueError(f"{text[:20]} is not a whole number")
