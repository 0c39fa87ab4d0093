"""The egress proxy: exactly the hosts that were allowed, by name, and only while and for whom they are allowed."""

import asyncio
from datetime import timedelta

import pytest

from sandboxes.index.egress import tunnel
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import Phase
from tests.sandboxes.index.conftest import NAME, TOKEN, committed
from tests.sandboxes.index.egress.conftest import CLIENT, OTHER, PORTAL, SERVER, World
from tests.sandboxes.index.egress_world import HOST, Host, ask, connect_head

# ---- what is allowed


async def test_an_allowed_host_is_reached_and_recorded(world: World) -> None:
    answer = await world.connect()
    assert (answer.status, answer.reason) == (200, "Connection established")
    [row] = await world.seen()  # written down before the tunnel opened
    assert (row["allowed"], row["host"], row["port"], row["address"]) == (
        True,
        HOST,
        world.host.port,
        "127.0.0.1",
    )
    assert row["sandbox_id"] == world.sandbox.pk
    assert row["ended_at"] is None
    await answer.tls(CLIENT, HOST)
    assert await answer.said(b"hello") == b"hello"
    answer.writer.close()
    row = await world.ended()
    assert row["bytes_up"] > 300  # the TLS hello is among them
    assert row["bytes_down"] > 300
    assert row["reason"] == tunnel.ENDED
    assert 0 <= row["seconds"] < 10


@pytest.mark.parametrize("target", ["API.Example.ORG", f"{HOST}."])
async def test_a_name_is_a_name_however_it_is_written(world: World, target: str) -> None:
    answer = await world.connect(f"{target}:{world.host.port}")
    assert answer.status == 200
    await answer.tls(CLIENT, HOST)
    assert await answer.said(b"hello") == b"hello"
    answer.close()


async def test_bytes_that_come_with_the_request_are_not_lost(world: World, host: Host) -> None:
    plain = Host()
    await plain.start()
    await world.allow(HOST, plain.port)
    answer = await ask(world.port, connect_head(f"{HOST}:{plain.port}", NAME, TOKEN) + b"with the request")
    assert await answer.said(b", and after it") == b"with the request"[:14]
    answer.writer.write_eof()
    assert await answer.over() == b"st, and after it"
    await plain.stop()


async def test_a_host_over_ipv6(world: World) -> None:
    there = Host(tls=SERVER, address="::1")
    await there.start()
    world.names["six.example.org"] = ("::1",)
    await world.allow("six.example.org", there.port)
    answer = await world.connect(f"six.example.org:{there.port}")
    assert answer.status == 200
    [row] = await world.seen()
    assert row["address"] == "::1"
    answer.close()
    await there.stop()


async def test_the_next_address_is_tried_and_written_down(world: World) -> None:
    world.names[HOST] = ("::1", "127.0.0.1")  # nobody listens at the first
    answer = await world.connect()
    assert answer.status == 200
    [row] = await world.seen()
    assert row["address"] == "127.0.0.1"
    answer.close()


# ---- what is not


@pytest.mark.parametrize(
    "target", [f"{OTHER}:443", f"{HOST}:22", "1.2.3.4:443", "[2001:db8::1]:443", "127.0.0.1:443"]
)
async def test_nothing_else_is_reached(world: World, target: str) -> None:
    answer = await world.connect(target)
    assert answer.status == 403
    page = f"{PORTAL}/sandboxes/{world.sandbox.pk}"
    assert answer.reason == f"The seal lets this sandbox reach no {target}; ask for it at {page}"
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.document == {
        "title": "Forbidden",
        "status": 403,
        "detail": answer.reason,
        "code": "egress_not_allowed",
        "ask": page,
    }
    [row] = await world.seen()
    assert (row["allowed"], row["host"], row["address"]) == (False, target.rpartition(":")[0], "")
    assert row["reason"] == answer.reason
    assert not world.host.met
    assert not world.asked  # its name was not even looked up


@pytest.mark.parametrize(
    ("name", "token"), [("", ""), (NAME, "wrong"), ("other", TOKEN), (NAME, ""), ("x" * 100, TOKEN)]
)
async def test_who_does_not_say_which_sandbox_gets_nothing(world: World, name: str, token: str) -> None:
    answer = await world.connect(name=name, token=token)
    assert answer.status == 407
    assert answer.headers["Proxy-Authenticate"].startswith("Basic realm=")
    assert answer.document["code"] == "unauthenticated"
    assert "sandbox" in answer.reason
    assert TOKEN not in answer.reason
    assert await world.seen() == []
    assert not world.host.met


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase != Phase.READY])
async def test_only_a_ready_sandbox_is_let_out(world: World, phase: Phase) -> None:
    await world.rows("UPDATE lifecycle_sandbox SET phase = %(phase)s", phase=phase.value)
    assert (await world.connect()).status == 407
    assert not world.host.met


@pytest.mark.parametrize(
    "change",
    ["phase = 'isolated'", "phase = 'hibernated'", "index_token_digest = ''", "expires_at = now()"],
)
async def test_it_is_asked_afresh_though_the_sandbox_was_known(world: World, change: str) -> None:
    (await world.connect()).close()
    await world.rows("UPDATE lifecycle_sandbox SET " + change)  # noqa: S608
    assert (await world.connect()).status == 407
    assert len(await world.seen()) == 1


@pytest.mark.parametrize(
    "change", ["ended_at = now()", "until = now()", "sandbox_id = %(other)s", "port = 1"]
)
async def test_a_way_out_that_is_over_or_anothers_does_not_count(world: World, change: str) -> None:
    def another() -> int:
        made = Sandbox.objects.create(
            cluster="simulated",
            owner=world.sandbox.owner,
            profile="python",
            data_class="public",
            lease=timedelta(hours=1),
        )
        return made.pk

    other = await asyncio.to_thread(committed, another)
    await world.rows("UPDATE lifecycle_egressexception SET " + change, other=other)  # noqa: S608
    assert (await world.connect()).status == 403


async def test_plain_http_is_refused_readably(world: World) -> None:
    request = f"GET http://{HOST}/ HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    answer = await ask(world.port, request)
    assert (answer.status, answer.headers["Allow"]) == (405, "CONNECT")
    assert "use https" in answer.reason
    assert answer.document["code"] == "plain_http"
    assert not world.host.met


async def test_health_and_nothing_else(world: World) -> None:
    statuses = {}
    for path in ("/healthz", "/readyz", "/"):
        answer = await ask(world.port, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        statuses[path] = answer.status
        answer.close()
    assert statuses == {"/healthz": 200, "/readyz": 200, "/": 404}
