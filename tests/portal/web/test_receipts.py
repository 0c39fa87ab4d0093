"""The certificate on a sandbox's page, its download, and the check that is open to everybody."""

import html
import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from portal.accounts.models import User
from portal.accounts.tokens import issue
from portal.env import ROOT
from sandboxes.lifecycle import receipts, signing
from sandboxes.lifecycle.models import Receipt, Sandbox
from sandboxes.lifecycle.moves import start_ending
from sandboxes.lifecycle.signing import Signed
from sandboxes.lifecycle.teardown import take
from tests.portal.web import world

type ClientOf = Callable[[User], Client]
pytestmark = pytest.mark.django_db


def _torn_down(owner: User) -> Receipt:
    """Of a sandbox that had been ready: as the teardown leaves it, with what it noted."""
    sandbox = world.ready(owner)
    objects = [
        {"kind": kind, "name": name, "uid": f"uid-of-{name}", "deleted_at": _AT, "absent_at": _AT}
        for kind, name in (("Namespace", sandbox.namespace), ("Pod", "workspace-1"), ("Pod", "workspace-2"))
    ]
    notes = {"existed": objects, "absent_at": _AT, "access_revoked_at": _AT, "listed": ["Namespace", "Pod"]}
    period = {"since": _AT, "until": _AT, "seconds": 0, "blocker": "Pod workspace-1 is held by finalizer x/y"}
    Sandbox.objects.filter(pk=sandbox.pk).update(teardown={**notes, "stuck": [period]})
    sandbox.refresh_from_db()
    start_ending(sandbox, reason="ended by alice")
    Sandbox.objects.filter(pk=sandbox.pk).update(namespace_uid="uid-of-the-namespace")
    sandbox.refresh_from_db()
    receipt = receipts.issue(sandbox, leftovers_checked=True)
    _close(sandbox, receipt)
    return receipt


_AT = "2026-03-04T05:06:07.000008+00:00"


def _close(sandbox: Sandbox, receipt: Receipt) -> None:
    """The closing entry, as the teardown writes it: it finds the receipt there and keeps it."""
    Sandbox.objects.filter(pk=sandbox.pk).update(namespace=None)
    sandbox.refresh_from_db()
    take(sandbox)
    Sandbox.objects.filter(pk=sandbox.pk).update(namespace=receipt.document["namespace"])


@pytest.fixture
def receipt(alice: User) -> Receipt:
    return _torn_down(alice)


def _check(envelope: Any, **extra: Any) -> Any:
    text = envelope if isinstance(envelope, str) else json.dumps(envelope)
    return Client(enforce_csrf_checks=True).post("/receipts/verify", {"text": text}, **extra)


# ---- the certificate


def test_the_page_shows_a_certificate(client_of: ClientOf, alice: User, receipt: Receipt) -> None:
    page = client_of(alice).get(f"/sandboxes/{receipt.sandbox_id}").content.decode()
    for said in (
        "Absence observed",
        "Looked for among 2 kinds, none found",
        "What it had held: 3 objects",
        "Pod ×2",
        "uid-of-workspace-1",
        "Stuck from",
        "held by finalizer x/y",
        receipt.key_id,
        f"/sandboxes/{receipt.sandbox_id}/receipt.json",
        "/receipts/verify",
    ):
        assert said in page, said


def test_one_from_before_signing_still_reads_well(client_of: ClientOf, alice: User) -> None:
    sandbox = world.over(world.ready(alice))
    page = client_of(alice).get(f"/sandboxes/{sandbox.pk}").content.decode()
    assert "Unsigned: from before receipts were signed." in page
    assert "StatefulSet/workspace" in page


def test_the_page_says_what_a_stuck_teardown_waits_for(client_of: ClientOf, alice: User) -> None:
    sandbox = world.ready(alice)
    start_ending(sandbox, reason="expired")
    browser = client_of(alice)
    before = browser.get(f"/sandboxes/{sandbox.pk}").content.decode()
    Sandbox.objects.filter(pk=sandbox.pk).update(blocker="ConfigMap/<x> is held by finalizer a/b")
    after = browser.get(f"/sandboxes/{sandbox.pk}").content.decode()
    assert "ConfigMap/&lt;x&gt; is held by finalizer a/b" in after
    version = before.split("?v=")[1][:16]
    assert version not in after  # the live part is drawn anew


# ---- the download


def test_what_is_downloaded_verifies(
    client_of: ClientOf, alice: User, bob: User, omar: User, receipt: Receipt
) -> None:
    address = f"/sandboxes/{receipt.sandbox_id}/receipt.json"
    answer = client_of(alice).get(address)
    assert "attachment" in answer["Content-Disposition"]
    assert "no-store" in answer["Cache-Control"]
    assert signing.verify(signing.read(answer.content), receipts.key()).ok
    assert client_of(omar).get(address).status_code == 200
    assert client_of(bob).get(address).status_code == 404
    assert Client().get(address).status_code == 302


