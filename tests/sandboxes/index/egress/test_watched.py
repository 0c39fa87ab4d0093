"""A tunnel ends with what allowed it, is recorded or not at all, and has its share."""

import asyncio

import pytest

from sandboxes.index.egress import proxy, records, watch
from sandboxes.index.egress.records import Records
from sandboxes.index.errors import UnavailableError
from tests.sandboxes.index.egress.conftest import CLIENT, OTHER, World
from tests.sandboxes.index.egress_world import HOST

# ---- when it ends


@pytest.mark.parametrize(
    "change",
    [
        "lifecycle_egressexception SET ended_at = now()",
        "lifecycle_egressexception SET until = now()",
        "lifecycle_sandbox SET phase = 'isolated'",
        "lifecycle_sandbox SET phase = 'hibernated'",
        "lifecycle_sandbox SET phase = 'ending', index_token_digest = ''",
        "lifecycle_sandbox SET expires_at = now()",
    ],
)
async def test_an_open_tunnel_is_cut_when_it_is_not_allowed_any_more(world: World, change: str) -> None:
    answer = await world.connect()
    await answer.tls(CLIENT, HOST)
    assert await answer.said(b"hello") == b"hello"
    await world.rows(f"UPDATE {change}")
    assert await answer.over(5) == b""
    row = await world.ended()
    assert (row["reason"], row["allowed"]) == (watch.NOT_ALLOWED, True)
    assert (await world.connect()).status in (403, 407)


async def test_a_tunnel_goes_on_while_any_exception_allows_it(world: World) -> None:
    await world.allow(HOST, world.host.port)
    answer = await world.connect()
    await answer.tls(CLIENT, HOST)
    await world.rows(
        "UPDATE lifecycle_egressexception SET ended_at = now()"
        " WHERE id = (SELECT min(id) FROM lifecycle_egressexception)"
    )
    await asyncio.sleep(0.6)
    assert await answer.said(b"still here") == b"still here"
    answer.close()


async def test_what_cannot_be_confirmed_is_cut(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unavailable(numbers: object) -> set[int]:
        raise UnavailableError("The index's database does not answer; try again.")

    answer = await world.connect()
    monkeypatch.setattr(watch, "UNSURE", 0.5)
    monkeypatch.setattr(Records, "still_allowed", lambda self, numbers: unavailable(numbers))
    assert await answer.over(5) == b""
    assert "could say" in (await world.ended())["reason"]


async def test_an_end_that_cannot_be_written_down_is_written_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = await world.connect()
    await world.rows("ALTER TABLE usage_connection ADD CONSTRAINT test_shut CHECK (ended_at IS NULL)")
    try:
        answer.close()
        await asyncio.sleep(0.6)
        [row] = await world.seen()
        assert row["ended_at"] is None
    finally:
        await world.rows("ALTER TABLE usage_connection DROP CONSTRAINT test_shut")
    assert (await world.ended())["reason"]


async def test_what_a_killed_proxy_left_open_is_closed(world: World) -> None:
    (await world.connect()).close()
    await world.ended()
    await world.rows("UPDATE usage_connection SET ended_at = NULL, reason = '', seen_at = now()")
    await world.records.close_lost()
    [row] = await world.seen()
    assert row["ended_at"] is None  # it may be another proxy's, and alive
    await world.rows("UPDATE usage_connection SET seen_at = now() - interval '3 minutes'")
    await world.records.close_lost()
    [row] = await world.seen()
    assert (row["ended_at"], row["reason"]) == (row["seen_at"], watch.STOPPED)


async def test_open_ones_are_heard_of(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_PROGRESS_TURNS", 1)
    answer = await world.connect()
    await answer.tls(CLIENT, HOST)
    await answer.said(b"hello")
    await asyncio.sleep(0.6)
    [row] = await world.seen()
    assert row["ended_at"] is None
    assert row["bytes_up"] > 300
    answer.close()


async def test_what_passes_keeps_the_sandbox_awake(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_PROGRESS_TURNS", 1)
    answer = await world.connect()
    slept = "UPDATE lifecycle_sandbox SET last_active_at = now() - interval '2 minutes'"
    awake = "SELECT 1 FROM lifecycle_sandbox WHERE last_active_at > now() - interval '1 minute'"
    assert await world.rows(awake)
    await asyncio.sleep(0.3)
    await world.rows(slept)
    await asyncio.sleep(0.6)
    assert not await world.rows(awake)  # an open tunnel in which nothing happens
    await answer.tls(CLIENT, HOST)
    await asyncio.sleep(0.6)
    assert await world.rows(awake)


# ---- recorded, or not at all; and bounded


async def test_what_cannot_be_recorded_is_not_connected(world: World) -> None:
    await world.rows("ALTER TABLE usage_connection ADD CONSTRAINT test_full CHECK (id < 0) NOT VALID")
    try:
        allowed, refused = await world.connect(), await world.connect(f"{OTHER}:443")
    finally:
        await world.rows("ALTER TABLE usage_connection DROP CONSTRAINT test_full")
    for answer in (allowed, refused):
        assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    assert not world.host.met
    assert await world.seen() == []


async def test_a_loop_of_refused_attempts_counts_instead_of_filling(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "REFUSED_ROWS", 3)
    for _ in range(8):
        assert (await world.connect(f"{OTHER}:443")).status == 403
    rows = await world.seen()
    assert [row["repeats"] for row in rows] == [0, 0, 5]
    (await world.connect()).close()  # an allowed one has its row all the same
    assert len(await world.seen()) == 4


async def test_a_sandbox_has_its_share_and_no_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "TUNNELS", 1)
    first = await world.connect()
    second = await world.connect()
    assert (second.status, second.headers["Retry-After"], second.document["code"]) == (429, "5", "too_many")
    first.close()
    await world.idle()
    again = await world.connect()
    assert again.status == 200
    monkeypatch.setattr(proxy, "OPENINGS", 2)
    assert (await world.connect()).status == 429


async def test_of_too_many_connections_the_next_is_closed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await world.connect()
    monkeypatch.setattr(proxy, "CONNECTIONS", 1)
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    async with asyncio.timeout(5):
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
    writer.close()
    await first.tls(CLIENT, HOST)
    first.close()
