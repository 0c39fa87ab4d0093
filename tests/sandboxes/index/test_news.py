"""Waiting for a verdict: told by the database, by whatever way the verdict is written."""

import asyncio
from typing import Any

import pytest

from sandboxes.index import judge
from sandboxes.index.book import Book, Edition
from sandboxes.index.listener import Listener
from sandboxes.index.news import News
from sandboxes.screening.standing import Standing
from sandboxes.screening.words import Screening
from tests.sandboxes.index.conftest import Index, database_url, path_of
from tests.sandboxes.index.patience import until
from tests.sandboxes.index.refusing import JUDGED
from tests.sandboxes.index.wheels import Package

PATIENCE = 10.0  # seconds: far less than a look that nobody would end


@pytest.fixture
def floor() -> dict[str, Any]:
    return {"screened": True}


@pytest.mark.usefixtures("clear_screening")
async def test_who_waits_is_told_and_does_not_look(
    index: Index, demo: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "_WAIT", 300.0)
    monkeypatch.setattr(judge, "_LOOK", 300.0)
    asking = asyncio.create_task(index.ask(path_of(demo)))
    await until(lambda: _wanted(index))
    await index.rows(JUDGED.format("'passed'"), sha256=demo.sha256)
    async with asyncio.timeout(PATIENCE):
        assert (await asking).status == 200


@pytest.mark.usefixtures("clear_screening")
async def test_a_change_of_state_is_told_too(
    index: Index, demo: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "_WAIT", 300.0)
    monkeypatch.setattr(judge, "_LOOK", 300.0)
    await index.rows(JUDGED.format("'running'"), sha256=demo.sha256)
    asking = asyncio.create_task(index.ask(path_of(demo)))
    await until(lambda: _wanted(index))
    await index.rows("UPDATE screening_verdict SET state = 'blocked'")
    async with asyncio.timeout(PATIENCE):
        assert (await asking).reason.startswith("[blocked] ")


@pytest.mark.usefixtures("clear_screening")
async def test_what_passed_makes_no_new_edition(index: Index, demo: Package) -> None:
    """Of each new file a verdict is written; pages must not be decided and rendered again for it."""
    book = Book(index.database, Listener(database_url()))
    try:
        before = await _newest(book)
        await index.rows(JUDGED.format("'passed'"), sha256=demo.sha256)
        assert await _newest(book) is before
        await index.rows("UPDATE screening_verdict SET state = 'held'")
        after = await _newest(book)
        assert after.verdicts == {demo.sha256: Standing({("", "", ""): Screening.HELD})}
        assert after.verdicts_key != before.verdicts_key
        await index.rows("UPDATE screening_verdict SET state = 'passed'")
        assert (await _newest(book)).verdicts_key not in (before.verdicts_key, after.verdicts_key)
    finally:
        await book.close()


def test_only_who_waits_for_that_file_is_woken() -> None:
    news = News()
    with news.about("a") as first, news.about("a") as second, news.about("b") as other:
        news.tell("a")
        news.tell("c")
        assert (first.is_set(), second.is_set(), other.is_set()) == (True, True, False)
    news.tell("a")
    assert news._waiting == {}


async def _wanted(index: Index) -> bool:
    return bool(await index.rows("SELECT 1 FROM screening_job"))


async def _newest(book: Book) -> Edition:
    book._confirmed = 0.0
    return await book.current()
