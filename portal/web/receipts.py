"""Receipts for people: the certificate on a sandbox's page, its download, and a check that is open to everybody.

The check needs no sign-in: a receipt is for outsiders too. It says valid or not, and
whether our ledger has it; all else it shows is what was given to it.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from allauth.core import ratelimit
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.cache import add_never_cache_headers
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_safe

from portal.accounts.access import person, require
from portal.accounts.permissions import Permission
from portal.approvals import queries
from portal.web.respond import page, translated
from sandboxes.errors import InvalidInputError
from sandboxes.lifecycle import queries as lifecycle
from sandboxes.lifecycle import receipts, signing
from sandboxes.lifecycle.models import Receipt
from sandboxes.lifecycle.signing import Finding, Signed

_OVERHEAD: Final = 4 * 1024  # of a form around the receipt
_STEPS: Final = {
    "index_token_revoked_at": "Index token stopped working",
    "access_revoked_at": "Access revoked",
    "workloads_deleted_at": "Deletion of everything that runs asked for",
    "workloads_gone_at": "No pod was left",
    "namespace_deleted_at": "Namespace deleted, by its uid",
    "absent_at": "Absence observed",
}
_LOOKS: Final = {
    Finding.VALID: ("good", "Valid"),
    Finding.UNSIGNED: ("wait", "Unsigned"),
    Finding.WRONG_KEY: ("bad", "Another key"),
    Finding.CHANGED: ("bad", "Not valid"),
    Finding.NOT_A_RECEIPT: ("bad", "Not a receipt"),
}


@dataclass(frozen=True)
class Certificate:
    """A receipt as people read it. `objects` are rows of kind, name, uid and when each was seen gone."""

    document: Mapping[str, Any]
    steps: list[tuple[str, str]]
    kinds: list[tuple[str, int]]
    objects: list[dict[str, Any]]
    stuck: list[dict[str, Any]]
    key_id: str


@dataclass(frozen=True)
class Outcome:
    """What the check says. `certificate` only of what is valid: a forgery gets no fine page here."""

    look: str
    title: str
    message: str
    known: bool = False
    certificate: Certificate | None = None


def certificate(document: Mapping[str, Any], key_id: str) -> Certificate:
    """Older receipts name what existed as "Kind/name" and know nothing of uids."""
    objects = [_object(one) for one in document.get("existed", [])]
    return Certificate(
        document=document,
        steps=[(label, document[name]) for name, label in _STEPS.items() if _is_time(document.get(name))],
        kinds=sorted(Counter(one["kind"] for one in objects).items()),
        objects=objects,
        stuck=list(document.get("stuck", [])),
        key_id=key_id,
    )


def of(receipt: Receipt | None) -> Certificate | None:
    return certificate(receipt.document, receipt.key_id) if receipt else None


@require(Permission.REQUEST_SANDBOX)
@require_safe
@translated
def download(request: HttpRequest, sandbox_id: int) -> HttpResponse:
    """The signed document, for whoever may see the sandbox."""
    sandbox = queries.sandbox_for(person(request), sandbox_id)
    receipt = lifecycle.receipt(sandbox)
    if receipt is None:
        raise Http404("There is no receipt yet.")
    envelope = receipts.signed(receipt).envelope()
    text = json.dumps(envelope, indent=2, ensure_ascii=False, sort_keys=True)
    response = HttpResponse(f"{text}\n", content_type="application/json; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="receipt-{sandbox.name or sandbox.pk}.json"'
    add_never_cache_headers(response)
    return response


@require_safe
def public_key(request: HttpRequest) -> HttpResponse:
    """PEM, as every tool reads it."""
    return HttpResponse(signing.pem(receipts.key()), content_type="text/plain; charset=utf-8")


# Nothing is changed and nobody is known here, so there is nothing to forge; and Django's check would
# parse the whole of a form before its size was looked at.
@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def verify(request: HttpRequest) -> HttpResponse:
    context = {"key_id": signing.key_id(receipts.key()), "largest": signing.LARGEST // 1024}
    if request.method != "POST":
        return page(request, "receipts", context)
    if not ratelimit.consume(request, action="verify_receipt"):
        refused: HttpResponse = ratelimit.respond_429(request)
        return refused
    if _too_large(request):
        return page(request, "receipts", {**context, "error": "That is too large for a receipt."}, status=413)
    try:
        given = _given(request)
        signed = signing.read(given)
    except InvalidInputError as error:
        return page(request, "receipts", {**context, "error": str(error)}, status=422)
    return page(request, "receipts", {**context, "outcome": outcome(signed)})


def outcome(signed: Signed) -> Outcome:
    """Whether the ledger has it is told of valid receipts only: whoever has one of those knows what is in it."""
    result = receipts.verify(signed.document, signed.key_id, signed.signature)
    look, title = _LOOKS[result.finding]
    if not result.ok:
        return Outcome(look, title, result.message)
    known = receipts.in_ledger(signed.document) is not None
    if not known:
        look, title = "wait", "Signed, but not in the ledger"
    return Outcome(look, title, result.message, known, certificate(signed.document, signed.key_id))


def _too_large(request: HttpRequest) -> bool:
    """A length that is not said counts as too large. Nothing is parsed; read it is already (portal.asgi bounds it)."""
    length = request.META.get("CONTENT_LENGTH") or ""
    # A pasted receipt may grow threefold on its way, as forms write a sign.
    largest = 3 * signing.LARGEST + _OVERHEAD
    return not (length.isascii() and length.isdecimal()) or int(length.lstrip("0")[:12] or "0") > largest


def _given(request: HttpRequest) -> bytes:
    """The chosen file, else the pasted text."""
    file = request.FILES.get("file")
    given = file.read(signing.LARGEST + 1) if file else request.POST.get("text", "").strip().encode()
    if not given:
        raise InvalidInputError("Choose a file, or paste a receipt.")
    if len(given) > signing.LARGEST:
        raise InvalidInputError("That is too large for a receipt.")
    return given


def _object(one: Any) -> dict[str, Any]:
    if isinstance(one, dict):
        return {name: one.get(name) for name in ("kind", "name", "uid", "deleted_at", "absent_at")}
    kind, _, name = str(one).partition("/")
    return {"kind": kind, "name": name}


def _is_time(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(datetime.fromisoformat(value))
    except ValueError:
        return False
