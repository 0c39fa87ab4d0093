"""One upstream index: its pages and its files, over `outbound.py`."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from msgspec.structs import replace

from sandboxes.errors import PetridishError
from sandboxes.index.config import Source
from sandboxes.index.errors import UnknownError, UnusableError, UpstreamError
from sandboxes.index.outbound import Outbound, Patience, Whole
from sandboxes.index.page import Page
from sandboxes.index.upstream_html import parse_html
from sandboxes.index.upstream_json import parse_json

# Seconds for a whole page. Where an old one is at hand it must be shown before clients give up (Poetry: 15);
# where none is, a large page over a slow line is better late than never: who asks again waits for the same one.
_KNOWN_PAGE = 14.0
_NEW_PAGE = 60.0
_FILE = 3600.0  # seconds for a whole file; `flight.py` ends slow ones long before
_LARGEST_PAGE = 64 * 1024 * 1024  # bytes, unpacked
_LARGEST_HTML = 4 * 1024 * 1024  # bytes: some 10,000 links; its parser is slow
_LARGEST_DOCUMENT = 4 * 1024 * 1024  # bytes of a provenance object; real ones have some 20 kB
_CHUNK = 256 * 1024
_PARSE_IN_PLACE = 64 * 1024  # bytes; a larger page is parsed in a thread, so others go on
_PARSES = 2  # threads that parse at once; the pool's others are for name look-ups and the disk
_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_JSON = "application/vnd.pypi.simple.v1+json"
_ANY_JSON = "application/vnd.pypi.integrity.v1+json, application/json;q=0.5"
_HTML = ("application/vnd.pypi.simple.v1+html", "text/html")
_GONE = (404, 410)
_PASSING = (408, 425, 429)  # statuses below 500 that may be over the next time
_CONTENT_RANGE = re.compile(r"bytes ([0-9]+-[0-9]+)/([0-9]{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Fresh:
    """A page as it is now, and which upstream it is of; `etag` is "" when that gave none."""

    page: Page
    etag: str


class NoRangesError(UnusableError):
    """It gives files as a whole only."""


class NotModified:
    """The page is still as its etag says."""


class Missing:
    """The upstream has no such project."""


type PageAnswer = Fresh | NotModified | Missing


@dataclass(frozen=True, slots=True)
class Download:
    """A file that begins to arrive. `length` is None when the upstream does not say."""

    length: int | None
    chunks: AsyncIterator[bytes]


def patience_for(*, known: bool) -> Patience:
    """How long a page may take, from now on; `known`: an older one is at hand."""
    return Patience.of(_KNOWN_PAGE if known else _NEW_PAGE)


class Upstream:
    """Asks one index."""

    def __init__(self, source: Source) -> None:
        """Needs a running loop."""
        self.source = source
        self._outbound = Outbound(source)
        self._parsing = asyncio.Semaphore(_PARSES)

    async def close(self) -> None:
        await self._outbound.close()

    @property
    def name(self) -> str:
        """Says where a stored page came from."""
        return self.source.name

    @property
    def mark(self) -> str:
        """Stands for this index at this address: another one's etags mean nothing to it."""
        return hashlib.sha256(f"{self.source.name} {self.source.url}".encode()).hexdigest()[:16]

    async def page(self, project: str, etag: str, patience: Patience | None = None) -> PageAnswer:
        headers = {"Accept": _ACCEPT} | ({"If-None-Match": etag} if etag else {})
        answer = await self._outbound.whole(
            f"{self.source.url}{project}/",
            headers,
            patience or patience_for(known=bool(etag)),
            _largest,
        )
        if answer.status == 304 and etag:
            return NotModified()
        if answer.status in _GONE:
            return Missing()
        _expect_ok(answer.status, answer.host, f"the page of {project}")
        page = await self._parse(project, answer)
        return Fresh(replace(page, source=self.name), answer.etag)

    @asynccontextmanager
    async def file(self, url: str, what: str) -> AsyncIterator[Download]:
        """Raises `UpstreamError`, or `UnknownError` when the upstream has it no more; also while chunks arrive."""
        # Bytes exactly as they are stored there: a .tar.gz must not be unpacked on its way.
        async with self._outbound.get(url, {"Accept-Encoding": "identity"}, _FILE, unpack=False) as response:
            if response.status in _GONE:
                raise UnknownError(f"The upstream index no longer has {what}.")
            _expect_ok(response.status, response.url.host or "", what)
            encoded = response.headers.get("Content-Encoding", "identity") != "identity"
            yield Download(
                None if encoded else response.content_length, response.content.iter_chunked(_CHUNK)
            )

    async def document(self, url: str, what: str) -> bytes:
        """A small file that nothing can verify; raises as `file` does."""
        patience = patience_for(known=True)
        answer = await self._outbound.whole(url, {"Accept": _ANY_JSON}, patience, lambda _: _LARGEST_DOCUMENT)
        if answer.status in _GONE:
            raise UnknownError(f"The upstream index no longer has {what}.")
        _expect_ok(answer.status, answer.host, what)
        return answer.body

    async def part(self, url: str, start: int, stop: int, what: str) -> bytes:
        """Bytes `start` up to `stop` of a file; raises `NoRangesError`, or another `UpstreamError`."""
        body, _ = await self._range(url, start, stop, what)
        return body

    async def length(self, url: str, what: str) -> int:
        """How many bytes a file has; raises as `part` does."""
        _, total = await self._range(url, 0, 1, what)
        return total

    async def _range(self, url: str, start: int, stop: int, what: str) -> tuple[bytes, int]:
        headers = {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
        answer = await self._outbound.whole(url, headers, patience_for(known=True), lambda _: stop - start)
        if answer.status >= 400:
            _expect_ok(answer.status, answer.host, what)
        said = _CONTENT_RANGE.fullmatch(answer.content_range)
        if answer.status != 206 or said is None or said[1] != f"{start}-{stop - 1}":
            raise NoRangesError(f"The upstream index ({answer.host}) gives no part of {what}.")
        if len(answer.body) != stop - start:
            raise UpstreamError(f"The upstream index ({answer.host}) gives too little of {what}.")
        return answer.body, int(said[2])

    async def _parse(self, project: str, answer: Whole) -> Page:
        """Raises `UpstreamError` whatever a parser stumbles over: pages are a stranger's bytes."""
        try:
            if len(answer.body) <= _PARSE_IN_PLACE and answer.content_type == _JSON:
                return _read(project, answer)
            async with self._parsing:
                return await asyncio.to_thread(_read, project, answer)
        except PetridishError:
            raise
        except Exception as error:
            raise UpstreamError(f"The upstream's page of {project} cannot be read.") from error


def _expect_ok(status: int, host: str, what: str) -> None:
    if status != 200:
        kind = UpstreamError if status >= 500 or status in _PASSING else UnusableError
        raise kind(f"The upstream index ({host}) answered {status} for {what}.")


def _largest(response: aiohttp.ClientResponse) -> int:
    return _LARGEST_HTML if response.content_type in _HTML else _LARGEST_PAGE


def _read(project: str, answer: Whole) -> Page:
    """By its content type; relative links are relative to where redirects ended."""
    if answer.content_type == _JSON:
        return parse_json(project, answer.body, answer.url)
    if answer.content_type in _HTML:
        return parse_html(project, answer.body, answer.url, answer.charset or "utf-8")
    raise UpstreamError(f"The upstream's page of {project} is {answer.content_type}, neither JSON nor HTML.")
