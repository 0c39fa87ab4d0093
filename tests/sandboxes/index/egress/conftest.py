"""A proxy, one host behind it, and a ready sandbox that may reach it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from sandboxes.index.database import Database, Rows
from sandboxes.index.egress.addresses import Addresses
from sandboxes.index.egress.proxy import Proxy
from sandboxes.index.egress.records import Records
from sandboxes.index.egress.watch import Watch
from sandboxes.lifecycle.models import EgressException, Probe, Sandbox
from sandboxes.usage.models import Connection
from tests.sandboxes.index.conftest import NAME, TOKEN, committed, database_url
from tests.sandboxes.index.egress_world import HOST, Answer, Host, ask, certificate, close_all, connect_head

PORTAL = "https://petridish.example.com"
OTHER = "other.example.org"
SERVER, CLIENT = certificate(HOST, OTHER)


@dataclass
class World:
    """A proxy, one TLS host behind it that echoes, and a ready sandbox that may reach it under `HOST`."""

    port: int
    host: Host
    sandbox: Sandbox
    database: Database
    records: Records
    names: dict[str, tuple[str, ...]]
    asked: list[str]
    found: list[str]

    @property
    def target(self) -> str:
        return f"{HOST}:{self.host.port}"

    async def connect(self, target: str = "", *lines: str, name: str = NAME, token: str = TOKEN) -> Answer:
        return await ask(self.port, connect_head(target or self.target, name, token, *lines))

    async def rows(self, statement: str, **values: Any) -> Rows:
        return await self.database.rows(statement, values)

    async def seen(self) -> Rows:
        return await self.rows("SELECT * FROM usage_connection ORDER BY id")

    async def ended(self) -> dict[str, Any]:
        """The one row, once its end is written down."""
        async with asyncio.timeout(10):
            while True:
                [row] = await self.seen()
                if row["ended_at"] is not None:
                    return row
                await asyncio.sleep(0.02)

    async def idle(self) -> None:
        """Once no tunnel is open any more."""
        async with asyncio.timeout(10):
            while True:
                if not await self.rows("SELECT 1 FROM usage_connection WHERE ended_at IS NULL"):
                    return
                await asyncio.sleep(0.02)

    async def allow(self, host: str, port: int, **changes: Any) -> None:
        given = {"host": host, "port": port, "reason": "x", "until": timezone.now() + timedelta(hours=1)}
        await asyncio.to_thread(
            committed, lambda: EgressException.objects.create(sandbox=self.sandbox, **{**given, **changes})
        )


@pytest.fixture
def gone(sandbox: Sandbox) -> Iterator[None]:
    """What refers to the sandbox goes before it does."""
    yield

    def delete() -> None:
        for model in (Connection, EgressException, Probe):
            model._default_manager.all().delete()

    committed(delete)


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    host = Host(tls=SERVER)
    await host.start()
    yield host
    await host.stop()


@pytest.fixture
async def world(sandbox: Sandbox, gone: None, host: Host) -> AsyncIterator[World]:
    database = Database(database_url())
    await database.open()
    kept = Records(database)
    looking = Watch(kept, every=0.2)
    names: dict[str, tuple[str, ...]] = {HOST: ("127.0.0.1",), OTHER: ("127.0.0.1",)}
    asked: list[str] = []
    found: list[str] = []

    async def look_up(name: str, port: int) -> list[str]:
        asked.append(name)
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return list(found)

    made = Proxy(database, Addresses(names, look_up), looking, PORTAL)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    watching = asyncio.create_task(looking.run())
    port = server.sockets[0].getsockname()[1]
    here = World(port, host, sandbox, database, kept, names, asked, found)
    await here.allow(HOST, host.port)
    yield here
    await close_all()
    server.close()
    looking.cut_all()
    await made.rest(10)
    watching.cancel()
    await database.close()
