"""A running index between a real database and a real upstream, and one ready sandbox that may use it."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web
from django.db import connection, connections
from django.utils import timezone
from multidict import CIMultiDictProxy
from yarl import URL

from portal.accounts.models import User
from sandboxes.index.app import make_app
from sandboxes.index.config import Config, Source, source
from sandboxes.index.database import Database, Rows
from sandboxes.index.models import File, ListEntry, PolicySetting, Project, Trouble, Waiver
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import Phase
from sandboxes.screening.models import Job
from sandboxes.usage.models import Fetch, Install
from tests.conftest import unscreened_floor
from tests.sandboxes.index.upstream_server import UpstreamServer
from tests.sandboxes.index.wheels import Package, make_wheel

PORTAL = "https://portal.example"
TOKEN = "dish-token"
NAME = "dish"


def database_url() -> str:
    """The test database as a URL."""
    settings = connection.settings_dict
    host, port = (
        quote(str(settings["HOST"]), safe=""),
        f"&port={settings['PORT']}" if settings["PORT"] else "",
    )
    return f"postgresql://{settings['USER']}:{settings['PASSWORD']}@/{settings['NAME']}?host={host}{port}"


def committed[T](work: Callable[[], T]) -> T:
    """Runs `work` outside the test's transaction: Django's connections belong to one thread each."""

    def run() -> T:
        try:
            return work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run).result()


@pytest.fixture
def floor() -> dict[str, Any]:
    """What the installation's floor has other than a new one's; a test file may say its own."""
    return {}


@pytest.fixture
def sandbox(db: None, floor: dict[str, Any]) -> Iterator[Sandbox]:
    """Alice's sandbox, ready, with a token. Committed, so that the index sees it.

    Deleting the few rows afterwards takes milliseconds; pytest-django's own
    clean-up of a test that commits truncates every table, half a second each time.
    """
    committed(lambda: _set_floor(floor))
    yield committed(_make_sandbox)
    committed(_delete_all)
    committed(lambda: _set_floor({}))


def _make_sandbox() -> Sandbox:
    return Sandbox.objects.create(
        name=NAME,
        namespace=NAME,
        cluster="simulated",
        owner=User.objects.create_user("alice"),
        profile="python",
        data_class="public",
        phase=Phase.READY,
        lease=timedelta(hours=1),
        expires_at=timezone.now() + timedelta(hours=1),
        index_token_digest=hashlib.sha256(TOKEN.encode()).hexdigest(),
    )


def _set_floor(changes: dict[str, Any]) -> None:
    PolicySetting.objects.all().delete()
    unscreened_floor()
    PolicySetting.objects.update(**changes)


def _delete_all() -> None:
    for model in (Job, Trouble, ListEntry, Waiver, Install, Fetch, File, Project, Sandbox, User):
        model._default_manager.all().delete()


@pytest.fixture
async def upstream() -> AsyncIterator[UpstreamServer]:
    server = UpstreamServer()
    await server.start()
    yield server
    await server.stop()


@dataclass
class Reply:
    """An answer, read to its end."""

    status: int
    reason: str
    headers: CIMultiDictProxy[str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass
class Index:
    """The index under test, and a client that is the sandbox."""

    url: str
    session: aiohttp.ClientSession
    database: Database
    folder: Path
    auth: str = aiohttp.encode_basic_auth(NAME, TOKEN)

    async def ask(self, path: str, method: str = "GET", **headers: str) -> Reply:
        """Header names are written with underscores; an empty Authorization sends none."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {"Authorization": self.auth} | named
        if not sent["Authorization"]:
            del sent["Authorization"]
        async with self.session.request(
            method,
            URL(self.url + path, encoded=True),
            headers=sent,
            allow_redirects=False,
            skip_auto_headers=("User-Agent",),
        ) as answer:
            body = await answer.read()
            return Reply(answer.status, answer.reason or "", answer.headers, body)

    async def rows(self, statement: str, **values: Any) -> Rows:
        return await self.database.rows(statement, values)

    async def expire_pages(self) -> None:
        """As if everything known of the upstream were an hour old."""
        await self.rows("UPDATE index_project SET checked_at = checked_at - interval '1 hour'")

    @property
    def stored(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "files").rglob("*") if path.is_file())

    @property
    def drafts(self) -> list[Path]:
        return list((self.folder / "incoming").iterdir())


def path_of(package: Package, project: str = "demo") -> str:
    """Where the index serves a file."""
    return f"/files/{project}/{package.sha256}/{package.filename}"


@pytest.fixture
async def index(sandbox: Sandbox, upstream: UpstreamServer, tmp_path: Path) -> AsyncIterator[Index]:
    config = Config(
        database_url(),
        "127.0.0.1",
        0,
        tmp_path / "index",
        (source("INDEX_UPSTREAM", upstream.url),),
        public_url=PORTAL,
    )
    async with serving(config) as served:
        yield served


@asynccontextmanager
async def serving(config: Config) -> AsyncIterator[Index]:
    runner = web.AppRunner(await make_app(config), access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    database = Database(config.database_url)
    await database.open()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), auto_decompress=False
    ) as session:
        yield Index(url, session, database, config.folder)
    await runner.cleanup()
    await database.close()


@asynccontextmanager
async def another_process(index: Index, *sources: Source) -> AsyncIterator[Index]:
    """All parts of one, as asked by the same sandbox; with the first it shares the database and the folder only."""
    config = Config(database_url(), "127.0.0.1", 0, index.folder, sources, public_url=PORTAL)
    runner = web.AppRunner(await make_app(config), access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield replace(index, url=f"http://127.0.0.1:{runner.addresses[0][1]}")
    await runner.cleanup()


@pytest.fixture
def demo(upstream: UpstreamServer) -> Package:
    """The project `demo` with one small wheel."""
    package = make_wheel()
    upstream.add("demo", package)
    return package


@pytest.fixture
def big(upstream: UpstreamServer) -> Package:
    """The project `big` with a wheel of about 1 MB: its answer begins before it is verified."""
    package = make_wheel("big", padding=bytes(range(256)) * 4096)
    upstream.add("big", package)
    return package


@pytest.fixture
async def neighbour(index: Index) -> str:
    """Another sandbox's `Authorization`."""

    def make() -> None:
        other = Sandbox.objects.get()
        other.pk, other.name, other.namespace = None, "other", "other"
        other.save(force_insert=True)

    committed(make)
    return aiohttp.encode_basic_auth("other", TOKEN)


type SetPhase = Callable[[Phase], Awaitable[None]]


@pytest.fixture
def set_phase(index: Index) -> SetPhase:
    """Moves the sandbox as the worker would, seen from the index."""

    async def moved(phase: Phase) -> None:
        await index.rows("UPDATE lifecycle_sandbox SET phase = %(phase)s", phase=phase.value)

    return moved


@pytest.fixture
async def clear_screening(index: Index) -> AsyncIterator[None]:
    yield
    await index.rows("DELETE FROM screening_change")
    await index.rows("DELETE FROM screening_affected")
    await index.rows("DELETE FROM screening_advisory")
    await index.rows("DELETE FROM screening_verdict")
    await index.rows("DELETE FROM screening_scale")
