"""All that is kept about a sandbox that was cut off, in one zip with a signed list of what is in it.

The zip is made while it is sent: nothing is written to disk, and one row after the other is read. Its last
file, `manifest.json`, names the sha256 of each of the others, and the ledger's entry about this very
download; it is signed with the key of the receipts (docs/receipts.md), over its canonical JSON.
"""

import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from hashlib import sha256
from typing import Any, Final

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction
from django.db.models import Model, QuerySet

from portal.accounts.models import User
from portal.accounts.permissions import Permission
from portal.approvals import waiver_queries
from portal.approvals.queries import sandbox_for
from portal.reports import exposure, sbom
from portal.reports.export import csv_lines
from sandboxes.audit.models import Entry
from sandboxes.audit.queries import about
from sandboxes.audit.services import record
from sandboxes.errors import ConflictError, RefusedError
from sandboxes.index import policy_settings
from sandboxes.index.models import ListEntry
from sandboxes.lifecycle import clock, notes, receipts, signing
from sandboxes.lifecycle import queries as lifecycle
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import Phase
from sandboxes.usage.models import Connection, Fetch, Install, Inventory

TYPE: Final = "petridish-evidence"
VERSION: Final = 1
_BATCH: Final = 500  # rows

type _Records = type[Install] | type[Fetch] | type[Connection] | type[Inventory]
type Part = Callable[[Sandbox], Iterator[str]]


def may_take(viewer: User, sandbox: Sandbox) -> bool:
    """Approvers and auditors, once it was cut off; never its owner, against whom it may speak."""
    entitled = viewer.may(Permission.ISOLATE_SANDBOX) or viewer.may(Permission.READ_LEDGER)
    return entitled and sandbox.owner_id != viewer.pk and was_isolated(sandbox)


def was_isolated(sandbox: Sandbox) -> bool:
    return (
        sandbox.phase == Phase.ISOLATED
        or about(f"sandbox:{sandbox.pk}").filter(action="sandbox.isolated").exists()
    )


def take(sandbox_id: int, *, by: User) -> tuple[str, Iterator[bytes]]:
    """The file's name, and the file. In the ledger before its first byte."""
    sandbox = sandbox_for(by, sandbox_id)
    if not (by.may(Permission.ISOLATE_SANDBOX) or by.may(Permission.READ_LEDGER)):
        raise RefusedError("Evidence is for approvers and auditors.")
    if sandbox.owner_id == by.pk:
        raise RefusedError("Nobody takes the evidence about their own sandbox; another person has to.")
    if not was_isolated(sandbox):
        raise ConflictError("This sandbox was never isolated, so no evidence was secured.")
    with transaction.atomic():
        entry = record(actor=by, action="sandbox.evidence_taken", subject=f"sandbox:{sandbox.pk}")
    return f"evidence-sandbox-{sandbox.pk}.zip", _zipped(sandbox, entry)


def _zipped(sandbox: Sandbox, entry: Entry) -> Iterator[bytes]:
    pipe = _Pipe()
    digests: list[dict[str, Any]] = []
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in _PARTS.items():
            digest, size = sha256(), 0
            with archive.open(name, "w", force_zip64=True) as file:
                for text in part(sandbox):
                    data = text.encode(errors="backslashreplace")
                    digest.update(data)
                    size += len(data)
                    file.write(data)
                    yield from pipe.taken()
            digests.append({"name": name, "sha256": digest.hexdigest(), "bytes": size})
        archive.writestr("manifest.json", json.dumps(_manifest(sandbox, entry, digests), indent=1))
    yield from pipe.taken()


def _manifest(sandbox: Sandbox, entry: Entry, digests: list[dict[str, Any]]) -> dict[str, Any]:
    document = {
        "type": TYPE,
        "version": VERSION,
        "installation": settings.INSTALLATION_ID,
        "sandbox": sandbox.pk,
        "made_at": notes.text(clock.now()),
        "by": entry.actor,
        "ledger": {"entry": entry.pk, "mac": entry.mac},
        "files": digests,
    }
    signed = signing.sign(document, signing.private_key(settings.LEDGER_KEY))
    signature = signed.envelope()["signature"]
    return {"manifest": document, "signature": signature}


