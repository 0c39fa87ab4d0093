"""Receipts: what existed, what was deleted when, and that each thing was seen gone; signed.

A receipt and the ledger hold each other: the receipt names the ledger's entry with which
the teardown began (number and mac), and the entry that closes it, written in the same
transaction, holds the receipt's digest and signature. Neither can be replaced alone.
`signing` says how the signature is made and how anybody checks it.
"""

from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.conf import settings

from sandboxes.audit.models import Entry
from sandboxes.audit.queries import about
from sandboxes.lifecycle import clock, notes, signing, stuck
from sandboxes.lifecycle.models import Probe, Receipt, RegisteredCluster, Sandbox
from sandboxes.lifecycle.signing import Signed, Verification
from sandboxes.lifecycle.tokens import all_revoked, digest

VERSION: Final = 1
_CLOSING: Final = ("sandbox.ended", "sandbox.failed")


def issue(sandbox: Sandbox, *, leftovers_checked: bool) -> Receipt:
    """Writes the receipt, in the transaction that ends the sandbox; one that is there already is kept."""
    at = clock.now()
    document = _document(sandbox, leftovers_checked=leftovers_checked)
    document["issued_at"] = notes.text(at)
    signed = signing.sign(document, signing.private_key(settings.LEDGER_KEY))
    written = {"at": at, "document": document, "key_id": signed.key_id, "signature": signed.signature}
    receipt, _ = Receipt.objects.get_or_create(sandbox=sandbox, defaults=written)
    return receipt


def bond(receipt: Receipt) -> dict[str, str]:
    """What the closing entry of the ledger holds of it."""
    return {
        "receipt_sha256": signing.digest(receipt.document),
        "key_id": receipt.key_id,
        "signature": receipt.signature,
    }


def key() -> Ed25519PublicKey:
    """This installation's public key."""
    return signing.private_key(settings.LEDGER_KEY).public_key()


def signed(receipt: Receipt) -> Signed:
    """As it is downloaded."""
    return Signed(receipt.document, receipt.key_id, receipt.signature)


def verify(document: dict[str, Any], key_id: str, signature: str) -> Verification:
    """Whether this installation signed exactly this document."""
    return signing.verify(Signed(document, key_id, signature), key())


def in_ledger(document: dict[str, Any]) -> Entry | None:
    """The closing entry that vouches for this very document; None if the ledger has none."""
    number = document.get("sandbox")
    if not isinstance(number, int):
        return None
    wanted = signing.digest(document)
    for entry in about(f"sandbox:{number}").filter(action__in=_CLOSING):
        # Before receipts were signed, the entry held the whole of it.
        if entry.data.get("receipt_sha256") == wanted or entry.data.get("receipt") == document:
            return entry
    return None


def _document(sandbox: Sandbox, *, leftovers_checked: bool) -> dict[str, Any]:
    """Times are ISO 8601 in UTC; only text, whole numbers, true, false, null, lists and objects (see `signing`)."""
    kept, now, revoked = sandbox.teardown, clock.now(), _revoked(sandbox)
    return {
        "type": signing.TYPE,
        "version": VERSION,
        "installation": settings.INSTALLATION_ID,
        "sandbox": sandbox.pk,
        "name": sandbox.name,
        "owner": sandbox.owner.get_username(),
        "profile": sandbox.profile,
        "cluster": sandbox.cluster,
        "cluster_uid": _cluster_uid(sandbox),
        "simulated": sandbox.simulated,
        "namespace": sandbox.namespace,
        "namespace_uid": sandbox.namespace_uid or None,
        "reason": _clean(sandbox.end_reason),
        "failure": _clean(sandbox.failure) or None,
        "lease": _lease(sandbox),
        "existed": kept.get("existed", []),
        "index_token_revoked_at": (revoked["index_token"] or {}).get("at") or _time(sandbox.revoked_at),
        "access_revoked_at": kept.get("access_revoked_at"),
        "workloads_deleted_at": kept.get("workloads_deleted_at"),
        "workloads_gone_at": _time(sandbox.workloads_gone_at),
        "namespace_deleted_at": kept.get("namespace_deleted_at"),
        "absent_at": kept.get("absent_at"),
        # None: nothing was ever created to look for.
        "leftovers": [] if leftovers_checked else None,
        "listed": kept.get("listed", []),
        "revoked": revoked,
        "stuck": stuck.periods(sandbox, now),
        "probes": _probes(sandbox),
        "ledger": _beginning(sandbox),
    }


def _lease(sandbox: Sandbox) -> dict[str, Any]:
    return {
        "seconds": int(sandbox.lease.total_seconds()),
        "created_at": _time(sandbox.created_at),
        "ready_at": _time(sandbox.ready_at),
        "expires_at": _time(sandbox.expires_at),
    }


def _revoked(sandbox: Sandbox) -> dict[str, Any]:
    """Every index token that ever worked (its digest, never itself) and what had let the owner in."""
    tokens = _tokens(sandbox)
    existed = sandbox.teardown.get("existed", [])
    return {
        "index_token": tokens[-1] if tokens else None,
        "index_tokens": tokens,
        "access": [one for one in existed if one["kind"] in ("RoleBinding", "Secret")],
    }


def _tokens(sandbox: Sandbox) -> list[dict[str, Any]]:
    """Oldest first, each with when it stopped working; None where no entry of the ledger says so.

    Matched from the newest back: releases that did not count revocations gave one token out twice.
    """
    times = reversed(
        _revocations(sandbox) or ([notes.text(sandbox.revoked_at)] if sandbox.revoked_at else [])
    )
    tokens = [{"sha256": digest(token), "at": next(times, None)} for token in reversed(all_revoked(sandbox))]
    return tokens[::-1]


def _revocations(sandbox: Sandbox) -> list[str]:
    """When a token stopped working: one begins to with `ready`, and none outlives an isolation or the end."""
    times: list[str] = []
    works = False
    actions = ("sandbox.ready", "sandbox.isolated", "sandbox.ending")
    for entry in about(f"sandbox:{sandbox.pk}").filter(action__in=actions):
        if works and entry.action != "sandbox.ready":
            by_end = sandbox.revoked_at if entry.action == "sandbox.ending" else None
            times.append(notes.text(by_end or entry.at))
        works = entry.action == "sandbox.ready"
    return times


def _probes(sandbox: Sandbox) -> dict[str, Any]:
    """How often the seal was tested, with the first and the last proof."""
    runs = sandbox.probes.order_by("id")
    return {"taken": runs.count(), "first": _proof(runs.first()), "last": _proof(runs.last())}


def _proof(probe: Probe | None) -> dict[str, Any] | None:
    if probe is None:
        return None
    results = [attempt.get("result") == attempt.get("expected") for attempt in probe.attempts]
    return {
        "at": _time(probe.at),
        "cause": probe.cause,
        "passed": probe.passed,
        "attempts": len(results),
        "as_expected": sum(results),
    }


def _beginning(sandbox: Sandbox) -> dict[str, Any] | None:
    entry = about(f"sandbox:{sandbox.pk}").filter(action="sandbox.ending").first()
    return {"entry": entry.pk, "mac": entry.mac} if entry else None


def _cluster_uid(sandbox: Sandbox) -> str | None:
    found = RegisteredCluster.objects.filter(name=sandbox.cluster).values_list("uid", flat=True).first()
    return found or None


def _time(moment: Any) -> str | None:
    return notes.text(moment) if moment else None


def _clean(said: str) -> str:
    return said.replace("\0", "")
