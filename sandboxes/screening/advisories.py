"""An advisory that a person puts here: the company's own ("we think this is bad"), or an OSV record."""

from collections.abc import Mapping
from typing import Any, Final

from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from sandboxes.audit.services import Actor, record
from sandboxes.errors import ConflictError, InvalidInputError, NotFoundError
from sandboxes.screening import osv, storage
from sandboxes.screening.models import Advisory

LONGEST_REASON: Final = 1000  # characters
SOURCE: Final = "put"  # in place of a feed's name
_SCHEMA: Final = "1.6.0"
_NUMBER_LOCK: Final = 0x70657472696964  # any constant: it names the lock under which the next number is taken


@transaction.atomic
def put(document: Mapping[str, Any], *, by: Actor, reason: str = "") -> Advisory:
    """Declares it, or changes it if it is here already. Raises `PetridishError`; then nothing was changed.

    Without an id it becomes one of our own (PETRI-2026-1), which is malicious if its `database_specific`
    says `"malicious": true`. A record of somebody else's has to be newer than the one that is here.
    Withdrawing is changing it to one with a `withdrawn` time.
    """
    now = timezone.now()
    fields = dict(document)
    ours = not fields.get("id") or str(fields["id"]).startswith(osv.OWN)
    if ours and fields.get("id"):
        _check_exists(str(fields["id"]))
    elif ours:
        fields["id"] = _next_id(now.year)
    moment = now.isoformat().replace("+00:00", "Z")
    fields = {"schema_version": _SCHEMA, "published": moment, "modified": moment} | fields
    if ours:
        fields["modified"] = moment
    try:
        found = osv.read(fields, now)
    except osv.BrokenRecordError as error:
        raise InvalidInputError(f"That is no advisory: {error}.") from error
    _check(found)
    written = _write(found)
    if written.unchanged:
        raise ConflictError(f"{found.id} is here already, in a version that is no older.")
    data = _as_data(found) | ({"reason": reason} if reason else {})
    record(actor=by, action=_action(written), subject=f"advisory:{found.id}", data=data)
    return Advisory.objects.get(pk=found.id)


@transaction.atomic
def withdraw(identity: str, *, by: Actor, reason: str) -> Advisory:
    """One of our own: it says nothing any more, and stays to be read. A feed withdraws its records itself."""
    reason = reason.replace("\0", "").strip()[:LONGEST_REASON]
    if not reason:
        raise InvalidInputError("Say why: whoever was told of it reads this.")
    row = Advisory.objects.select_for_update().filter(pk=identity).first()
    if row is None:
        raise NotFoundError(f"There is no advisory {identity[:60]}.")
    if not identity.startswith(osv.OWN):
        raise ConflictError(f"{identity} is not ours: whoever published it withdraws it.")
    if row.withdrawn_at is not None:
        raise ConflictError(f"{identity} is withdrawn already.")
    said = row.document.get("database_specific")
    specific = (said if isinstance(said, dict) else {}) | {"withdrawn_because": reason}
    changes = {"withdrawn": timezone.now().isoformat(), "database_specific": specific}
    return put(row.document | changes, by=by, reason=reason)


def _write(found: osv.Record) -> storage.Written:
    try:
        with transaction.atomic():
            return storage.write([found], source=SOURCE, now=timezone.now())
    except DatabaseError as error:
        if not storage.is_about_content(error):
            raise
        raise InvalidInputError("That advisory holds what the database cannot keep.") from error


def _check(found: osv.Record) -> None:
    """A person can be asked, so nothing is guessed: which project, in versions that can be read."""
    if not found.affected:
        raise InvalidInputError("It names no version of a PyPI or npm project, so it could affect nothing.")
    unreadable = found.unreadable()
    if unreadable:
        raise InvalidInputError(f"{unreadable[0]!r} is no version.")


def _check_exists(identity: str) -> None:
    if not Advisory.objects.filter(pk=identity).exists():
        raise NotFoundError(f"There is no advisory {identity}; leave the id out to declare a new one.")


def _next_id(year: int) -> str:
    """Numbers without gaps, unless a transaction fails."""
    prefix = f"{osv.OWN}{year}-"
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_NUMBER_LOCK])
        cursor.execute(
            "SELECT coalesce(max(substr(id, %s)::int), 0) + 1 FROM screening_advisory"
            " WHERE starts_with(id, %s)",
            [len(prefix) + 1, prefix],
        )
        (number,) = cursor.fetchone()
    return f"{prefix}{number}"


def _action(written: storage.Written) -> str:
    if written.new:
        return "advisory.declared"
    return "advisory.withdrawn" if written.withdrawn else "advisory.changed"


def _as_data(found: osv.Record) -> dict[str, Any]:
    return {
        "malicious": found.malicious,
        "severity": None if found.severity is None else found.severity.name.lower(),
        "summary": found.summary,
        "affected": sorted({f"{each.ecosystem}:{each.project}" for each in found.affected}),
        "withdrawn_at": found.withdrawn_at,
    }
