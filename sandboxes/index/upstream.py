"""The upstream index: its pages and its files, over `outbound.py`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from sandboxes.errors import PetridishError
from sandboxes.index.config import Source
from sandboxes.index.errors import UnknownError, UpstreamError
from sandboxes.index.outbound import Outbound
from sandboxes.index.page import Page
from sandboxes.index.upstream_html import parse_html
from sandboxes.index.upstream_json import parse_json

_PAGE = 120.0  # seconds for a whole page
_FILE = 3600.0  # seconds for a whole file; `flight.py` ends slow ones long before
_LARGEST_PAGE = 64 * 1024 * 1024  # bytes, unpacked
_LARGEST_HTML = 4 * 1024 * 1024  # bytes: some 10,000 links; its parser is slow
_CHUNK = 256 * 1024
_PARSE_IN_PLACE = 64 * 1024  # bytes; a larger page is parsed in a thread, so others go on
_PARSES = 2  # threads that parse at once; the pool's others are for name look-ups and the disk
_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_JSON = "application/vnd.pypi.simple.v1+json"
_HTML = ("application/vnd.pypi.simple.v1+html", "text/html")
_GONE = (404, 410)


@dataclass(frozen=True, slots=True)
class Fresh:
    """A page as it is now; `etag` is "" when the upstream gave none."""

    page: Page
    etag: str


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


class Upstream:
    """Asks one index."""

    def __init__(self, source: Source) -> None:
        """Needs a running loop."""
        self._source = source
        self._outbound = Outbound(source)
        self._parsing = asyncio.Semaphore(_PARSES)

    async def close(self) -> None:
        await self._outbound.close()

    @property
    def name(self) -> str:
        """The index's URL without credentials: says where a stored page came from."""
        return self._source.url

    async def page(self, project: str, etag: str) -> PageAnswer:
        headers = {"Accept": _ACCEPT} | ({"If-None-Match": etag} if etag else {})
        async with self._outbound.get(
            f"{self._source.url}{project}/", headers, _PAGE, unpack=True
        ) as response:
            if response.status == 304 and etag:
                return NotModified()
            if response.status in _GONE:
                return Missing()
            self._expect_ok(response, f"the page of {project}")
            body = await _whole(response, project)
            return Fresh(await self._parse(project, body, response), response.headers.get("ETag", ""))

    @asynccontextmanager
    async def file(self, url: str, what: str) -> AsyncIterator[Download]:
        """Raises `UpstreamError`, or `UnknownError` when the upstream has it no more; also while chunks arrive."""
        # Bytes exactly as they are stored there: a .tar.gz must not be unpacked on its way.
        async with self._outbound.get(url, {"Accept-Encoding": "identity"}, _FILE, unpack=False) as response:
            if response.status in _GONE:
                raise UnknownError(f"The upstream index no longer has {what}.")
            self._expect_ok(response, what)
            encoded = response.headers.get("Content-Encoding", "identity") != "identity"
            yield Download(
                None if encoded else response.content_length, response.content.iter_chunked(_CHUNK)
            )

    async def _parse(self, project: str, body: bytes, response: aiohttp.ClientResponse) -> Page:
        """Raises `UpstreamError` whatever a parser stumbles over: pages are a stranger's bytes."""
        try:
            if len(body) <= _PARSE_IN_PLACE and response.content_type == _JSON:
                return _read(project, body, response)
            async with self._parsing:
                return await asyncio.to_thread(_read, project, body, response)
        except PetridishError:
            raise
        except Exception as error:
            raise UpstreamError(f"The upstream's page of {project} cannot be read.") from error

    def _expect_ok(self, response: aiohttp.ClientResponse, what: str) -> None:
        if response.status != 200:
            raise UpstreamError(
                f"The upstream index ({response.url.host}) answered {response.status} for {what}."
            )


async def _whole(response: aiohttp.ClientResponse, project: str) -> bytes:
    largest = _LARGEST_HTML if response.content_type in _HTML else _LARGEST_PAGE
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        body += chunk
        if len(body) > largest:
            raise UpstreamError(f"The upstream's page of {project} is larger than {largest >> 20} MiB.")
    return bytes(body)


def _read(project: str, body: bytes, response: aiohttp.ClientResponse) -> Page:
    """By its content type; relative links are relative to where redirects ended."""
    base_url = str(response.url)
    if response.content_type == _JSON:
        return parse_json(project, body, base_url)
    if response.content_type in _HTML:
        return parse_html(project, body, base_url, response.charset or "utf-8")
    raise UpstreamError(
        f"The upstream's page of {project} is {response.content_type}, neither JSON nor HTML."
    )
