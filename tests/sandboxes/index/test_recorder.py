"""Writing down in groups: one statement for all that wait, durable before anybody is told, and nobody left waiting."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from sandboxes.index import recorder as module
from sandboxes.index.client import client_of
from sandboxes.index.credentials import credentials_of
from sandboxes.index.database import Database, Rows
from sandboxes.index.errors import UnauthenticatedError, UnavailableError
from sandboxes.index.identity import Visitor
from sandboxes.index.policy.waivers import Subject
from sandboxes.index.recorder import Ask, Kind, Outcome, Received, Recorder
from sandboxes.lifecycle.models import Sandbox
from sandboxes.usage.models import Fetch, Install
from tests.sandboxes.index.conftest import NAME, TOKEN, Index, committed, database_url
from tests.sandboxes.index.patience import until

CLIENT = client_of('pip/26.3 {"installer":{"name":"pip"}} “quoted” \\ back')


class Counting(Database):
    """The real one, which remembers how many rows each statement had."""

    def __init__(self) -> None:
        super().__init__(database_url())
        self.groups: list[int] = []

    async def rows(self, statement: str, values: Mapping[str, Any]) -> Rows:
        self.groups.append(len(json.loads(values["rows"])))
        return await super().rows(statement, values)


@pytest.fixture
async def database(sandbox: Sandbox) -> AsyncIterator[Counting]:
    database = Counting()
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def visitor(sandbox: Sandbox, index: Index) -> Visitor:
    known = credentials_of(index.auth)
    assert known is not None
    assert (known.name, TOKEN in index.auth) == (NAME, False)
    return Visitor(sandbox.pk, known, Subject(sandbox.pk, sandbox.owner_id, "", "python"))


def wheel(number: int) -> tuple[Ask, Outcome]:
    ask = Ask(Kind.FILE, "demo", f"demo-{number}.0-py3-none-any.whl")
    return ask, Outcome(received=Received(f"{number}.0", f"{number:064x}", 30_000 + number))


async def test_those_that_come_together_share_one_statement(database: Counting, visitor: Visitor) -> None:
    """The first goes at once; all that come meanwhile go with the next."""
    recorder = Recorder(database)
    await asyncio.gather(*(recorder.record(visitor, CLIENT, *wheel(n)) for n in range(40)))
    assert sum(database.groups) == 40
    assert len(database.groups) <= 2
    fetches = committed(lambda: list(Fetch.objects.values_list("filename", "client", "user_agent")))
    assert fetches == [(wheel(n)[0].filename, "pip 26.3", CLIENT.user_agent) for n in range(40)]
    sizes = committed(lambda: set(Install.objects.values_list("version", "sha256", "size")))
    assert sizes == {(f"{n}.0", f"{n:064x}", 30_000 + n) for n in range(40)}


async def test_what_was_told_to_be_recorded_is_there_for_everybody(
    database: Counting, visitor: Visitor
) -> None:
    recorder = Recorder(database)
    for n in range(3):
        await recorder.record(visitor, CLIENT, *wheel(n))
        assert committed(Install.objects.count) == committed(Fetch.objects.count) == n + 1


async def test_each_of_a_group_is_told_its_own(database: Counting, visitor: Visitor) -> None:
    """One with a token that was replaced is in the same statement as one with the token of now."""
    old = replace(visitor, credentials=replace(visitor.credentials, digest="0" * 64))
    recorder = Recorder(database)
    told = await asyncio.gather(
        *(recorder.record(each, CLIENT, *wheel(n)) for n, each in enumerate([visitor, old, visitor])),
        return_exceptions=True,
    )
    assert [type(each) for each in told] == [type(None), UnauthenticatedError, type(None)]
    assert committed(lambda: {row.version for row in Install.objects.all()}) == {"0.0", "2.0"}


async def test_one_that_cannot_be_written_is_told_and_leaves_nobody_waiting(
    database: Counting, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL stores no NUL. Those in other groups are none the worse."""
    monkeypatch.setattr(module, "_MOST_AT_ONCE", 1)
    recorder = Recorder(database)
    bad = (Ask(Kind.FILE, "demo", "demo\0.whl"), Outcome())
    told = await asyncio.wait_for(
        asyncio.gather(
            *(recorder.record(visitor, CLIENT, *each) for each in (wheel(1), bad, wheel(2))),
            return_exceptions=True,
        ),
        timeout=30,
    )
    assert [type(each) for each in told] == [type(None), UnavailableError, type(None)]


