"""`manage.py verify_receipt FILE`: is this receipt as it was signed? `-` reads it from standard input.

With `--key PUBLIC_KEY` (a file, as `/receipts/key` publishes it) nothing of this
installation is asked, so it needs no database. Without, it is checked with our own key,
and with the ledger if the database answers.

Exit 0: valid. 1: changed, signed by another key, or missing in the ledger. 2: it cannot be told.
"""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from sandboxes.errors import InvalidInputError
from sandboxes.lifecycle import receipts, signing
from sandboxes.lifecycle.signing import Finding, Signed

_NOT_VALID: Final = 1
_CANNOT_TELL: Final = 2
_CODES: Final = {Finding.UNSIGNED: _CANNOT_TELL, Finding.NOT_A_RECEIPT: _CANNOT_TELL}


class Command(BaseCommand):
    help = "Checks a receipt's signature, and whether the ledger has it. Exit 0: valid, 1: not valid, 2: cannot tell."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", nargs="?", help="the receipt, or - for standard input")
        parser.add_argument("--key", metavar="PUBLIC_KEY", help="check with the public key in this file only")
        parser.add_argument("--show-key", action="store_true", help="print this installation's public key")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["show_key"]:
            self.stdout.write(signing.pem(receipts.key()), ending="")
            return
        if not options["file"]:
            raise CommandError("Name the receipt's file, or - for standard input.", returncode=_CANNOT_TELL)
        try:
            signed = signing.read(_content(options["file"]))
            key = signing.public_key(Path(options["key"]).read_text()) if options["key"] else receipts.key()
        except (InvalidInputError, OSError, UnicodeDecodeError) as error:
            raise CommandError(str(error), returncode=_CANNOT_TELL) from error
        self._check(signed, key, with_ledger=not options["key"])

    def _check(self, signed: Signed, key: Ed25519PublicKey, *, with_ledger: bool) -> None:
        result = signing.verify(signed, key)
        ledger = _ledger(signed) if with_ledger else None
        if not result.ok:
            and_so = f"And {_MISSING}" if ledger == _MISSING else ledger or ""
            told = f"{result.message} {and_so}".strip()
            raise CommandError(told, returncode=_CODES.get(result.finding, _NOT_VALID))
        if ledger == _MISSING:
            raise CommandError(f"{result.message} But {_MISSING}", returncode=_NOT_VALID)
        self.stdout.write(_summary(signed.document))
        self.stdout.write(f"{result.message} {ledger or ''}".strip())


_MISSING: Final = "this installation's ledger has no entry for it."


def _ledger(signed: Signed) -> str | None:
    """What the ledger says of it; None if it is not ours to know."""
    installation = signed.document.get("installation")
    if installation not in (None, settings.INSTALLATION_ID):
        return None
    try:
        entry = receipts.in_ledger(signed.document)
    except Error:
        return "The ledger was not asked: the database does not answer."
    except InvalidInputError:
        return None
    return f"The ledger has it, in entry {entry.pk}." if entry else _MISSING


def _content(name: str) -> bytes:
    """At most what a receipt may measure, and one byte more, which is too much."""
    if name == "-":
        found = sys.stdin.buffer.read(signing.LARGEST + 1)
    else:
        with Path(name).open("rb") as file:
            found = file.read(signing.LARGEST + 1)
    if len(found) > signing.LARGEST:
        raise InvalidInputError(f"This is not a receipt: it is larger than {signing.LARGEST} bytes.")
    return found


def _summary(document: dict[str, Any]) -> str:
    """One line: whose sandbox, why it ended, and that it was seen gone."""
    absent = document.get("absent_at")
    gone = f"seen gone at {absent}" if absent else "nothing of it had been made"
    return f"Sandbox {document.get('sandbox')} of {document.get('owner')} ({document.get('reason')}): {gone}."
