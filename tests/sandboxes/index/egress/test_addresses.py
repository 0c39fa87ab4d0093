"""Where a name leads: looked up once, judged, and never inside."""

import asyncio
import socket
from typing import Any

import pytest

from sandboxes.index.egress import addresses, head, proxy
from sandboxes.index.egress.addresses import Addresses
from sandboxes.lifecycle.models import Probe
from tests.sandboxes.index.conftest import committed
from tests.sandboxes.index.egress.conftest import World
from tests.sandboxes.index.egress_world import HOST

INSIDE = [
    ["127.0.0.1"],
    ["10.0.0.1"],
    ["169.254.169.254"],
    ["224.0.0.1"],
    ["::1"],
    ["fd00::1"],
    ["fe80::1%1"],
    ["::ffff:10.0.0.1"],
    ["64:ff9b::a00:1"],
    ["8.8.8.8", "192.168.1.1"],
]


@pytest.mark.parametrize("found", INSIDE, ids=str)
async def test_a_name_that_leads_inside_is_refused(world: World, found: list[str]) -> None:
    await world.allow("evil.example.org", 443)
    world.found[:] = found
    answer = await world.connect("evil.example.org:443")
    assert (answer.status, answer.document["code"]) == (403, "not_public")
    assert not any(address in answer.reason + str(answer.document) for address in found)
    [row] = await world.seen()
    assert (row["allowed"], row["address"]) == (False, found[-1])  # the one of them that is not public


@pytest.mark.parametrize("found", ["9.9.9.10", "::ffff:9.9.9.10"])
async def test_the_clusters_own_public_address_is_refused(world: World, found: str) -> None:
    def probe() -> None:
        attempt = {"target": "node", "host": "9.9.9.10", "port": 6443, "expected": "blocked"}
        Probe.objects.create(sandbox=world.sandbox, passed=True, simulated=True, attempts=[attempt])
        Probe.objects.create(
            sandbox=world.sandbox, passed=False, outcome="unusable", simulated=True, attempts=[]
        )

    await asyncio.to_thread(committed, probe)
    await world.allow("evil.example.org", 443)
    world.found[:] = [found]
    assert (await world.connect("evil.example.org:443")).document["code"] == "not_public"


async def test_a_name_is_looked_up_once_and_the_judged_address_connected_to(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: whatever the name would say next, nobody asks."""
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1")
    await world.allow("turns.example.org", world.host.port)
    world.found[:] = ["127.0.0.1"]
    answer = await world.connect(f"turns.example.org:{world.host.port}")
    world.found[:] = ["10.0.0.1"]
    assert answer.status == 200
    assert world.asked == ["turns.example.org"]
    answer.close()
    assert (await world.connect(f"turns.example.org:{world.host.port}")).status == 403


async def test_a_name_without_an_address(world: World) -> None:
    await world.allow("nowhere.example.org", 443)
    answer = await world.connect("nowhere.example.org:443")
    assert (answer.status, answer.document["code"]) == (502, "no_address")


async def test_a_resolver_that_never_answers(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(name: str, port: int) -> list[str]:
        await asyncio.sleep(60)
        return []

    monkeypatch.setattr(addresses, "SECONDS", 0.1)
    slow = Addresses({}, never)
    with pytest.raises(head.ProxyError, match="no address"):
        await slow.of("slow.example.org", 443, {})


async def test_the_systems_resolver_is_asked_for_the_whole_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a dot at its end: search domains would lead inside."""
    asked: list[str] = []

    async def getaddrinfo(name: str, port: int, **kwargs: Any) -> list[Any]:
        asked.append(name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    assert await addresses.look_up("api.example.org", 443) == ["8.8.8.8"]
    assert asked == ["api.example.org."]


async def test_a_host_that_refuses_is_told_and_recorded(world: World) -> None:
    await world.host.stop()
    answer = await world.connect()
    assert (answer.status, answer.document["code"]) == (502, "unreachable")
    row = await world.ended()
    assert (row["allowed"], row["reason"]) == (True, answer.reason)


async def test_a_host_that_never_answers(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "CONNECT_SECONDS", 0.3)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):  # there is room for one
            await world.allow(HOST, port)
            answer = await world.connect(f"{HOST}:{port}")
    assert (answer.status, answer.document["code"]) == (502, "unreachable")
