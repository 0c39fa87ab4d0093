"""How the running process learns of a change, whoever makes it, and what it does when it cannot."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from time import monotonic
from typing import Any

import psycopg
import pytest
from aiohttp import encode_basic_auth, web
from django.db import connection
from django.utils import timezone

from portal.accounts.models import User
from sandboxes.index import book as book_module
from sandboxes.index import policy_settings, waivers
from sandboxes.index.app import QUICK, make_app
from sandboxes.index.book import Book
from sandboxes.index.config import Config, source
from sandboxes.index.database import Database
from sandboxes.index.errors import UnavailableError
from sandboxes.index.listener import Listener
from sandboxes.index.policy.facts import Ecosystem
from sandboxes.index.policy.rules import Rule
from sandboxes.index.policy.waivers import Scope
from sandboxes.lifecycle.models import Sandbox
from tests.sandboxes.index.conftest import Index, committed, database_url, path_of
from tests.sandboxes.index.patience import until as reached
from tests.sandboxes.index.refusing import PATIENCE, ago, until
from tests.sandboxes.index.upstream_server import UpstreamServer
from tests.sandboxes.index.wheels import Package

DAY = timedelta(days=1)


@pytest.fixture
def fresh(upstream: UpstreamServer, demo: Package) -> Package:
    upstream.extra[demo.filename] = {"upload-time": ago(DAY)}
    return demo


@pytest.fixture
async def book(sandbox: Sandbox) -> AsyncIterator[Book]:
    """A book of its own, which nobody keeps up to date but who asks."""
    database = Database(database_url())
    await database.open()
    made = Book(database, Listener(database_url()))
    yield made
    await made.close()
    await database.close()


def _grant(sandbox: Sandbox, **changes: Any) -> int:
    iris, _ = User.objects.get_or_create(username="iris")
    asked = waivers.ask(
        about=waivers.About(Ecosystem.PYPI, "demo", "1.0"),
        rule=Rule.COOLDOWN,
        scope=Scope.SANDBOX,
        sandbox=sandbox,
        until=timezone.now() + DAY,
        reason="the demo is tomorrow",
        by=sandbox.owner,
    )
    return waivers.decide(asked.pk, grant=True, by=iris).pk


async def do[T](work: Callable[[], T]) -> T:
    """As the portal does it: committed, elsewhere."""
    return await asyncio.to_thread(committed, work)


@pytest.fixture
def ledger(sandbox: Sandbox) -> Iterator[None]:
    """What was committed to the ledger is taken away again; in tests its trigger lets TRUNCATE pass."""
    yield
    committed(_clear_ledger)


def _clear_ledger() -> None:
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE audit_entry")


@pytest.mark.usefixtures("ledger")
async def test_a_waiver_holds_within_seconds_and_so_does_its_end(
    index: Index, sandbox: Sandbox, fresh: Package
) -> None:
    assert (await index.ask(path_of(fresh))).status == 403
    granted = await do(lambda: _grant(sandbox))
    assert (await until(index, path_of(fresh), 200)).body == fresh.data
    iris = await do(lambda: User.objects.get(username="iris"))
    await do(lambda: waivers.end(granted, by=iris, note="it was yesterday"))
    await until(index, path_of(fresh), 403)


@pytest.mark.usefixtures("ledger")
async def test_an_entry_of_a_list_holds_within_seconds(index: Index, sandbox: Sandbox, demo: Package) -> None:
    assert (await index.ask(path_of(demo))).status == 200
    values = {"profile": "python", "ecosystem": Ecosystem.PYPI, "kind": policy_settings.Kind.DENY}
    entry = await do(
        lambda: policy_settings.add_entry(**values, pattern="demo<2", reason="no", by=sandbox.owner)  # type: ignore[arg-type]
    )
    await until(index, path_of(demo), 403)
    await do(lambda: policy_settings.end_entry(entry.pk, by=sandbox.owner, reason="yes"))
    await until(index, path_of(demo), 200)


async def test_without_word_of_the_database_it_looks_by_itself(
    index: Index, fresh: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await index.ask(path_of(fresh))).status == 403
    await index.rows("ALTER TABLE index_policysetting DISABLE TRIGGER index_policysetting_epoch")
    try:
        await index.rows("UPDATE index_policysetting SET cooldown = '0'")
        await index.rows("UPDATE index_epoch SET number = number + 1 WHERE topic = 'index_policysetting'")
    finally:
        await index.rows("ALTER TABLE index_policysetting ENABLE ALWAYS TRIGGER index_policysetting_epoch")
    await until(index, path_of(fresh), 200)


async def test_what_did_not_change_is_not_read_again(book: Book, index: Index) -> None:
    first = await book.current()
    second = await book._refresh()
    assert second.rules is first.rules
    assert second.verdicts is first.verdicts
    await index.rows("UPDATE index_policysetting SET sdists = true")
    third = await book._refresh()
    assert third.rules is not first.rules
    assert third.verdicts is first.verdicts


@pytest.mark.parametrize(
    "table", ["index_policysetting", "index_listentry", "index_waiver", "screening_verdict"]
)
async def test_any_way_of_writing_counts(index: Index, table: str) -> None:
    async def number() -> int:
        rows = await index.rows("SELECT number FROM index_epoch WHERE topic = %(table)s", table=table)
        return int(rows[0]["number"]) if rows else 0

    before = await number()
    await index.rows(f"DELETE FROM {table} WHERE false")  # noqa: S608 -- one of the names above
    assert await number() == before + 1
    await index.rows(f"TRUNCATE {table}")
    assert await number() == before + 2


async def test_an_edition_that_nobody_confirms_decides_nothing(
    book: Book, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    await book.current()
    broken = UnavailableError("The index's database does not answer; try again.")

    async def fails(*arguments: object) -> None:
        raise broken

    monkeypatch.setattr(book._database, "rows", fails)
    await book.current()  # confirmed a moment ago
    monkeypatch.setattr(book_module, "_STALE", 0.0)
    with pytest.raises(UnavailableError):
        await book.current()


async def test_policy_that_cannot_be_read_gives_nothing_and_recovers(
    index: Index, demo: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await index.ask(path_of(demo))).status == 200
    monkeypatch.setattr(book_module, "_STALE", 0.5)
    await index.rows("UPDATE index_policysetting SET refuse_from = 9")
    for path in (path_of(demo), f"{path_of(demo)}.metadata", "/simple/demo/"):
        refused = await until(index, path, 503)
        assert refused.reason == "The index's policy cannot be read; its log says why."
    await index.rows("UPDATE index_policysetting SET refuse_from = 4")
    await until(index, path_of(demo), 200)


async def test_a_lost_connection_is_made_again(index: Index, fresh: Package) -> None:
    await index.ask(path_of(fresh))
    end = monotonic() + PATIENCE
    listening = (
        "FROM pg_stat_activity WHERE query = 'LISTEN petridish_index' AND datname = current_database()"
    )
    while not await index.rows(f"SELECT pg_terminate_backend(pid) {listening}"):
        assert monotonic() < end
        await asyncio.sleep(0.05)
    while not await index.rows(f"SELECT pid {listening}"):
        assert monotonic() < end
        await asyncio.sleep(0.05)
    await index.rows("UPDATE index_policysetting SET cooldown = '0'")
    await until(index, path_of(fresh), 200)


WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


async def test_policy_is_read_and_strangers_are_answered_while_all_else_waits_for_the_database(
    index: Index, upstream: UpstreamServer
) -> None:
    config = Config(database_url(), "127.0.0.1", 0, index.folder, (source("INDEX_UPSTREAM", upstream.url),))
    app = await make_app(config)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    busy = replace(index, url=f"http://127.0.0.1:{runner.addresses[0][1]}")
    assert (await busy.ask("/simple/absent/")).status == 404
    before = app[QUICK].edition
    assert before is not None
    async with await psycopg.AsyncConnection.connect(database_url()) as connection:
        await connection.execute("LOCK TABLE index_project IN ACCESS EXCLUSIVE MODE")
        asking = [asyncio.create_task(busy.ask(f"/simple/absent-{n}/")) for n in range(40)]
        await reached(lambda: are_stuck(index))
        await index.rows("UPDATE index_policysetting SET sdists = true")
        await reached(lambda: app[QUICK].edition not in (before, None))
        stranger = encode_basic_auth("nobody", "nothing")
        assert (await busy.ask("/simple/absent/", Authorization=stranger)).status == 401
        assert await are_stuck(index)  # all the time
    await asyncio.gather(*asking)
    await runner.cleanup()


async def are_stuck(index: Index) -> bool:
    """As many as there are connections for what can wait."""
    return len(await index.rows(WAITING)) == 8
