"""The egress proxy's process itself: `python -m sandboxes.index.egress`."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from sandboxes.errors import InvalidInputError
from sandboxes.index.egress import config
from sandboxes.index.egress.watch import STOPPED
from tests.sandboxes.index.conftest import NAME, TOKEN, database_url
from tests.sandboxes.index.egress.conftest import World
from tests.sandboxes.index.egress_world import HOST, Host, ask, close_all, connect_head
from tests.sandboxes.index.processes import NOWHERE, PATIENCE
from tests.simulator import free_port

READY = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"


async def start(database: str, port: int, **settings: str) -> asyncio.subprocess.Process:
    given = {"DATABASE_URL": database, "EGRESS_PROXY_PORT": str(port), **settings}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sandboxes.index.egress"),
        env=os.environ | given,
        stderr=asyncio.subprocess.PIPE,
    )


async def when_up(port: int) -> int:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return (await ask(port, READY)).status
            except (ConnectionError, OSError):
                await asyncio.sleep(0.05)


async def test_it_tunnels_and_writes_its_ends_down_when_stopped(world: World) -> None:
    plain, port = Host(), free_port()
    await plain.start()
    await world.allow(HOST, plain.port)
    process = await start(database_url(), port, EGRESS_INSIDE=f"{HOST}=127.0.0.1")
    assert await when_up(port) == 200
    answer = await ask(port, connect_head(f"{HOST}:{plain.port}", NAME, TOKEN))
    assert await answer.said(b"hello") == b"hello"
    process.send_signal(signal.SIGTERM)
    _, log = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode == 0, log.decode()
    assert b"Traceback" not in log
    assert TOKEN.encode() not in log
    row = await world.ended()
    assert (row["reason"], row["bytes_up"], row["bytes_down"]) == (STOPPED, 5, 5)
    await close_all()
    await plain.stop()


async def test_without_a_database_it_lives_and_refuses() -> None:
    port = free_port()
    process = await start(NOWHERE, port)
    assert await when_up(port) == 503
    answer = await ask(port, connect_head(f"{HOST}:443", NAME, TOKEN))
    assert (answer.status, answer.document["code"]) == (503, "unavailable")
    process.terminate()
    await asyncio.wait_for(process.communicate(), PATIENCE)
    await close_all()


async def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = await start(NOWHERE, taken.getsockname()[1])
        _, log = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode == 1
    assert b"The egress proxy cannot start" in log
    assert b"Traceback" not in log


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "DATABASE_URL"),
        ({"DATABASE_URL": NOWHERE, "EGRESS_PROXY_PORT": "0"}, "EGRESS_PROXY_PORT"),
        ({"DATABASE_URL": NOWHERE, "EGRESS_INSIDE": "git.example.org=169.254.169.254"}, "EGRESS_INSIDE"),
    ],
)
def test_what_it_cannot_start_with(given: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        config.read(given)


def test_what_it_starts_with() -> None:
    read = config.read({"DATABASE_URL": NOWHERE, "PORT": "8123", "INDEX_BIND": "10.0.0.1"})
    assert (read.bind, read.port, read.public_url, read.inside) == (
        "10.0.0.1",
        8082,
        "http://127.0.0.1:8123",
        {},
    )
