"""Receipts: signed over every byte, bound to the ledger, checked by anybody with the public key."""

import base64
import copy
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as some

from portal.accounts.models import User
from sandboxes.audit.models import Entry
from sandboxes.audit.services import record, verify
from sandboxes.errors import InvalidInputError
from sandboxes.lifecycle import receipts, signing
from sandboxes.lifecycle.models import Probe, Receipt, Sandbox
from sandboxes.lifecycle.moves import start_ending
from sandboxes.lifecycle.phases import Phase
from sandboxes.lifecycle.signing import Finding, Signed
from sandboxes.lifecycle.teardown import take
from tests.portal.web import world

ROOT = Path(__file__).resolve().parents[3]
KEY = signing.private_key(b"a ledger key of tests")
PUBLIC = KEY.public_key()

text = some.text(some.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
names = some.text(some.characters(max_codepoint=127, exclude_characters="\0"), max_size=8)
leaves = some.none() | some.booleans() | some.integers(-(2**53) + 1, 2**53 - 1) | text
values = some.recursive(
    leaves, lambda inner: some.lists(inner, max_size=4) | some.dictionaries(names, inner, max_size=4)
)
documents = some.dictionaries(names, values, max_size=5).map(lambda found: {**found, "type": signing.TYPE})


# ---- the canonical form, and the signature over it


@given(documents)
def test_the_canonical_form_round_trips(document: dict[str, Any]) -> None:
    once = signing.canonical(document)
    assert json.loads(once) == document
    assert signing.canonical(json.loads(once)) == once
    indented = json.dumps(document, indent=3, ensure_ascii=True)
    assert signing.canonical(json.loads(indented)) == once


@given(documents)
def test_the_order_of_names_does_not_matter(document: dict[str, Any]) -> None:
    backwards = dict(reversed(document.items()))
    assert signing.canonical(backwards) == signing.canonical(document)


@given(documents)
def test_what_was_signed_is_valid_after_any_journey_as_a_file(document: dict[str, Any]) -> None:
    envelope = signing.sign(document, KEY).envelope()
    assert signing.verify(signing.read(json.dumps(envelope, indent=2)), PUBLIC).ok


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to everything in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, part in inner for place in _places(part, (*path, key)))]


@given(documents, some.data())
def test_any_change_of_any_field_breaks_it(document: dict[str, Any], data: some.DataObject) -> None:
    signed = signing.sign(document, KEY)
    changed = copy.deepcopy(document)
    *way, last = data.draw(some.sampled_from(_places(document)[1:]))
    holder: Any = changed
    for key in way:
        holder = holder[key]
    if data.draw(some.booleans()):
        del holder[last]
    else:
        holder[last] = data.draw(values)
    same = signing.canonical(changed) == signing.canonical(document)
    assert signing.verify(Signed(changed, signed.key_id, signed.signature), PUBLIC).ok == same


@given(documents, some.data())
def test_any_change_of_any_byte_breaks_it(document: dict[str, Any], data: some.DataObject) -> None:
    """Of the file as it is written without spaces: there each byte means something."""
    envelope = signing.sign(document, KEY).envelope()
    whole = signing.canonical(envelope)
    at = data.draw(some.integers(0, len(whole) - 1))
    byte = data.draw(some.integers(0, 255).filter(lambda other: other != whole[at]))
    changed = whole[:at] + bytes([byte]) + whole[at + 1 :]
    try:
        found = signing.read(changed)
    except InvalidInputError:
        return
    if found.envelope() != envelope:  # else only spelt otherwise: "\u001F" for "\u001f"
        assert not signing.verify(found, PUBLIC).ok


def test_one_signature_has_one_spelling() -> None:
    """Of base64's last sign some bits are not used; whoever changes them changes the file."""
    signed = signing.sign({"type": signing.TYPE}, KEY)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = alphabet.index(signed.signature[-3])
    other = f"{signed.signature[:-3]}{alphabet[last ^ 1]}=="
    assert base64.b64decode(other) == base64.b64decode(signed.signature)
    assert not signing.verify(Signed(signed.document, signed.key_id, other), PUBLIC).ok


