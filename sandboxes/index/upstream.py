"""The one border to the upstream index: HTTP errors become `UpstreamError`, and only here.

Nothing of a URL but its host is ever shown or logged: indexes carry credentials
in user info, and signed file URLs carry them in the query.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic

import aiohttp
from yarl import URL

from sandboxes.index.config import Source
from sandboxes.index.errors import UnknownError, UpstreamError
from sandboxes.index.page import Page
from sandboxes.index.upstream_html import parse_html
from sandboxes.index.upstream_json import parse_json

logger = logging.getLogger(__name__)

_CONNECT = 10.0  # seconds
_IDLE = 30.0  # seconds without a byte
_PAGE = 120.0  # seconds for a whole page
_FILE = 3600.0  # seconds for a whole file
_PAUSE = 5.0  # seconds without trying again after the host could not be reached
_REDIRECTS = 5
_LARGEST_PAGE = 64 * 1024 * 1024  # bytes, unpacked
_CHUNK = 256 * 1024
_PARSE_IN_PLACE = 64 * 1024  # bytes; a larger page is parsed in a thread, so others go on
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
    """Asks one index. Redirects are followed to http and https only, and never from https to http."""

    def __init__(self, source: Source, session: aiohttp.ClientSession) -> None:
        self._source = source
        self._session = session
        self._silent_until = 0.0

    @property
    def name(self) -> str:
        """The index's URL without credentials: says where a stored page came from."""
        return self._source.url

    async def page(self, project: str, etag: str) -> PageAnswer:
        headers = {"Accept": _ACCEPT} | ({"If-None-Match": etag} if etag else {})
        async with self._get(f"{self._source.url}{project}/", headers, _PAGE, unpack=True) as response:
            if response.status == 304 and etag:
                return NotModified()
            if response.status in _GONE:
                return Missing()
            self._expect_ok(response, f"the page of {project}")
            body = await _whole(response, project)
            return Fresh(await _parse(project, body, response), response.headers.get("ETag", ""))

    @asynccontextmanager
    async def file(self, url: str, what: str) -> AsyncIterator[Download]:
        """Raises `UpstreamError`, or `UnknownError` when the upstream has it no more; also while chunks arrive."""
        # Bytes exactly as they are stored there: a .tar.gz must not be unpacked on its way.
        async with self._get(url, {"Accept-Encoding": "identity"}, _FILE, unpack=False) as response:
            if response.status in _GONE:
                raise UnknownError(f"The upstream index no longer has {what}.")
            self._expect_ok(response, what)
            encoded = response.headers.get("Content-Encoding", "identity") != "identity"
            yield Download(
                None if encoded else response.content_length, response.content.iter_chunked(_CHUNK)
            )

    @asynccontextmanager
    async def _get(
        self, url: str, headers: dict[str, str], total: float, *, unpack: bool
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        target = URL(url, encoded=True)
        if monotonic() < self._silent_until:
            raise UpstreamError(f"The upstream index ({target.host}) could not be reached a moment ago.")
        timeout = aiohttp.ClientTimeout(total=total, sock_connect=_CONNECT, connect=None, sock_read=_IDLE)
        try:
            async with self._session.get(
                target,
                headers=headers | self._authorization(target),
                timeout=timeout,
                max_redirects=_REDIRECTS,
                auto_decompress=unpack,
            ) as response:
                _check_redirects(response)
                yield response
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            self._silent_until = monotonic() + _PAUSE
            raise _failed(target, "cannot be reached", error) from error
        except TimeoutError as error:
            raise _failed(target, "did not answer in time", error) from error
        except (aiohttp.ClientError, ValueError) as error:
            raise _failed(target, "broke off, or answered nonsense", error) from error

    def _authorization(self, target: URL) -> dict[str, str]:
        """Credentials go to the index's own origin and nowhere else."""
        own = target.origin() == URL(self._source.url).origin()
        return {"Authorization": self._source.authorization} if own and self._source.authorization else {}

    def _expect_ok(self, response: aiohttp.ClientResponse, what: str) -> None:
        if response.status != 200:
            raise UpstreamError(
                f"The upstream index ({response.url.host}) answered {response.status} for {what}."
            )


def _check_redirects(response: aiohttp.ClientResponse) -> None:
    schemes = [step.url.scheme for step in (*response.history, response)]
    if schemes[0] == "https" and set(schemes) != {"https"}:
        raise UpstreamError(f"The upstream index ({response.url.host}) redirects from https to http.")


def _failed(target: URL, how: str, error: Exception) -> UpstreamError:
    logger.warning("upstream %s %s: %s", target.host, how, type(error).__name__)
    return UpstreamError(f"The upstream index ({target.host}) {how}.")


async def _whole(response: aiohttp.ClientResponse, project: str) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        body += chunk
        if len(body) > _LARGEST_PAGE:
            raise UpstreamError(f"The upstream's page of {project} is larger than {_LARGEST_PAGE >> 20} MiB.")
    return bytes(body)


async def _parse(project: str, body: bytes, response: aiohttp.ClientResponse) -> Page:
    """By its content type; relative links are relative to where redirects ended."""
    base_url = str(response.url)
    if response.content_type == _JSON:
        if len(body) <= _PARSE_IN_PLACE:
            return parse_json(project, body, base_url)
        return await asyncio.to_thread(parse_json, project, body, base_url)
    if response.content_type in _HTML:
        encoding = response.charset or "utf-8"
        return await asyncio.to_thread(parse_html, project, body, base_url, encoding)
    raise UpstreamError(
        f"The upstream's page of {project} is {response.content_type}, neither JSON nor HTML."
    )