async def test_a_fault_of_ours_leaves_nobody_waiting_either(
    database: Counting, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_AT_ONCE", 1)
    recorder = Recorder(database)
    ask, outcome = wheel(1)
    odd = replace(outcome, received=Received("1.0", "0" * 64, object()))  # type: ignore[arg-type]
    told = await asyncio.wait_for(
        asyncio.gather(
            *(recorder.record(visitor, CLIENT, ask, each) for each in (odd, outcome)), return_exceptions=True
        ),
        timeout=30,
    )
    assert [type(each) for each in told] == [UnavailableError, type(None)]


async def test_two_that_record_the_same_file_never_wait_for_each_other(
    index: Index, database: Counting, visitor: Visitor
) -> None:
    """One has inserted it and is about to commit, for which it needs the sandbox's row; the other waits for it."""
    ask, outcome = wheel(1)
    assert outcome.received is not None
    recorder = Recorder(database)
    async with index.database._pool.connection() as other:
        await other.set_autocommit(False)
        await other.execute(
            """INSERT INTO usage_install (sandbox_id, at, ecosystem, project, version, filename, sha256, size, client)
            VALUES (%s, now(), 'pypi', 'demo', '1.0', %s, %s, 1, '')""",
            [visitor.sandbox, ask.filename, outcome.received.sha256],
        )
        recording = asyncio.create_task(recorder.record(visitor, CLIENT, ask, outcome))
        await until(lambda: _waits_for_a_lock(index))
        await other.commit()
        await other.set_autocommit(True)
    await asyncio.wait_for(recording, timeout=30)
    assert committed(Install.objects.count) == 1


async def _waits_for_a_lock(index: Index) -> bool:
    return bool(
        await index.rows(
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
    )


async def test_told_to_end_in_the_middle_nobody_waits_for_ever(
    index: Index, database: Counting, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither who is in the statement, which waits for a lock, nor those behind it."""
    monkeypatch.setattr(module, "_MOST_AT_ONCE", 1)
    recorder = Recorder(database)
    async with index.database._pool.connection() as locked:
        await locked.set_autocommit(False)
        await locked.execute("LOCK TABLE usage_fetch IN EXCLUSIVE MODE")
        waiting = [asyncio.create_task(recorder.record(visitor, CLIENT, *wheel(n))) for n in range(3)]
        await until(lambda: bool(database.groups))
        assert recorder._writing is not None
        recorder._writing.cancel()
        told = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), timeout=30)
        await locked.rollback()
        await locked.set_autocommit(True)
    assert [type(each) for each in told] == [UnavailableError] * 3


async def test_too_many_are_told_to_come_back(
    database: Counting, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_WAITING", 2)
    recorder = Recorder(database)
    told = await asyncio.gather(
        *(recorder.record(visitor, CLIENT, *wheel(n)) for n in range(3)), return_exceptions=True
    )
    assert [type(each) for each in told] == [type(None), type(None), UnavailableError]
    assert committed(Install.objects.count) == 2


async def test_without_a_database_nothing_counts_as_recorded(visitor: Visitor) -> None:
    database = Database("postgresql://127.0.0.1:9/nothing")
    await database.open()
    with pytest.raises(UnavailableError):
        await Recorder(database).record(visitor, CLIENT, *wheel(1))
    await database.close()