@pytest.mark.parametrize(
    "document",
    [{"a": 1.5}, {"a": 2**53}, {"ä": 1}, {"a": "\0"}, {"a": "\ud800"}, {"a": b"x"}, {"a": float("nan")}],
    ids=str,
)
def test_what_has_no_single_spelling_is_not_signed(document: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        signing.sign(document, KEY)


@pytest.mark.parametrize(
    "file",
    [
        "",
        "[]",
        "nonsense",
        '{"receipt": {}}',
        '{"receipt": [], "signature": null}',
        '{"receipt": {"a": 1.0}, "signature": null}',
        '{"receipt": {"a": NaN}, "signature": null}',
        '{"receipt": {"a": 1, "a": 2}, "signature": null}',
        '{"receipt": {}, "signature": null, "more": 1}',
        '{"receipt": {}, "signature": {"algorithm": "none", "key_id": "x", "value": "x"}}',
        '{"receipt": {}, "signature": {"algorithm": "Ed25519", "key_id": "x", "value": ""}}',
        '{"receipt": {"type": "other"}, "signature": {"algorithm": "Ed25519", "key_id": "x", "value": "x"}}',
        "[" * 100_000,
        b"\xff\xfe\x00",
    ],
    ids=lambda file: repr(file[:60]),
)
def test_what_is_no_receipt_is_said_to_be_none(file: str | bytes) -> None:
    with pytest.raises(InvalidInputError, match="not a receipt"):
        signing.read(file)


def test_what_is_wrong_is_named() -> None:
    signed = signing.sign({"type": signing.TYPE, "sandbox": 7}, KEY)
    stranger = Ed25519PrivateKey.generate()
    assert signing.verify(signed, PUBLIC).finding == Finding.VALID
    assert signing.verify(signed, stranger.public_key()).finding == Finding.WRONG_KEY
    assert (
        signing.verify(Signed({**signed.document, "sandbox": 8}, *_rest(signed)), PUBLIC).finding
        == Finding.CHANGED
    )
    assert signing.verify(Signed(signed.document, signed.key_id, "####"), PUBLIC).finding == Finding.CHANGED
    unsigned = signing.verify(Signed(signed.document, "", ""), PUBLIC)
    assert (unsigned.finding, unsigned.ok) == (Finding.UNSIGNED, False)
    assert "from before signing" in unsigned.message
    # Taking only one of the two away does not make it "from before signing".
    assert signing.verify(Signed(signed.document, signed.key_id, ""), PUBLIC).finding == Finding.CHANGED
    assert signing.verify(Signed(signed.document, "", signed.signature), PUBLIC).finding == Finding.WRONG_KEY


def _rest(signed: Signed) -> tuple[str, str]:
    return signed.key_id, signed.signature


def test_the_key_is_the_ledgers_alone() -> None:
    """The same secret always gives the same key, so nothing more has to be kept; another gives another."""
    assert signing.key_id(signing.private_key(b"one").public_key()) == signing.key_id(
        signing.private_key(b"one").public_key()
    )
    assert signing.key_id(signing.private_key(b"one").public_key()) != signing.key_id(
        signing.private_key(b"two").public_key()
    )
    assert signing.public_key(signing.pem(PUBLIC)).public_bytes_raw() == PUBLIC.public_bytes_raw()
    with pytest.raises(InvalidInputError):
        signing.public_key("no key")


# ---- what is written when a sandbox is over


@pytest.fixture
def over(alice: User) -> Receipt:
    """The receipt of a sandbox of alice's that ended before anything was made."""
    return _ended(world.ready(alice))


def _ended(sandbox: Sandbox) -> Receipt:
    Sandbox.objects.filter(pk=sandbox.pk).update(namespace=None, charged=True)
    sandbox.refresh_from_db()
    start_ending(sandbox, reason="ended by alice")
    assert take(sandbox) is None
    assert sandbox.phase == Phase.ENDED
    return Receipt.objects.get(sandbox=sandbox)


@pytest.mark.django_db
class TestIssued:
    def test_it_is_signed_and_bound_to_the_ledger_both_ways(self, over: Receipt) -> None:
        assert receipts.verify(over.document, over.key_id, over.signature).ok
        closing = Entry.objects.get(subject=f"sandbox:{over.sandbox_id}", action="sandbox.ended")
        assert closing.data["receipt_sha256"] == signing.digest(over.document)
        assert closing.data["signature"] == over.signature
        beginning = Entry.objects.get(subject=f"sandbox:{over.sandbox_id}", action="sandbox.ending")
        assert over.document["ledger"] == {"entry": beginning.pk, "mac": beginning.mac}
        assert receipts.in_ledger(over.document) == closing
        assert receipts.in_ledger({**over.document, "owner": "bob"}) is None
        assert verify().ok

    def test_the_database_gives_back_what_was_signed(self, alice: User) -> None:
        """Names of every script go through PostgreSQL's JSON and stay the same bytes."""
        sandbox = world.ready(alice)
        Sandbox.objects.filter(pk=sandbox.pk).update(namespace=None)
        sandbox.refresh_from_db()
        start_ending(sandbox, reason='zu spät — 終わり 🧫 \u2028 "\\ \t')
        take(sandbox)
        receipt = Receipt.objects.get(sandbox=sandbox)
        assert receipts.verify(receipt.document, receipt.key_id, receipt.signature).ok

    def test_it_tells_of_token_lease_and_proofs_and_not_the_token(self, alice: User) -> None:
        sandbox = world.ready(alice)
        token = sandbox.index_token_digest
        Probe.objects.create(sandbox=sandbox, passed=False, simulated=True, attempts=[], cause="scheduled")
        document = _ended(sandbox).document
        assert document["revoked"]["index_token"]["sha256"] == token
        assert document["index_token_revoked_at"] == document["revoked"]["index_token"]["at"]
        assert document["probes"]["taken"] == 2
        assert document["probes"]["first"]["passed"] is True
        assert document["probes"]["last"]["passed"] is False
        assert document["lease"]["seconds"] == int(sandbox.lease.total_seconds())
        assert document["leftovers"] is None

    def test_a_receipt_that_is_there_is_kept(self, over: Receipt) -> None:
        again = receipts.issue(over.sandbox, leftovers_checked=True)
        assert (again.pk, again.signature) == (over.pk, over.signature)


# ---- the command


@pytest.fixture
def file(tmp_path: Path) -> Callable[[dict[str, Any]], str]:
    def write(envelope: dict[str, Any]) -> str:
        path = tmp_path / "receipt.json"
        path.write_text(json.dumps(envelope, indent=2, ensure_ascii=False))
        return str(path)

    return write


def _told(*words: str) -> str:
    said = io.StringIO()
    call_command("verify_receipt", *words, stdout=said)
    return said.getvalue()


@pytest.mark.django_db
class TestCommand:
    def test_a_valid_one(self, over: Receipt, file: Callable[[dict[str, Any]], str]) -> None:
        said = _told(file(receipts.signed(over).envelope()))
        assert f"Sandbox {over.sandbox_id} of alice" in said
        assert "matches" in said
        assert "The ledger has it, in entry" in said

    def test_a_changed_one(self, over: Receipt, file: Callable[[dict[str, Any]], str]) -> None:
        envelope = receipts.signed(over).envelope()
        envelope["receipt"]["owner"] = "bob"
        with pytest.raises(CommandError, match="signature does not match") as refused:
            _told(file(envelope))
        assert refused.value.returncode == 1
        assert "And this installation's ledger has no entry" in str(refused.value)

    def test_one_of_another_installation(self, over: Receipt, file: Callable[[dict[str, Any]], str]) -> None:
        stranger = signing.sign(over.document, Ed25519PrivateKey.generate())
        with pytest.raises(CommandError, match="It names the key") as refused:
            _told(file(stranger.envelope()))
        assert refused.value.returncode == 1

    def test_one_that_the_ledger_does_not_know(
        self, over: Receipt, settings: Any, file: Callable[[dict[str, Any]], str]
    ) -> None:
        forged = signing.sign({**over.document, "owner": "bob"}, signing.private_key(settings.LEDGER_KEY))
        with pytest.raises(CommandError, match="But this installation's ledger has no entry") as refused:
            _told(file(forged.envelope()))
        assert refused.value.returncode == 1

    def test_one_from_before_signing(self, alice: User, file: Callable[[dict[str, Any]], str]) -> None:
        sandbox = world.over(world.ready(alice))
        document = Receipt.objects.get(sandbox=sandbox).document | {"sandbox": sandbox.pk}
        record(
            actor=None, action="sandbox.ended", subject=f"sandbox:{sandbox.pk}", data={"receipt": document}
        )
        with pytest.raises(CommandError, match=r"from before signing\. The ledger has it") as refused:
            _told(file(Signed(document, "", "").envelope()))
        assert refused.value.returncode == 2

    def test_what_is_none(self, tmp_path: Path) -> None:
        for name, content in (("a", b"{}"), ("b", b" " * (signing.LARGEST + 1))):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(CommandError, match="not a receipt") as refused:
                _told(str(tmp_path / name))
            assert refused.value.returncode == 2
        with pytest.raises(CommandError) as refused:
            _told(str(tmp_path / "missing"))
        assert refused.value.returncode == 2
        with pytest.raises(CommandError, match="Name the receipt"):
            _told()

    def test_the_key_is_shown(self) -> None:
        assert _told("--show-key") == signing.pem(receipts.key())

    def test_without_a_database_by_the_public_key_alone(
        self, over: Receipt, file: Callable[[dict[str, Any]], str], tmp_path: Path
    ) -> None:
        """A process of its own, with no database and none of our secrets, reading standard input."""
        (tmp_path / "key.pem").write_text(signing.pem(receipts.key()))
        whole = Path(file(receipts.signed(over).envelope())).read_bytes()
        nowhere = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none", "DATA_DIR": str(tmp_path / "data")}
        command = [sys.executable, "manage.py", "verify_receipt", "-", "--key", str(tmp_path / "key.pem")]
        for content, code, said in (
            (whole, 0, b"nothing was changed"),
            (whole.replace(b'"alice"', b'"bob"'), 1, b"does not match"),
            (b"{}", 2, b"not a receipt"),
        ):
            done = subprocess.run(
                command,
                input=content,
                capture_output=True,
                check=False,
                cwd=ROOT,
                env={**os.environ, **nowhere},
            )
            assert done.returncode == code, done.stderr
            assert said in done.stdout + done.stderr


@pytest.mark.django_db
@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this machine")
def test_the_documented_way_without_petridish(over: Receipt, tmp_path: Path) -> None:
    """The lines of docs/receipts.md, run as they stand there."""
    (script,) = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "receipts.md").read_text(), re.DOTALL)
    envelope = receipts.signed(over).envelope()
    (tmp_path / "petridish-receipts.pem").write_text(signing.pem(receipts.key()))
    for owner, code in (("alice", 0), ("bob", 1)):
        envelope["receipt"]["owner"] = owner
        (tmp_path / "receipt.json").write_text(json.dumps(envelope, indent=2))
        done = subprocess.run(
            ["bash", "-ec", script], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert ("Verified Successfully" in done.stdout) == (owner == "alice")
