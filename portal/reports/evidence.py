"""All that is kept about a sandbox that was cut off, in one zip with a signed list of what is in it.

The zip is made while it is sent: nothing is written to disk, and one row after the other is read. Its last
file, `manifest.json`, names the sha256 of each of the others, and the ledger's entry about this very
download; it is signed with the key of the receipts (docs/receipts.md), over its canonical JSON.
"""

import io
import json
import re
import zipfile
import zlib
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
from portal.approvals.queries import sandbox_for
from portal.reports import exposure, keeping, sbom
from portal.reports.export import csv_lines
from sandboxes.audit.models import Entry
from sandboxes.audit.queries import about
from sandboxes.audit.services import record
from sandboxes.errors import ConflictError, RefusedError
from sandboxes.lifecycle import clock, notes, receipts, signing
from sandboxes.lifecycle import queries as lifecycle
from sandboxes.lifecycle.models import ContainerLog, Isolation, Sandbox
from sandboxes.lifecycle.phases import Phase
from sandboxes.usage.models import Connection, Fetch, Install, Inventory

TYPE: Final = "petridish-evidence"
VERSION: Final = 2
_BATCH: Final = 500  # rows
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9.-]")

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
    for row in sandbox.isolations.filter(package_policy_at=None):
        keeping.keep(row.pk)
    with transaction.atomic():
        entry = record(actor=by, action="sandbox.evidence_taken", subject=f"sandbox:{sandbox.pk}")
    return f"evidence-sandbox-{sandbox.pk}.zip", _zipped(sandbox, entry)


def _zipped(sandbox: Sandbox, entry: Entry) -> Iterator[bytes]:
    pipe = _Pipe()
    digests: list[dict[str, Any]] = []
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, pieces in _files(sandbox):
            digest, size = sha256(), 0
            with archive.open(name, "w", force_zip64=True) as file:
                for piece in pieces:
                    data = piece if isinstance(piece, bytes) else piece.encode(errors="backslashreplace")
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
    """As it was at each isolation, and each change of it since the sandbox was asked for."""
    since = Entry.objects.filter(at__gte=sandbox.created_at, action__startswith="policy.").order_by("id")
    kept = [
        {"isolated_at": row.began_at, "kept_at": row.package_policy_at, **(row.package_policy or {})}
        for row in _isolations(sandbox)
    ]
    # One that was isolated by a release that kept none of it: better as it is now than nothing.
    now = [{"isolated_at": sandbox.isolated_at, "kept_at": clock.now(), **keeping.as_it_is(sandbox)}]
    return _whole({"isolations": kept or now, "changes": [_told(entry) for entry in since]})


def _network_policies(sandbox: Sandbox) -> Iterator[str]:
    """Of the namespace, right before an isolation took them away."""
    return _json(
        {
            "isolated_at": row.began_at,
            "read_at": row.policies_at,
            "error": row.policies_error or ("" if row.policies_at else "They were not read yet."),
            "policies": row.kept_policies(),
        }
        for row in _isolations(sandbox)
    )


def _logs(sandbox: Sandbox) -> Iterator[str]:
    """Which there are, which are missing, and why."""
    return _json(
        {
            "isolated_at": row.began_at,
            "complete": row.logs_due_at is None and not row.logs_error,
            "error": row.logs_error or ("" if row.logs_due_at is None else "They are still being read."),
            "logs": [_told_of(log) for log in row.logs.defer("data").order_by("id")],
        }
        for row in _isolations(sandbox)
    )


def _told_of(log: ContainerLog) -> dict[str, Any]:
    hidden = {"id", "isolation_id", "data", "size"}
    told = {name: getattr(log, name) for name in _columns(ContainerLog) if name not in hidden}
    return {"file": _log_file(log) if log.size else None, "bytes": log.size, **told}


def _log_file(log: ContainerLog) -> str:
    """The names are the cluster's, and nothing else may become of a path."""
    name = _UNSAFE.sub("_", f"{log.pod[:100]}-{log.container}")
    return f"logs/{log.pk}-{name}.log"


def _isolations(sandbox: Sandbox) -> QuerySet[Isolation]:
    return sandbox.isolations.order_by("id")


def _ledger(sandbox: Sandbox) -> Iterator[str]:
    entries = about(f"sandbox:{sandbox.pk}").order_by("id").iterator(chunk_size=_BATCH)
    return _json(_told(entry) for entry in entries)


def _told(entry: Entry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in _columns(Entry)}


def _receipt(sandbox: Sandbox) -> Iterator[str]:
    found = lifecycle.receipt(sandbox)
    return _whole(receipts.signed(found).envelope() if found else None)


def _files(sandbox: Sandbox) -> Iterator[tuple[str, Iterable[str] | Iterable[bytes]]]:
    """Every file but the manifest, which names them all."""
    yield from ((name, part(sandbox)) for name, part in _PARTS.items())
    rows = ContainerLog.objects.filter(isolation__sandbox=sandbox, size__gt=0).order_by("id")
    for pk in list(rows.values_list("pk", flat=True)):
        log = ContainerLog.objects.get(pk=pk)
        yield _log_file(log), [zlib.decompress(bytes(log.data))]


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
    "network-policies.json": _network_policies,
    "logs.json": _logs,
    "steps.json": lambda sandbox: _json(_rows(sandbox.steps.all())),
    "seal.json": lambda sandbox: _json(_rows(sandbox.probes.all())),
    "ledger.json": _ledger,
    "receipt.json": _receipt,
}
