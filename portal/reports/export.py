"""Tables as streams: CSV that a spreadsheet opens safely, JSON, and a response that sends either.

**Formulas.** A spreadsheet runs a cell that begins with = + - @ (or their
full-width forms), also after white space or a quote; names, versions and user
agents come from outside. Such a cell gets an apostrophe in front, which says
"text" to every spreadsheet. A spreadsheet whose list separator is the semicolon
would split a cell there, and a careless one at a tab or line end, so what
follows these inside a cell is treated as a cell's beginning too. Numbers are
ours, and stay numbers.
"""

import csv
import json
import re
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from asgiref.sync import sync_to_async
from django.core.serializers.json import DjangoJSONEncoder
from django.http import StreamingHttpResponse
from django.utils.http import content_disposition_header

type Cell = str | int | bool | datetime | Sequence[str] | None

_DANGEROUS = re.compile(r"""(?:^|(?<=[;\t\r\n]))(?=[\s\x00-\x1f"']*[=+\-@＝＋－＠])|^(?=[\t\r\n])""")
_BLOCK = 64 * 1024  # characters: each block costs one change of threads under ASGI


def plain(text: str) -> str:
    """The text with an apostrophe wherever a spreadsheet would begin a formula."""
    return _DANGEROUS.sub("'", text)


def instant(at: datetime) -> str:
    """ISO 8601 in UTC, to the millisecond: 2026-11-22T18:07:10.123Z."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def csv_lines(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Iterator[str]:
    """RFC 4180 with a header row, one line of text at a time."""
    writer = csv.writer(_Echo())
    yield writer.writerow(columns)
    for row in rows:
        yield writer.writerow([_shown(cell) for cell in row])


def json_lines(objects: Iterable[Mapping[str, object]]) -> Iterator[str]:
    """One JSON array, an object at a time."""
    separator = "["
    for each in objects:
        yield separator + json.dumps(each, cls=DjangoJSONEncoder)
        separator = ",\n"
    yield "[]" if separator == "[" else "]"


class Stream(StreamingHttpResponse):
    """Sends blocks as they come, under WSGI and ASGI, holding one in memory.

    Django would read a synchronous iterator to its end before an ASGI server
    sends the first byte. Here each block is fetched on the request's own thread,
    the one that the database cursor belongs to.
    """

    def __init__(
        self, blocks: Iterable[bytes], *, content_type: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(blocks, content_type=content_type, headers=dict(headers or {}))

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        blocks = iter(self)
        while (block := await sync_to_async(_next, thread_sensitive=True)(blocks)) is not None:
            yield block


class TextStream(Stream):
    """Sends lines, a block of them at a time."""

    def __init__(
        self, lines: Iterable[str], *, content_type: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(_blocks(lines), content_type=content_type, headers=headers)


def attachment(lines: Iterable[str], filename: str, *, content_type: str) -> TextStream:
    """A file to keep, under this name."""
    return TextStream(lines, content_type=content_type, headers=kept_as(filename))


def kept_as(filename: str) -> dict[str, str]:
    """The header that makes a browser keep it as a file of this name."""
    return {"Content-Disposition": content_disposition_header(True, filename) or "attachment"}


class _Echo:
    """A file whose `write` hands the line back: `csv` knows no other way to give one."""

    def write(self, line: str) -> str:
        return line


def _shown(cell: Cell) -> str | int:
    match cell:
        case None:
            return ""
        case bool():
            return "yes" if cell else "no"
        case int():
            return cell
        case str():
            return plain(cell)
        case datetime():
            return instant(cell)
        case _:
            return plain(", ".join(cell))


def _next(blocks: Iterator[bytes]) -> bytes | None:
    return next(blocks, None)


def _blocks(lines: Iterable[str]) -> Iterator[bytes]:
    held: list[str] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= _BLOCK:
            yield "".join(held).encode()
            held, size = [], 0
    if held:
        yield "".join(held).encode()
