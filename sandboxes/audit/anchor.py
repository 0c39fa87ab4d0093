"""The ledger's head, kept outside the database.

A chain shows what was changed inside it, but not that its end was cut off. So the
number and mac of the newest entry are written to a file every minute; `verify`
wants that entry to be there, unchanged. Who empties the table would have to change
this file too: keep its folder, or copies of it, where the database's owner cannot.
"""

import hmac
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from django.conf import settings

from sandboxes.audit.models import Entry
from sandboxes.errors import PermanentError


@dataclass(frozen=True)
class Head:
    """The newest entry when it was looked at."""

    id: int
    mac: str


def keep() -> None:
    """Writes the present head down, unless the file knows of a later one, or of one that is not in this ledger.

    Both are for `verify` to tell, and not to be covered up by whatever was recorded since.
    """
    kept = read()
    last = newest()
    if last is not None and (kept is None or (kept.id < last.id and is_known(kept))):
        _write(last)


def newest() -> Head | None:
    """The newest entry; None while there is none."""
    last = Entry.objects.order_by("-id").values_list("id", "mac").first()
    return Head(*last) if last else None


def is_known(head: Head) -> bool:
    """Whether the ledger has exactly this entry. It had, if it was the head once: else the database is another."""
    mac = Entry.objects.filter(pk=head.id).values_list("mac", flat=True).first()
    return mac is not None and hmac.compare_digest(mac, head.mac)


def begin_anew() -> None:
    """Writes the present head down whatever the file says: for a break that a person has looked at."""
    last = newest()
    if last is not None:
        _write(last)


def _write(head: Head) -> None:
    path = Path(settings.LEDGER_ANCHOR)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("w") as file:
        json.dump(asdict(head), file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def read() -> Head | None:
    """The head as last written down; None before the first time. PermanentError if the file cannot be read."""
    try:
        return Head(**json.loads(Path(settings.LEDGER_ANCHOR).read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise PermanentError(
            f"The ledger's anchor {settings.LEDGER_ANCHOR} cannot be read: {error}."
        ) from error