def test_the_api_gives_the_same(alice: User, bob: User, receipt: Receipt) -> None:
    def ask(person: User) -> Any:
        _, token = issue(user=person, name="t", expires_in=timedelta(hours=1), by=None)
        browser = Client(headers={"Authorization": f"Bearer {token}"})
        return browser.get(f"/api/v1/sandboxes/{receipt.sandbox_id}/receipt")

    envelope = json.loads(ask(alice).content)
    assert envelope == receipts.signed(receipt).envelope()
    assert signing.verify(signing.read(ask(alice).content), receipts.key()).ok
    assert ask(bob).status_code == 404


def test_the_public_key_is_public() -> None:
    answer = Client().get("/receipts/key")
    assert signing.key_id(signing.public_key(answer.content.decode())) == signing.key_id(receipts.key())


# ---- the check


def test_anybody_may_check_a_pasted_receipt(receipt: Receipt) -> None:
    page = _check(receipts.signed(receipt).envelope()).content.decode()
    assert "<h2>Valid</h2>" in page
    assert "The ledger of this installation has it." in page
    assert "uid-of-workspace-1" in page


def test_or_a_file(receipt: Receipt) -> None:
    content = json.dumps(receipts.signed(receipt).envelope(), indent=4).encode()
    file = SimpleUploadedFile("receipt.json", content)
    page = Client(enforce_csrf_checks=True).post("/receipts/verify", {"file": file}).content.decode()
    assert "<h2>Valid</h2>" in page


def test_a_changed_one_gets_no_certificate(receipt: Receipt) -> None:
    envelope = receipts.signed(receipt).envelope()
    envelope["receipt"]["owner"] = "<b>bob</b>"
    page = _check(envelope).content.decode()
    assert "<h2>Not valid</h2>" in page
    assert "does not match" in page
    assert "bob" not in page
    assert "ledger" not in page.partition("<h2>Not valid</h2>")[2].partition("</div>")[0]


def test_one_of_another_key_and_one_from_before_signing(receipt: Receipt) -> None:
    stranger = signing.sign(receipt.document, Ed25519PrivateKey.generate())
    assert "<h2>Another key</h2>" in _check(stranger.envelope()).content.decode()
    unsigned = _check(Signed(receipt.document, "", "").envelope()).content.decode()
    assert "<h2>Unsigned</h2>" in unsigned
    assert "uid-of-workspace-1" not in unsigned


def test_one_that_we_signed_and_the_ledger_lacks(receipt: Receipt, settings: Any) -> None:
    document = {**receipt.document, "sandbox": 10**9}
    signed = signing.sign(document, signing.private_key(settings.LEDGER_KEY))
    page = _check(signed.envelope()).content.decode()
    assert "Signed, but not in the ledger" in page


def test_it_tells_nothing_of_the_database(receipt: Receipt) -> None:
    """A guess at somebody's sandbox gets the same answer as one at nobody's."""
    answers = set()
    for number in (receipt.sandbox_id, 10**9):
        guess = {"receipt": {"type": signing.TYPE, "sandbox": number}, "signature": None}
        answers.add(_check(guess).content.decode().partition("<main")[2])
    assert len(answers) == 1


@pytest.mark.parametrize("given", ["", "nonsense", "[]", "[" * 50_000, '{"receipt": {"a": 1.5}}', "\0"])
def test_what_is_no_receipt(given: str) -> None:
    answer = _check(given)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.content.decode()


def test_what_is_too_large_is_not_read() -> None:
    answer = _check("x" * (4 * signing.LARGEST))
    assert answer.status_code == 413
    assert "too large" in answer.content.decode()
    file = SimpleUploadedFile("receipt.json", b" " * (signing.LARGEST + 1))
    assert Client().post("/receipts/verify", {"file": file}).status_code == 422


def test_noughts_before_a_length_do_not_hide_it() -> None:
    assert _check("{}", CONTENT_LENGTH="0000000000005000000000").status_code == 413


def test_it_may_not_be_hammered(receipt: Receipt, settings: Any) -> None:
    settings.ACCOUNT_RATE_LIMITS = {**settings.ACCOUNT_RATE_LIMITS, "verify_receipt": "2/m/ip"}
    envelope = receipts.signed(receipt).envelope()
    seen = [_check(envelope, REMOTE_ADDR="192.0.2.77").status_code for _ in range(3)]
    assert seen == [200, 200, 429]


def test_the_lines_that_check_by_hand_are_those_of_the_docs(client: Client, db: None) -> None:
    """Those of docs/receipts.md are run by another test."""
    page = client.get("/receipts/verify").content.decode()
    shown = re.search(r'<code id="script">(.*?)</code>', page, re.DOTALL)
    written = re.search(r"```sh\n(.*?)```", (ROOT / "docs" / "receipts.md").read_text(), re.DOTALL)
    assert shown
    assert written
    assert html.unescape(shown[1]) == written[1]
    assert 'href="#by-hand"' in page
