"""The endpoint of planted credentials: always the same answer, and each use written down with where it came from."""

import base64
import datetime
import hashlib
import hmac
import io
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import encode_basic_auth

from sandboxes.lifecycle import bait, honeytokens
from sandboxes.lifecycle.bait import Kind
from sandboxes.lifecycle.models import Honeytoken, HoneytokenUse, Sandbox
from tests.sandboxes.index.conftest import NAME, TOKEN, Index, Reply, committed


@pytest.fixture
async def planted(index: Index, sandbox: Sandbox) -> AsyncIterator[Sandbox]:
    committed(lambda: honeytokens.plant(sandbox))
    yield sandbox
    committed(_delete)


def _delete() -> None:
    HoneytokenUse.objects.all().delete()
    Honeytoken.objects.all().delete()


def shown(sandbox_id: int, kind: Kind) -> str:
    return next(each.shown for each in bait.baits(sandbox_id) if each.kind == kind)


def place(sandbox: Sandbox, kind: Kind = Kind.PLACE) -> str:
    return f"/honey/{shown(sandbox.pk, kind)}"


async def uses(index: Index) -> list[dict[str, Any]]:
    return list(
        await index.rows(
            "SELECT t.kind, t.sandbox_id, t.uses, u.seen_in_id, u.method, u.path, u.user_agent, u.address"
            " FROM lifecycle_honeytokenuse u JOIN lifecycle_honeytoken t ON t.id = u.token_id ORDER BY u.id"
        )
    )


def signed(key_id: str) -> str:
    """As AWS clients sign: the key's id is in the open, the secret is not."""
    day = datetime.date(2026, 11, 23).strftime("%Y%m%d")
    signature = hmac.new(b"secret", day.encode(), hashlib.sha256).hexdigest()
    return f"AWS4-HMAC-SHA256 Credential={key_id}/{day}/eu-central-1/s3/aws4_request, Signature={signature}"


def refused(reply: Reply) -> None:
    assert (reply.status, reply.body) == (403, b"Forbidden\n")


async def test_a_signed_request(index: Index, planted: Sandbox) -> None:
    auth = signed(shown(planted.pk, Kind.AWS))
    refused(await index.ask(f"{place(planted)}/aws/bucket", Authorization=auth, User_Agent="Boto3/1.40"))
    [use] = await uses(index)
    assert (use["kind"], use["sandbox_id"], use["seen_in_id"]) == ("aws", planted.pk, planted.pk)
    assert (use["method"], use["path"], use["user_agent"]) == ("GET", "/honey/…/aws/bucket", "Boto3/1.40")
    assert use["address"] == "127.0.0.1"


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PROPFIND"])
async def test_whatever_is_asked(index: Index, planted: Sandbox, method: str) -> None:
    reply = await index.ask(f"{place(planted)}/a/b?c=d", method, Authorization="")
    assert reply.status == 403
    [use] = await uses(index)
    assert (use["kind"], use["method"], use["path"]) == ("place", method, "/honey/…/a/b")


async def test_the_ssh_keys_proxy_command(index: Index, planted: Sandbox) -> None:
    refused(await index.ask(place(planted, Kind.SSH), Authorization=""))
    [use] = await uses(index)
    assert use["kind"] == "ssh"


async def test_an_upload_token_as_a_password(index: Index, planted: Sandbox) -> None:
    auth = encode_basic_auth("__token__", shown(planted.pk, Kind.PYPI))
    refused(await index.ask(f"{place(planted)}/upload/", "POST", Authorization=auth))
    assert [use["kind"] for use in await uses(index)] == ["pypi"]


async def test_credentials_in_a_body_or_a_query(index: Index, planted: Sandbox) -> None:
    body = f"x={base64.b64encode(b'x').decode()}\n{bait.files(planted.pk)['aws-credentials']}"
    async with index.session.post(f"{index.url}/honey/anywhere", data=body) as answer:
        assert answer.status == 403
    token = shown(planted.pk, Kind.PYPI)
    refused(await index.ask(f"/honey/x?token={token}", Authorization=""))
    rows = await uses(index)
    assert [(use["kind"], use["seen_in_id"]) for use in rows] == [("aws", None), ("pypi", None)]
    assert not any(token in str(use) for use in rows)


async def test_of_a_long_body_the_beginning_is_looked_at(index: Index, planted: Sandbox) -> None:
    body = b"x" * 3_000_000 + shown(planted.pk, Kind.AWS).encode()
    async with index.session.put(f"{index.url}/honey/x", data=io.BytesIO(body)) as answer:
        assert answer.status == 403
    assert await uses(index) == []


async def test_from_another_sandbox_by_its_endpoint(index: Index, planted: Sandbox, neighbour: str) -> None:
    [other] = await index.rows("SELECT id FROM lifecycle_sandbox WHERE name = 'other'")
    committed(lambda: honeytokens.plant(Sandbox.objects.get(pk=other["id"])))
    auth = signed(shown(planted.pk, Kind.AWS))
    refused(await index.ask(f"/honey/{shown(other['id'], Kind.PLACE)}/aws", Authorization=auth))
    [use] = await uses(index)
    assert (use["sandbox_id"], use["seen_in_id"]) == (planted.pk, other["id"])


async def test_from_another_sandbox_by_its_index_token(
    index: Index, planted: Sandbox, neighbour: str
) -> None:
    [other] = await index.rows("SELECT id FROM lifecycle_sandbox WHERE name = 'other'")
    refused(await index.ask(place(planted), Authorization=neighbour))
    [use] = await uses(index)
    assert (use["sandbox_id"], use["seen_in_id"]) == (planted.pk, other["id"])


@pytest.mark.parametrize(
    "path",
    ["/honey/", "/honey/x", f"/honey/{'a' * 24}", "/honey/%00/%ff", f"/honey/AKIAPETRI0{'A' * 10}"],
)
async def test_what_is_none_of_ours_is_answered_the_same_and_forgotten(
    index: Index, planted: Sandbox, path: str
) -> None:
    refused(await index.ask(path, Authorization=""))
    refused(await index.ask(path, Authorization=encode_basic_auth(NAME, TOKEN)))
    assert await uses(index) == []


async def test_a_loop_is_counted_and_makes_no_more_rows(index: Index, planted: Sandbox) -> None:
    for _ in range(105):
        refused(await index.ask(place(planted), Authorization=""))
    rows = await uses(index)
    assert len(rows) == 100
    assert rows[-1]["uses"] == 105


async def test_what_cannot_be_written_down_is_asked_for_again(index: Index, planted: Sandbox) -> None:
    await index.rows("ALTER TABLE lifecycle_honeytoken RENAME TO elsewhere")
    try:
        assert (await index.ask(place(planted), Authorization="")).status == 503
        refused(await index.ask("/honey/x", Authorization=""))
    finally:
        await index.rows("ALTER TABLE elsewhere RENAME TO lifecycle_honeytoken")


async def test_nothing_of_it_is_logged(
    index: Index, planted: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    auth = encode_basic_auth("__token__", shown(planted.pk, Kind.PYPI))
    await index.ask(place(planted), Authorization=auth)
    assert not any(shown(planted.pk, kind) in caplog.text for kind in Kind)
