"""Tables as streams: what arrives is what was there, and no cell begins a formula."""

import asyncio
import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from asgiref.sync import ThreadSensitiveContext
from hypothesis import example, given
from hypothesis import strategies as st

from portal.reports.export import TextStream, attachment, csv_lines, json_lines, plain

FORMULA = tuple("=+-@＝＋－＠")
# Any text that UTF-8 can carry, with what is dangerous made common.
TEXTS = st.lists(
    st.sampled_from(["=", "+", "-", "@", "\t", "\r", "\n", ";", ",", '"', "'", " ", "＝"]) | st.text()
).map("".join)


def _read(text: str, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))


@given(st.lists(st.lists(TEXTS, min_size=3, max_size=3), max_size=4))
@example([["=1+1", "+1", "-1"], ["@x", "\t=1", "\r\n=1"], ['"=1', " =1", "＝1"]])
def test_nothing_is_lost_and_nothing_begins_a_formula(rows: list[list[str]]) -> None:
    header, *found = _read("".join(csv_lines(["a", "b", "c"], rows)))
    assert header == ["a", "b", "c"]
    assert len(found) == len(rows)
    for row, written in zip(rows, found, strict=True):
        for before, after in zip(row, written, strict=True):
            assert not after.startswith(("\t", "\r", "\n"))
            assert not after.lstrip(' "').startswith(FORMULA)
            assert after.replace("'", "") == before.replace("'", "")  # apostrophes came, nothing else did


@given(TEXTS)
@example("a;=1+1")
@example('a;"=1+1')
@example("a;\n=1")
def test_a_spreadsheet_that_splits_at_semicolons_finds_no_formula(text: str) -> None:
    for line in plain(text).replace("\r", "\n").replace("\t", "\n").split("\n"):
        for cell in line.split(";"):
            assert not cell.lstrip(" \"'").startswith(("=", "+", "-", "@")) or cell.lstrip(' "').startswith(
                "'"
            )


@pytest.mark.parametrize("text", ["", "polars", "1.0-1", "a=b", "user@example.com", "x;y", "it's", "a - b"])
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert plain(text) == text


def test_cells_of_each_kind() -> None:
    zone = timezone(timedelta(hours=1))
    row = [
        None,
        True,
        False,
        -7,
        datetime(2026, 11, 22, 19, 7, 10, 123456, tzinfo=zone),
        ["pip 26", "-x"],
        "a,b",
    ]
    (found,) = _read("".join(csv_lines([], [row])))[1:]
    assert found == ["", "yes", "no", "-7", "2026-11-22T18:07:10.123Z", "pip 26, -x", "a,b"]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_json_is_one_array(count: int) -> None:
    objects = [{"n": n, "at": datetime(2026, 11, 22, tzinfo=UTC)} for n in range(count)]
    assert json.loads("".join(json_lines(objects))) == [
        {"n": n, "at": "2026-11-22T00:00:00Z"} for n in range(count)
    ]


def _endless(read: list[int]) -> Iterator[str]:
    for number in range(1_000_000):
        read.append(number)
        yield "x" * 1000


def test_blocks_come_as_they_are_read() -> None:
    read: list[int] = []
    stream = TextStream(_endless(read), content_type="text/plain")
    assert len(next(iter(stream))) < 100_000
    assert len(read) < 100


async def test_blocks_come_as_they_are_read_under_asgi() -> None:
    """And on one thread, for the cursor belongs to it. Closing the stream ends the reading."""
    read: list[int] = []
    stream = TextStream(_endless(read), content_type="text/plain")
    async with ThreadSensitiveContext():
        blocks = aiter(stream)
        assert len(await anext(blocks)) < 100_000
        assert len(await anext(blocks)) < 100_000
        assert len(read) < 200
        await blocks.aclose()
    await asyncio.to_thread(stream.close)


def test_an_attachment_has_a_safe_name() -> None:
    response = attachment(iter(["a"]), 'us"age\n.csv', content_type="text/csv")
    assert "\n" not in response["Content-Disposition"]
    assert response.getvalue() == b"a"
