"""The index between a real database and a real registry, and what a client reads."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from sandboxes.index.config import NPM, Config, Source
from sandboxes.index.models import Packument
from sandboxes.index.models import Tarball as TarballRow
from sandboxes.lifecycle.models import Sandbox
from tests.sandboxes.index.conftest import PORTAL, Index, committed, database_url, serving
from tests.sandboxes.index.npm.registry_server import RegistryServer, Tarball, make_tarball

SHORT = "application/vnd.npm.install-v1+json"
DAY = timedelta(days=1)


def ago(age: timedelta) -> str:
    return (datetime.now(UTC) - age).isoformat().replace("+00:00", "Z")


@pytest.fixture
async def registry() -> AsyncIterator[RegistryServer]:
    server = RegistryServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def source(registry: RegistryServer) -> Source | None:
    return Source(registry.url, name=NPM)


@pytest.fixture
def named() -> tuple[Source, ...]:
    """Registries besides; a test file may have its own."""
    return ()


@pytest.fixture
def config(source: Source | None, named: tuple[Source, ...], tmp_path: Path) -> Config:
    return Config(
        database_url(),
        "127.0.0.1",
        0,
        tmp_path / "index",
        (),
        public_url=PORTAL,
        npm=source,
        npm_named=named,
    )


@pytest.fixture
async def index(sandbox: Sandbox, config: Config) -> AsyncIterator[Index]:
    async with serving(config) as served:
        yield served
    committed(_delete_all)


def _delete_all() -> None:
    for model in (Packument, TarballRow):
        model._default_manager.all().delete()


@pytest.fixture
def demo(registry: RegistryServer) -> Tarball:
    """Version 1.0.0 of `demo`, published long ago."""
    tarball = make_tarball()
    registry.add(tarball)
    return tarball


@pytest.fixture
def fresh(registry: RegistryServer, demo: Tarball) -> Tarball:
    """Version 2.0.0 of `demo`, published yesterday."""
    tarball = make_tarball(version="2.0.0")
    registry.add(tarball, published=ago(timedelta(days=1)))
    return tarball


async def packument(index: Index, name: str = "demo", accept: str = SHORT) -> dict[str, Any]:
    reply = await index.ask(f"/npm/{name}", Accept=accept, Accept_Encoding="identity")
    assert reply.status == 200, reply.reason
    document: dict[str, Any] = json.loads(reply.body)
    return document


@pytest.fixture
def big(registry: RegistryServer) -> Tarball:
    """The package `big` of about 1 MB: its answer begins before it is whole."""
    tarball = make_tarball("big", padding=Random(1).randbytes(1_000_000))
    registry.add(tarball)
    return tarball


@pytest.fixture
async def clear_screening(index: Index) -> AsyncIterator[None]:
    yield
    await index.rows("DELETE FROM screening_affected")
    await index.rows("DELETE FROM screening_advisory")
    await index.rows("DELETE FROM screening_verdict")


async def answers(index: Index, path: str, status: int) -> bool:
    return (await index.ask(path)).status == status


async def expire(index: Index) -> None:
    """As if all packuments had been looked at an hour ago."""
    await index.rows("UPDATE index_packument SET checked_at = checked_at - interval '1 hour'")
