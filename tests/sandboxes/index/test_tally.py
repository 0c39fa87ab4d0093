"""Counts of pages that were given again: written when a process ends, whatever the database did before."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import pytest

from sandboxes.index import tally as module
from sandboxes.index.client import Client
from sandboxes.index.database import Database, Rows
from sandboxes.index.errors import UnavailableError
from sandboxes.index.tally import Repeated, Tally
from sandboxes.lifecycle.models import Sandbox
from sandboxes.usage.models import Fetch
from tests.sandboxes.index.conftest import Index, committed, database_url


class Failing(Database):
    """The real one, which does not answer the first few times."""

    def __init__(self, times: int) -> None:
        super().__init__(database_url())
        self.left = times

    async def rows(self, statement: str, values: Mapping[str, Any]) -> Rows:
        if self.left:
            self.left -= 1
            raise UnavailableError("The index's database does not answer; try again.")
        return await super().rows(statement, values)


def page(sandbox: Sandbox, project: str = "demo") -> Repeated:
    return Repeated(sandbox.pk, project, Client("pip 26.3", "pip/26.3"), None)


def counted() -> int:
    return sum(repeats + 1 for repeats in Fetch.objects.values_list("repeats", flat=True))


async def test_what_is_left_is_written_at_the_end(index: Index, sandbox: Sandbox) -> None:
    tally = Tally(index.database)
    assert all(tally.count(page(sandbox)) for _ in range(7))
    await tally.close()
    assert committed(counted) == 7


async def test_one_failure_at_the_end_is_not_the_end(sandbox: Sandbox) -> None:
    database = Failing(3)
    await database.open()
    tally = Tally(database)
    assert all(tally.count(page(sandbox)) for _ in range(7))
    await tally.close()
    assert committed(counted) == 7
    await database.close()


async def test_what_cannot_be_written_at_all_is_in_the_log(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_ENDING", 0.3)
    tally = Tally(Failing(10_000))
    for project in ("demo", "other", "demo"):
        assert tally.count(page(sandbox, project))
    with caplog.at_level(logging.CRITICAL):
        await tally.close()
    assert [(entry.levelname, entry.getMessage()) for entry in caplog.records] == [
        ("CRITICAL", f"not recorded: sandbox {sandbox.pk} was given the page of {name} again {times} times (pip 26.3)")
        for name, times in (("demo", 2), ("other", 1))
    ]  # fmt: skip


async def test_a_database_that_hangs_keeps_no_process_from_ending(
    index: Index, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The table is locked for longer than anybody waits."""
    monkeypatch.setattr(module, "_ENDING", 0.3)
    tally = Tally(index.database)
    async with index.database._pool.connection() as locked:
        await locked.set_autocommit(False)
        await locked.execute("LOCK TABLE usage_fetch IN EXCLUSIVE MODE")
        assert tally.count(page(sandbox))
        await asyncio.wait_for(tally.close(), timeout=30)
        await locked.rollback()
        await locked.set_autocommit(True)
    assert "not recorded" in caplog.text