class _Pipe(io.RawIOBase):
    """A file that cannot be gone back in: what was written is taken away at once."""

    def __init__(self) -> None:
        self._held: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._held.append(bytes(data))
        return len(data)

    def taken(self) -> Iterator[bytes]:
        held, self._held = self._held, []
        if held:
            yield b"".join(held)


def _json(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """One array, an object a line."""
    separator = "[\n"
    for row in rows:
        yield separator + json.dumps(row, cls=DjangoJSONEncoder, ensure_ascii=False)
        separator = ",\n"
    yield "[]\n" if separator == "[\n" else "\n]\n"


def _whole(found: object) -> Iterator[str]:
    yield json.dumps(found, cls=DjangoJSONEncoder, ensure_ascii=False, indent=1) + "\n"


def _rows(rows: QuerySet[Any]) -> Iterator[dict[str, Any]]:
    return (dict(row) for row in rows.order_by("id").values().iterator(chunk_size=_BATCH))


def _columns(model: type[Model]) -> list[str]:
    return [field.attname for field in model._meta.concrete_fields]  # noqa: SLF001 -- documented by Django


def _of(model: _Records) -> Part:
    return lambda sandbox: _json(_rows(model.objects.filter(sandbox=sandbox)))


def _table(model: _Records) -> Part:
    columns = _columns(model)

    def lines(sandbox: Sandbox) -> Iterator[str]:
        rows = model.objects.filter(sandbox=sandbox).order_by("id")
        return csv_lines(columns, rows.values_list(*columns).iterator(chunk_size=_BATCH))

    return lines


def _sandbox(sandbox: Sandbox) -> Iterator[str]:
    hidden = {"index_token_digest", "leased_by", "leased_until"}
    names = [name for name in _columns(Sandbox) if name not in hidden]
    return _whole({name: getattr(sandbox, name) for name in names} | {"owner": sandbox.owner.username})


def _exposures(sandbox: Sandbox) -> Iterator[str]:
    return _json(asdict(line) for line in exposure.lines(exposure.exposures(sandbox=sandbox.pk)))


def _policy(sandbox: Sandbox) -> Iterator[str]:
    """As it is now, and each change of it since the sandbox was asked for: so as it was at any moment."""
    profiles = ("", sandbox.profile)
    since = Entry.objects.filter(at__gte=sandbox.created_at, action__startswith="policy.").order_by("id")
    found = {
        "settings": {name or "everybody": asdict(policy_settings.settings_of(name)) for name in profiles},
        "lists": list(ListEntry.objects.filter(profile__in=profiles).order_by("id").values()),
        "waivers": list(waiver_queries.of_sandbox(sandbox).values()),
        "changes": [_told(entry) for entry in since],
    }
    return _whole(found)


def _ledger(sandbox: Sandbox) -> Iterator[str]:
    entries = about(f"sandbox:{sandbox.pk}").order_by("id").iterator(chunk_size=_BATCH)
    return _json(_told(entry) for entry in entries)


def _told(entry: Entry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in _columns(Entry)}


def _receipt(sandbox: Sandbox) -> Iterator[str]:
    found = lifecycle.receipt(sandbox)
    return _whole(receipts.signed(found).envelope() if found else None)


_PARTS: Final[dict[str, Part]] = {
    "sandbox.json": _sandbox,
    "installs.json": _of(Install),
    "installs.csv": _table(Install),
    "fetches.json": _of(Fetch),
    "fetches.csv": _table(Fetch),
    "connections.json": _of(Connection),
    "inventories.json": _of(Inventory),
    "exposures.json": _exposures,
    "sbom.cdx.json": lambda sandbox: iter([sbom.of_sandbox(sandbox)]),
    "policy.json": _policy,
    "steps.json": lambda sandbox: _json(_rows(sandbox.steps.all())),
    "seal.json": lambda sandbox: _json(_rows(sandbox.probes.all())),
    "ledger.json": _ledger,
    "receipt.json": _receipt,
}
